"""Ships a trained model: its weights and registry.json.

    python tests/bench/release.py RUN/half.safetensors --retire 0.4 --keep FOLDER --looks 12 \
        --summary "..." --terms "..."

The first step of CONTRIBUTING's section on new weights. The present default becomes NAME-VERSION
and keeps its file, byte by byte, its hashes and its card. The new one takes over NAME; its figures
are those that `evidence.py` has kept in FOLDER. Run again with another file, it only replaces the
new one. It makes no look at the test split itself.

--name jadfer-fast --alias fast, in place of --retire, ships it beside the default.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch
from evidence import parts
from half import halve

from jadfer_cli.common import file_sha256
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.scores import VOTE_SHARE

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 30_000_000  # of all shipped networks together
KEPT = ("protocol", "n", "accuracy", "mean_class_recall", "macro_f1", "ece",
        "ece_before_temperature", "recall", "intervals_95")  # fmt: skip


def retire(table: dict[str, Any], weights: Path, version: str) -> str:
    """Gives the default a name with a version, unless that was done; returns the new default's."""
    name = table["default"]
    old = f"{name}-{version}"
    if old not in table["models"]:
        entry = table["models"][name]
        entry |= {"file": f"{old}.safetensors", "card": f"{old}.md"}
        (weights / f"{name}.safetensors").rename(weights / entry["file"])
        card = (weights / f"{name}.md").read_text("utf-8")
        card = card.replace(f"`{name}.safetensors`", f"`{entry['file']}`")
        (weights / entry["card"]).write_text(card.replace(f"card: {name}", f"card: {old}"), "utf-8")
        table["models"][old] = entry
    return name


def renamed(history: Any, names: dict[str, str]) -> Any:
    """A history in which shipped models have the names by which they load now, by their hash."""
    if isinstance(history, list):
        return [renamed(each, names) for each in history]
    if not isinstance(history, dict):
        return history
    found = {key: renamed(value, names) for key, value in history.items()}
    if found.get("sha256") in names and "name" in found:
        found["name"] = names[found["sha256"]]
    if isinstance(found.get("teacher_models"), list):
        found["teacher"] = [each["name"] for each in found["teacher_models"]]
    start = found.get("start_model")
    if isinstance(start, dict) and start.get("sha256") in names:
        found["start"] = start["name"]
    return found


def metrics_of(
    loaded: checkpoint.Checkpoint, keep: Path, names: dict[str, str], looks: int
) -> dict[str, Any]:
    """What the file says about itself: short figures, and those measured beside training."""
    found: dict[str, Any] = {}
    for key, value in loaded.metrics.items():
        if isinstance(value, dict) and "accuracy" in value:
            value = {k: v for k, v in value.items() if k in KEPT}
        found[key] = renamed(value, names) if key == "training" else value
    for split in ("valid", "test"):
        kept = parts(str(loaded.entry.path), keep, split)
        for part in ("ferplus", "press_faces"):
            if part not in kept:
                continue
            figures = kept[part]["figures"]
            for kind, protocols in (("", figures["protocols"]), (" clean", figures["clean"] or {})):
                for protocol, each in protocols.items():
                    short = {k: v for k, v in each.items() if k in KEPT}
                    if split == "test" and part == "ferplus":
                        short["measurements_of_split"] = looks
                    found[f"{each['data']} {protocol}{kind}"] = short
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--retire", help="version that the present default ends at")
    which.add_argument("--name", help="ship it under this name, beside the default")
    parser.add_argument("--alias", default="", help="a shorter name for --model")
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--terms", required=True)
    parser.add_argument(
        "--looks",
        type=int,
        required=True,
        help="measurements of FER+ test, of these weights and of earlier ones",
    )
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    a = parser.parse_args()
    loaded = checkpoint.load(str(a.model))
    if VOTE_SHARE not in loaded.scores:
        raise SystemExit(f"{a.model} has no scores {VOTE_SHARE}; finish it: jadfer train --out RUN")
    registry = a.weights / "registry.json"
    table = json.loads(registry.read_text("utf-8"))
    taken = {"default", *table["models"], *(e.get("alias") for e in table["models"].values())}
    alias = a.alias or table["models"].get(a.name, {}).get("alias", "")
    if alias in taken - {table["models"].get(a.name, {}).get("alias")}:
        raise SystemExit(f"{alias} is the name of a model already")
    name = a.name or retire(table, a.weights, a.retire)
    names = {
        sha256: old
        for old, entry in table["models"].items()
        if old != name
        for sha256 in (entry["sha256"], *entry.get("earlier_sha256", ()))
    }
    metrics = metrics_of(loaded, a.keep, names, a.looks)
    if places := re.findall(r'"(?:/|[A-Z]:\\)[^"]*"', json.dumps(metrics)):
        raise SystemExit(f"{a.model} names folders of this machine: {', '.join(places)}")
    path = a.weights / f"{name}.safetensors"
    network = loaded.build()
    if any(tensor.dtype == torch.float16 for tensor in loaded.state.values()):
        halve(network)
    sha256 = checkpoint.save(
        path, network, labels=loaded.labels, temperature=loaded.temperature, metrics=metrics,
        scores=loaded.scores, terms=a.terms,
    )  # fmt: skip
    entry = {
        "file": path.name, "sha256": sha256, "preview": False, "summary": a.summary,
        "terms": a.terms, "card": f"{name}.md", "earlier_sha256": [],
    } | ({"alias": alias} if alias else {})  # fmt: skip
    table["default"] = name if a.retire else table["default"]
    models = table["models"] | {name: entry}
    first = {each: models.pop(each) for each in (table["default"], name) if each in models}
    table = {"default": table["default"], "models": first | models}
    registry.write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    for each in table["models"].values():
        if file_sha256(a.weights / each["file"]) != each["sha256"]:
            raise SystemExit(f"{each['file']} is not the file of the registry")
    total = sum((a.weights / each["file"]).stat().st_size for each in table["models"].values())
    if total > MOST_BYTES:
        raise SystemExit(f"The networks have {total:,} bytes together, more than {MOST_BYTES:,}")
    scales = ", ".join(f"{key} {value.temperature:.4f}" for key, value in loaded.scores.items())
    print(f"{path}: sha256 {sha256}; temperatures: {scales}; {total:,} bytes in all")


if __name__ == "__main__":
    main()
