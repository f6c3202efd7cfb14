"""Writes the tables of a model card from the figures that `evidence.py` has kept.

    python tests/bench/card.py --keep FOLDER [--model default] [--beside jadfer-compact-0.4]

Replaces what stands between `<!-- figures: NAME -->` and `<!-- end -->` in the card of the model,
or with `--card examples/guides/validity.md` in the guide. The text around is written by hand, the
figures are not. A section without its part fails.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence import parts

from jadfer_cli.expression import checkpoint
from jadfer_cli.labels import LABELS

Parts = dict[str, dict[str, Any]]  # by split: the parts of a model
SOURCES = {"ferplus": "FER+", "press_faces": "press faces"}
MARKED = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Column:
    """One model of the card: its name and its parts by split."""

    def __init__(self, model: str, keep: Path) -> None:
        self.loaded = checkpoint.load(model)
        self.name = self.loaded.entry.name
        self.parts: Parts = {split: parts(model, keep, split) for split in ("valid", "test")}

        self.peer: Parts = {}

    @property
    def valid(self) -> dict[str, Any]:
        return self.parts["valid"]


def rows(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    table = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in table)


def percent(value: float, interval: list[float] | None = None) -> str:
    # a set whose pictures are all linked, by people or twins, is one draw, and has no interval
    inside = (
        ""
        if interval is None or interval[0] == interval[1]
        else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    )
    return f"{100 * value:.1f}{inside}"


def gap(value: float, interval: list[float] | None = None) -> str:
    inside = (
        ""
        if interval is None or interval[0] == interval[1]
        else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    )
    return f"{value:.3f}{inside}"


def file(new: Column, _: Column | None) -> str:
    loaded = new.loaded
    n = sum(tensor.numel() for tensor in loaded.build().parameters())
    scales = "; ".join(
        f"scores `{name}`: temperature {scale.temperature:.3f}"
        for name, scale in loaded.scores.items()
    )
    return (
        f"- File: `{loaded.entry.path.name}`, {n / 1e6:.2f} M parameters.\n"
        f"- sha256 `{loaded.sha256}`.\n- {scales}.\n"
    )


def sets(new: Column, old: Column | None) -> str:
    """Accuracy, recall and calibration by set and protocol, both models."""
    lines = []
    for split in ("valid", "test"):
        for source, title in SOURCES.items():
            both = [c.parts[split].get(source) for c in (new, old) if c is not None]
            if new.peer:
                both.append(new.peer[split].get(source))
            if both[0] is None:
                continue
            figures = [None if part is None else part["figures"] for part in both]
            for clean in (False, True):
                named = [
                    {} if f is None else ((f["clean"] or {}) if clean else f["protocols"])
                    for f in figures
                ]
                for protocol, own in named[0].items():
                    if clean and own["n"] == figures[0]["protocols"][protocol]["n"]:
                        continue
                    words = f"{title} {split}, {protocol}{', clean' if clean else ''}"
                    each = [table.get(protocol) for table in named]
                    lines.append([words, f"{own['n']:,}", *_cells(each)])
    head = ["set, protocol", "n"]
    for name in _names(new, old):
        head += [f"{name}: accuracy %", "mean class recall %", "ECE"]
    return rows(head, lines)


def _names(new: Column, old: Column | None) -> list[str]:
    return [new.name, *([old.name] if old else []), *(["`fer`"] if new.peer else [])]


def _cells(each: list[dict[str, Any] | None]) -> list[str]:
    found = []
    for f in each:
        if f is None:
            found += ["not measured"] * 3
            continue
        interval = f["intervals_95"]
        for key in ("accuracy", "mean_class_recall"):
            found.append(percent(f[key], interval[key]))
        found.append(gap(f["ece"], interval["ece"]))
    return found


def recall(new: Column, old: Column | None) -> str:
    """Recall by class of both models on validation."""
    lines = []
    for source, title in SOURCES.items():
        columns = [c.valid for c in (new, old) if c is not None]
        columns += [new.peer["valid"]] if new.peer else []
        figures = [parts_of[source]["figures"] for parts_of in columns]
        counts = {
            label: sum(row)
            for label, row in zip(figures[0]["labels"], figures[0]["confusion"], strict=True)
        }
        for label in figures[0]["recall"]:
            if counts[label]:
                each = [percent(f["recall"].get(label, 0.0)) for f in figures]
                lines.append([title, label, f"{counts[label]:,}", *each])
    names = [f"{name}: recall %" for name in _names(new, old)]
    return rows(["source", "expression", "n", *names], lines)


def humans(new: Column, old: Column | None) -> str:
    """Agreement with raters, and of raters with each other."""
    found = [c.valid["ferplus"]["humans"] for c in (new, old) if c is not None]
    first = found[0]

    def line(words: str, key: str, show: Callable[[float], str]) -> list[str]:
        return [words, show(first[key]["rater"]), *(show(f[key]["model"]) for f in found)]

    lines = [
        line("gives the label of a rater drawn at random, %", "same_label", percent),
        line("gives the label that most of the other raters give, %", "against_others", percent),
        line("total variation distance from a half of the raters", "distance", gap),
        line("correlation with a half of the raters, all expressions", "correlation", gap),
    ]
    for label in LABELS:
        by_class = [f["correlation_by_class"][label] for f in found]
        cells = [gap(by_class[0]["rater"]), *(gap(each["model"]) for each in by_class)]
        lines.append([f"the same, {label}", *cells])
    names = [c.name for c in (new, old) if c is not None]
    head = [f"FER+ validation, n = {first['n']:,}", "raters among themselves", *names]
    return rows(head, lines)


def votes(new: Column, old: Column | None) -> str:
    """Scores against the shares of raters, by definition."""
    lines = []
    for column in (new, old):
        if column is None:
            continue
        for name, subsets in column.valid["ferplus"]["figures"]["votes"]["definitions"].items():
            for subset, f in subsets.items():
                cells = (gap(f[key]) for key in ("kl", "ece_top", "ece_by_class", "correlation"))
                lines.append([column.name, name.replace("_", " "), subset, f"{f['n']:,}", *cells])
    head = ["model", "scores", "photographs", "n", "KL to the votes", "ECE of the highest score"]
    return rows([*head, "ECE by class", "correlation"], lines)


def detection(new: Column, _: Column | None) -> str:
    """AUC and threshold by class and source."""
    lines = [
        [
            title, label, str(f["n"]), gap(f["auc"], f["interval"]), f"{f['threshold']:.2f}",
            percent(f["precision"]), percent(f["recall"]),
        ]
        for source, title in SOURCES.items()
        for label, f in new.valid[source]["detection"].items()
    ]  # fmt: skip
    head = ["source", "expression", "n", "AUC", "threshold", "precision %", "recall %"]
    return rows(head, lines)


def conditions(new: Column, old: Column | None) -> str:
    """Accuracy and changed labels of degraded crops."""
    columns = [c for c in (new, old) if c is not None]
    lines = []
    for source, title in SOURCES.items():
        each = [c.valid["conditions"][source] for c in columns]
        for i, row in enumerate(each[0]["rows"]):
            cells = []
            for part in each:
                own = part["rows"][i]
                cells += [percent(own["accuracy"]), percent(own["changed"]) if i else "-"]
            lines.append([title, f"{each[0]['n']:,}", row["condition"], *cells])
    head = ["source", "n", "condition"]
    for column in columns:
        head += [f"{column.name}: accuracy %", "labels changed %"]
    return rows(head, lines)


def groups(new: Column, old: Column | None) -> str:
    """Accuracy by pose, light and blur of the pictures as they are."""
    columns = [c for c in (new, old) if c is not None]
    lines = []
    for source, title in SOURCES.items():
        each = [c.valid["as_found"][source] for c in columns]
        for name in each[0]:
            for i, group in enumerate(each[0][name]):
                unit = " degrees" if name in ("yaw", "pitch") else ""
                end = f"{group['from']:g} to {group['to']:g}"
                place = f"{group['from']:g} or more" if group["to"] == 999 else end
                cells = [percent(e[name][i]["accuracy"], e[name][i]["interval"]) for e in each]
                lines.append([title, name, place + unit, f"{group['n']:,}", *cells])
    head = ["source", "what", "range", "n", *(f"{c.name}: accuracy %" for c in columns)]
    return rows(head, lines)


def clips(new: Column, old: Column | None) -> str:
    """The clips' ranges, label changes, and labels that a changed picture changes."""
    columns = [c for c in (new, old) if c is not None]
    each = [{r["test"]: r for r in c.valid["clips"]["rows"]} for c in columns]
    lines = []
    for test, row in each[0].items():
        seconds = row["unit"] == "per second"
        cells = [
            f"{e[test]['value']:.2f} / s" if seconds else percent(e[test]["value"]) for e in each
        ]
        lines.append([test, f"{row['n']:,}{' s' if seconds else ''}", *cells])
    return rows(["test", "n", *(f"{c.name}: %" for c in columns)], lines)


