"""Two models on the same pictures: the difference of accuracy and of mean class recall.

    python tests/bench/paired.py NEW OLD --data FERPlus/data --keep FOLDER [--split test]
    python tests/bench/paired.py NEW OLD --data PRESS --dataset press_faces --keep FOLDER

Takes the logits that `evidence.py` has kept in FOLDER, so it is no further look at the split. A
paired bootstrap draws pictures within each class; copies of one photograph are not drawn together.
"""

import argparse
from pathlib import Path

import numpy as np
from evidence import key_of

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.labels import LABELS
from jadfer_cli.training import start as starts
from jadfer_cli.training.data import AlignedData, DataOptions

DRAWS = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs=2)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dataset", default="ferplus", choices=("ferplus", "press_faces"))
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--split", default="valid", choices=("valid", "test"))
    a = parser.parse_args()
    options = DataOptions(a.dataset, a.data, None, detectors=("centerface",))
    report = ConsoleReporter(stderr_console(), quiet=True)
    faces = AlignedData(options, 1, report).load(a.split)
    counted = faces.protocols[faces.main_protocol]
    new, old = (
        np.load(a.keep / f"{key_of(starts.labelled(model))}-{a.split}-{a.dataset}.npy").argmax(1)
        for model in a.models
    )
    right = [(labels[counted.which] == counted.classes) for labels in (new, old)]
    gain = right[0].astype(float) - right[1]
    occurring = np.unique(counted.classes)
    groups = [np.flatnonzero(counted.classes == k) for k in occurring]
    for label, group in zip(np.array(LABELS)[occurring], groups, strict=True):
        before, now = (int(each[group].sum()) for each in reversed(right))
        print(f"{label:10} n {len(group):5}  right: {before} -> {now}")
    rng = np.random.default_rng(0)
    drawn = np.array([[rng.choice(gain[g], len(g)).mean() for g in groups] for _ in range(DRAWS)])
    share = np.array([len(group) for group in groups]) / len(gain)
    for name, weight in (
        ("accuracy", share),
        ("mean class recall", np.full(len(groups), 1 / len(groups))),
    ):
        low, high = np.percentile(drawn @ weight, [2.5, 97.5]) * 100
        mean = 100 * sum(w * gain[g].mean() for w, g in zip(weight, groups, strict=True))
        print(f"{name}: {mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}")


if __name__ == "__main__":
    main()
