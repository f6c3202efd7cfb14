"""Fits the share of votes of a model on FER+ validation, and stores it in the model's file.

    python tests/bench/vote_share.py jadfer-compact --data DIR [--votes CSV] --write

Prints first what speaks for the definition: the definitions are judged on images that they were
not fitted on (mean of 20 random halves; the temperature of the majority was fitted on all). With
--write, the file is written anew with the same tensors; for a registered model, its entry in
weights/registry.json, too.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.expression import checkpoint, header
from jadfer_cli.expression.scores import MAJORITY, VOTE_SHARE, Calibration
from jadfer_cli.text import count_text
from jadfer_cli.training import start as starts
from jadfer_cli.training.calibrate import fit_vote_share
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.evaluate import figures
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.vote_shares import against_votes

SHOWN = ("kl", "ece_top", "ece_by_class", "ece_winner", "correlation")


def compare(logits: np.ndarray, faces: FaceSet, majority: Calibration) -> None:
    """Prints each definition's figures against the votes, by subset."""
    votes = faces.votes
    named = votes[:, :-1].sum(1) > 0
    agreed = np.zeros(len(faces), bool)
    agreed[faces.protocols["majority"].which] = True
    found: dict[tuple[str, str], list[list[float]]] = {}
    for seed in range(20):
        half = np.random.default_rng(seed).random(len(faces)) < 0.5
        z, v = logits[named & half], votes[named & half]
        for name, scale in (
            ("majority", majority),
            ("temperature 1", Calibration()),
            ("votes", fit_vote_share(z, v)),
            ("votes, biases", fit_vote_share(z, v, biases=True)),
        ):
            subsets = {"majority": agreed, "ambiguous": ~agreed, "all": named}
            for subset, mask in subsets.items():
                judged = mask & named & ~half
                each = against_votes(scale.probabilities(logits[judged]), votes[judged])
                found.setdefault((name, subset), []).append([each[key] for key in SHOWN])
    print(f"{'scores':14} {'images':10} " + " ".join(f"{key:>12}" for key in SHOWN))
    for (name, subset), rows in found.items():
        print(f"{name:14} {subset:10} " + " ".join(f"{x:12.4f}" for x in np.mean(rows, 0)))
    print("\nlabels, majority images:")
    with_biases = fit_vote_share(logits[named], votes[named], biases=True)
    for name, scale in (("no biases", Calibration()), ("biases", with_biases)):
        p = scale.probabilities(logits)
        f = figures(np.log(np.maximum(p, 1e-30)), faces, "majority")
        changed = (p.argmax(1) != logits.argmax(1)).mean()
        print(
            f"{name:10} accuracy {f['accuracy']:.4f}, mean class recall "
            f"{f['mean_class_recall']:.4f}, labels changed {changed:.2%}"
        )


def write(loaded: checkpoint.Checkpoint, share: Calibration, fitted_on: str) -> None:
    """Writes the file anew with the definition, and the registry's entry."""
    path = loaded.entry.path
    sha256 = checkpoint.save(
        path, loaded.build(), labels=loaded.labels, temperature=loaded.temperature,
        metrics={**loaded.metrics, "votes_fitted_on": fitted_on},
        terms=header.read(loaded.data).terms,
        scores={**loaded.scores, VOTE_SHARE: share},
    )  # fmt: skip
    again = checkpoint.load(str(path))
    before, after = (header.tensors_of(each.data) for each in (loaded, again))
    if before != after:
        raise SystemExit(f"{path}: the tensors have changed")
    print(f"{path}: sha256 {sha256}, temperature {share.temperature:.4f}, fitted on {fitted_on}")
    if loaded.entry.sha256 is not None:
        registry = checkpoint.weights_dir() / "registry.json"
        table = json.loads(registry.read_text())
        entry = table["models"][loaded.entry.name]
        entry["earlier_sha256"] = [*entry.get("earlier_sha256", []), entry["sha256"]]
        entry["sha256"] = sha256
        registry.write_text(json.dumps(table, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=Path)
    parser.add_argument("--detector", default="centerface")
    parser.add_argument("--logits", type=Path, help="keep them here, and use them if they exist")
    parser.add_argument("--write", action="store_true")
    a = parser.parse_args()
    loaded = starts.labelled(a.model)
    options = DataOptions("ferplus", a.data, a.votes, detectors=(a.detector,))
    faces = AlignedData(options, 1, ConsoleReporter(stderr_console(), quiet=False)).load("valid")
    if a.logits and a.logits.exists():
        logits = np.load(a.logits)
    else:
        logits = logits_of(loaded.build(), faces, 64).numpy()
        if a.logits:
            np.save(a.logits, logits)
    compare(logits, faces, loaded.scores[MAJORITY])
    if a.write:
        share = fit_vote_share(logits, faces.votes)
        write(loaded, share, f"{faces.name}, {count_text(len(faces), 'image')}")


if __name__ == "__main__":
    main()
