"""Ships a trained model: writes its weights and registry.json, prints the card's tables.

    jadfer evaluate RUN/model.safetensors --dataset ferplus --data DIR --json test.json
    python tests/bench/release.py RUN/model.safetensors jadfer-compact --test test.json \
        --summary "..." --terms "..."

The test figures of the first command are added to the file's metrics. The card, weights/NAME.md, is
written by hand around the tables printed here.
"""

import argparse
import json
from pathlib import Path

from jadfer_cli.expression import checkpoint

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("protocol", "n", "accuracy", "mean_class_recall", "macro_f1", "ece",
        "ece_before_temperature", "recall", "intervals_95")  # fmt: skip


def line(name: str, f: dict) -> str:
    return (
        f"| {name} | {f['n']:,} | {100 * f['accuracy']:.1f} | {100 * f['mean_class_recall']:.1f} | "
        f"{100 * f['macro_f1']:.1f} | {f['ece']:.3f} | {f['ece_before_temperature']:.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--terms", required=True)
    parser.add_argument("--preview", action="store_true")
    a = parser.parse_args()
    loaded = checkpoint.load(str(a.model))
    test = json.loads(a.test.read_text())
    if test["model_sha256"] != loaded.sha256:
        raise SystemExit(f"{a.test} was measured on other weights than {a.model}")
    metrics = {
        key: {k: v for k, v in value.items() if k in KEPT} if "accuracy" in value else value
        for key, value in loaded.metrics.items()
        if isinstance(value, dict)
    }
    metrics["temperature_fitted_on"] = loaded.metrics["temperature_fitted_on"]
    for protocol, found in test["protocols"].items():
        metrics[f"{found['data']} {protocol}"] = {k: v for k, v in found.items() if k in KEPT}
    for protocol, found in (test["clean"] or {}).items():
        metrics[f"{found['data']} {protocol} clean"] = {k: v for k, v in found.items() if k in KEPT}
    weights = ROOT / "weights"
    path = weights / f"{a.name}.safetensors"
    sha256 = checkpoint.save(
        path, loaded.build(), labels=loaded.labels, temperature=loaded.temperature, metrics=metrics,
        scores=loaded.scores,
    )  # fmt: skip
    entry = {
        "file": path.name, "sha256": sha256, "preview": a.preview, "summary": a.summary,
        "terms": a.terms, "card": f"{a.name}.md",
    }  # fmt: skip
    registry = {"default": a.name, "models": {a.name: entry}}
    (weights / "registry.json").write_text(json.dumps(registry, indent=2) + "\n")
    print(f"{path}: sha256 {sha256}, temperature {loaded.temperature:.3f}\n")
    for key, found in metrics.items():
        if isinstance(found, dict) and "accuracy" in found:
            print(line(key, found))
            if "intervals_95" in found:
                print("   95 %:", {k: [round(x, 3) for x in v] for k, v in
                                   found["intervals_95"].items()})  # fmt: skip
                print("   recall:", {k: round(v, 3) for k, v in found["recall"].items()})


if __name__ == "__main__":
    main()
