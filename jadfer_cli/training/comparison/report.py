"""The table of a comparison as Markdown, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.text import count_text, json_text
from jadfer_cli.training import charts
from jadfer_cli.training.comparison.plan import BASELINE

NAMES = ("table.md", "table.json", "table.png")
HEAD = (
    "rank", "recipe", "kind", "seeds", "accuracy, %", "clean, %", "mean recall, %",
    "log likelihood", "ECE", f"minus {BASELINE}, points", "p", "smallest difference, points",
    "parameters, M", "multiply-adds, M", "ms per face",
)  # fmt: skip
_BLUE, _GREY = "#30638e", "#888888"


def write(table: Mapping[str, Any], out: Path) -> list[Path]:
    """Writes the three files into the comparison's folder.

    Raises:
        OutputError: One cannot be written.
    """
    files = [out / name for name in NAMES]
    with atomic_write(files[0]) as part:
        part.write_text(markdown(table), "utf-8", newline="\n")
    with atomic_write(files[1]) as part:
        part.write_text(json_text(table, indent=1) + "\n", "utf-8", newline="\n")
    if table["labellings"]:
        with explain_os_errors(files[2]):
            charts.write(_chart(table), files[2])
    return files[: 3 if table["labellings"] else 2]


def markdown(table: Mapping[str, Any]) -> str:
    """The table of each labelling, and what its columns mean."""
    lines = ["# Recipes compared", "", *budget(table), ""]
    for name, found in table["labellings"].items():
        lines += [f"## {name}", "", *notes(found), ""]
        lines += [_line(HEAD), _line(["---"] * len(HEAD))]
        lines += [_line(cells(row)) for row in found["rows"]] + [""]
    return "\n".join([*lines, *_legend(table), ""])


def _line(entries: Any) -> str:
    return "| " + " | ".join(str(entry).replace("|", "\\|") for entry in entries) + " |"


def budget(table: Mapping[str, Any]) -> list[str]:
    """How all rows were trained."""
    b = table["budget"]
    stem = (
        "the stem is trained as well"
        if b["stem"] == "trained"
        else f"on stored maps of its fixed front, {count_text(b['views'], 'view')} per image"
    )
    rates = ", ".join(f"{rate:g}" for rate in b["learning_rates"])
    chosen = f"the learning rate is chosen on validation from {rates}" if rates else (
        "each recipe has its own learning rate"
    )  # fmt: skip
    return [
        f"{count_text(b['epochs'], 'epoch')} in batches of {b['batch_size']}, from the stem of "
        f"{b['start']}; {stem}; {chosen}."
    ]


def notes(found: Mapping[str, Any]) -> list[str]:
    """What a labelling's rows were measured on, and what they cannot say."""
    n, sd = found["n"], found["seed_sd"]["accuracy"]
    lines = [
        f"{n['train']:,} training, {n['valid']:,} validation and {n['test']:,} test images; "
        f"{found['n_clean']:,} of the test images are clean (no twin in training); "
        f"{found['draws']:,} independent draws."
    ]
    if sd is None:
        lines.append(
            "No recipe has two seeds: intervals hold for these trained networks, not for the "
            "methods, and no difference is tested."
        )
    else:
        lines.append(
            f"Accuracy varies between seeds by {100 * sd:.2f} points (standard deviation)."
        )
        for recipe, own in found.get("own_seed_sd", {}).items():
            lines.append(
                f"That of {recipe} varies by {100 * own:.2f} points, more than chance explains, so "
                "it is not pooled with the others."
            )
    others = [row["recipe"] for row in found["rows"] if not row["ranked"]]
    if others:
        lines.append(
            f"Not ranked, as their images or labels differ from the others': {', '.join(others)}."
        )
    if all(row["recipe"] != BASELINE for row in found["rows"]):
        lines.append(f"There is no row {BASELINE} to compare with.")
    return lines


def cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row, in the order of HEAD."""
    own = row["against_plain"]
    difference = p = smallest = "-"
    if own:
        difference = _with_interval(own, 100, "+.1f")
        p = "-" if own["p_holm"] is None else _p_text(own["p_holm"])
        smallest = f"{100 * own['smallest_difference']:.1f}"
        if own["p"] is None:  # seeds would add to it
            smallest = f"at least {smallest}"
    ms = row["milliseconds"]
    return [
        "-" if row["rank"] is None else str(row["rank"]),
        row["recipe"],
        row["kind"],
        str(len(row["seeds"])),
        *(_with_interval(row[key], 100, ".1f")
          for key in ("accuracy", "clean_accuracy", "mean_recall")),
        _with_interval(row["log_likelihood"], 1, ".3f"),
        _with_interval(row["ece"], 1, ".3f"),
        difference,
        p,
        smallest,
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['multiply_adds'] / 1e6:.0f}",
        "-" if ms is None else f"{ms:.2f}",
    ]  # fmt: skip


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _with_interval(figure: Mapping[str, Any], scale: float, form: str) -> str:
    if figure["value"] is None:
        return "-"
    text = format(scale * figure["value"], form)
    if figure["interval_95"] is None:
        return text
    low, high = (format(scale * end, form) for end in figure["interval_95"])
    return f"{text} [{low}, {high}]"


def _legend(table: Mapping[str, Any]) -> list[str]:
    m = table["milliseconds_measured"]
    timed = (
        f"ms per face: median, in batches of {m['batch']}, on {m['device']}."
        if m
        else "ms per face were not measured."
    )
    return [
        "In brackets: 95 % intervals over test images (twins, and pictures of one person, count as "
        "one draw) and, from two seeds on, over seeds. Their variance is pooled over the recipes "
        "that vary alike. "
        "Log likelihood and ECE are after temperature scaling on validation. "
        f"Differences from {BASELINE} are taken on the same images. p is corrected by Holm for the "
        f"{count_text(table['differences_tested'], 'difference')} of all tables here. Smallest "
        "difference: the true one that would be found in four of five such comparisons. "
        "Rows of different labellings are not comparable. " + timed
    ]


def _chart(table: Mapping[str, Any]) -> Any:
    """Accuracy with its interval by recipe, one panel per labelling."""
    from matplotlib.figure import Figure

    panels = table["labellings"]
    most = max(len(found["rows"]) for found in panels.values())
    figure = Figure(figsize=(1.6 + 3.6 * len(panels), 1.5 + 0.36 * most), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, found) in zip(all_axes, panels.items(), strict=True):
        rows = found["rows"][::-1]
        for y, row in enumerate(rows):
            value, ends = row["accuracy"]["value"], row["accuracy"]["interval_95"]
            colour = _BLUE if row["ranked"] else _GREY
            if ends:
                axes.plot([100 * end for end in ends], [y, y], color=colour, linewidth=1.5)
            axes.plot([100 * value], [y], "o" if row["ranked"] else "x", color=colour)
            if row["recipe"] == BASELINE:
                axes.axvline(100 * value, color=_GREY, linestyle="--", linewidth=1, zorder=0)
        axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_title(f"{name}, n = {found['n']['test']:,}", fontsize=10)
        axes.set_xlabel("accuracy on test, %")
        axes.grid(axis="x", alpha=0.3)
    seeds = any(found["seed_sd"]["accuracy"] is not None for found in panels.values())
    what = "test images and seeds" if seeds else "test images only"
    figure.suptitle(f"95 % intervals over {what}; dashed: {BASELINE}", fontsize=9)
    return figure


def _label(row: Mapping[str, Any]) -> str:
    return row["recipe"] if row["ranked"] else f"{row['recipe']} (other images)"