def probes(new: Column, old: Column | None) -> str:
    """What is lost when a part of the network is disturbed."""
    columns = [c for c in (new, old) if c is not None]
    each = [c.valid["probes"]["probes"] for c in columns]
    lines = []
    for name in each[0]["by_probe"]:
        cells = []
        for f in each:
            own = f["by_probe"][name]
            cells += [percent(own["accuracy_lost"]), percent(own["labels_changed"])]
        lines.append([name, *cells])
    head = [f"probe, {each[0]['n']} photographs with a majority"]
    for column in columns:
        head += [f"{column.name}: accuracy lost, points", "labels changed %"]
    shares = "; ".join(
        f"{c.name} {', '.join(f'{100 * s:.0f}' for s in f['maps']['image_share'])} %"
        for c, f in zip(columns, each, strict=True)
    )
    return (
        rows(head, lines) + f"\nShare of each map's variance that depends on the face: {shares}.\n"
    )


def quoted(new: Column, _: Column | None) -> str:
    """What the guide says of the default: figures in its file, on FER+ test with a majority."""
    f = new.loaded.metrics["ferplus test majority"]
    low, high = (f"{100 * end:.1f}" for end in f["intervals_95"]["accuracy"])
    lines = [
        ["accuracy", f"{100 * f['accuracy']:.1f} % (95 % interval {low} to {high})"],
        ["mean class recall", f"{100 * f['mean_class_recall']:.1f} %"],
        ["calibration error (ECE) of `--scores majority`", gap(f["ece"])],
    ]
    shares = sorted(f["recall"].items(), key=lambda item: -item[1])
    by_class = [[label, f"{100 * share:.0f} %"] for label, share in shares]
    return (
        f"On FER+ test photographs with a majority (n = {f['n']:,}):\n\n"
        f"{rows(['', 'value'], lines)}"
        f"\nClasses differ widely:\n\n{rows(['expression', 'recall'], by_class)}"
    )


