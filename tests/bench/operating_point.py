"""What finding more faces of the rare expressions costs: choosing by p / (share of votes) ** POWER.

    python tests/bench/operating_point.py MODEL [MODEL ...] --keep FOLDER --ferplus DIR --press DIR

Takes the validation logits that `evidence.py` has kept in FOLDER; p are the shares of raters, as in
a result. POWER 0 takes the highest score, as in the column `expression`; 1 would choose as if all
expressions were equally frequent. The shares of votes are those of FER+ validation; press faces are
chosen by the same rule.
"""

import argparse
from pathlib import Path

import numpy as np
from evidence import key_of

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.expression.scores import VOTE_SHARE
from jadfer_cli.training import start as starts
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.evaluate import figures

POWERS = (0.0, 0.1, 0.2, 0.3, 0.4)
PROTOCOLS = {"ferplus": "majority", "press_faces": "press"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--press", type=Path, required=True)
    a = parser.parse_args()
    report = ConsoleReporter(stderr_console(), quiet=True)
    sets = {
        name: AlignedData(DataOptions(name, path, detectors=("centerface",)), 1, report).load(
            "valid"
        )
        for name, path in (("ferplus", a.ferplus), ("press_faces", a.press))
    }
    shares = sets["ferplus"].targets.mean(0)
    print("model, power: " + "; ".join(f"{name}: accuracy, mean recall %" for name in sets))
    for model in a.models:
        loaded = starts.labelled(model)
        for power in POWERS:
            line = []
            for name, faces in sets.items():
                logits = np.load(a.keep / f"{key_of(loaded)}-valid-{name}.npy")
                p = loaded.scores[VOTE_SHARE].probabilities(logits)
                logits = np.log(p) - power * np.log(shares)
                found = figures(logits, faces, PROTOCOLS[name])
                line += [found["accuracy"], found["mean_class_recall"]]
            print(f"{loaded.entry.name}, {power:g}: " + " ".join(f"{100 * x:.1f}" for x in line))


if __name__ == "__main__":
    main()