def peer(keep: Path) -> Parts:
    """What `peer_fer_figures.py` has kept; empty if it was not run."""
    found: Parts = {"valid": {}, "test": {}}
    for path in sorted(keep.glob("fer-*-*.json")):
        _, split, source = path.stem.split("-")
        found[split][source] = json.loads(path.read_text("utf-8"))
    return found if found["valid"] else {}


SECTIONS = {
    section.__name__: section
    for section in (
        file, sets, recall, humans, votes, detection, conditions, groups, clips, probes, quoted,
    )
}  # fmt: skip


def filled(text: str, new: Column, old: Column | None, only: str | None = None) -> str:
    """The card with its marked sections, or the one named, written anew."""

    def section(match: re.Match[str]) -> str:
        if only not in (None, match[2]):
            return match[0]
        try:
            return f"{match[1]}{SECTIONS[match[2]](new, old)}{match[3]}"
        except KeyError as missing:
            raise SystemExit(f"figures: {match[2]}: no {missing}; run evidence.py") from missing

    return MARKED.sub(section, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--beside", help="an earlier model, which gets columns of its own")
    parser.add_argument("--card", type=Path, help="the card; by default that of the model")
    parser.add_argument("--only", choices=tuple(SECTIONS), help="leave the other sections alone")
    a = parser.parse_args()
    new = Column(a.model, a.keep)
    old = None if a.beside is None else Column(a.beside, a.keep)
    new.peer = peer(a.keep)
    card = a.card or checkpoint.weights_dir() / new.loaded.entry.card
    if a.only and a.only not in {name for _, name, _ in MARKED.findall(card.read_text("utf-8"))}:
        parser.error(f"{card} has no section {a.only}")
    card.write_text(filled(card.read_text("utf-8"), new, old, a.only), "utf-8")
    print(f"{card}: {len(MARKED.findall(card.read_text('utf-8')))} sections")


if __name__ == "__main__":
    main()
