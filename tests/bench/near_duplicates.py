"""Draws pairs of similar pictures by correlation, to choose the threshold for twins by eye.

    python tests/bench/near_duplicates.py --dataset ferplus --data ../shared/data --out /tmp/pairs

Writes sheets of PER_BAND pairs from each band of correlation 0.02 wide between LOW and HIGH: the
held-out picture, undone if mirrored, beside its most similar training picture. With --listed, a CSV
with the columns split, image and correlation, also prints how many of its images are found.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.training import twins
from jadfer_cli.training.data import DataOptions, default_cache
from jadfer_cli.training.datasets import load
from jadfer_cli.training.layouts import SPLITS
from jadfer_cli.training.near_duplicates import LOWEST, thumbnails

LOW, HIGH, BAND, PER_BAND = 0.60, 0.80, 0.02, 12
COLUMNS, ROWS, SIDE_PX, TITLE_PX = 5, 8, 112, 18
THRESHOLDS = (0.6, 0.65, 0.68, 0.7, 0.75, 0.8)


def nearest(found: twins.Twins) -> dict[int, tuple[float, int, bool]]:
    """The most similar training picture of each held-out picture."""
    n = sum(len(names) for split, names in found.names.items() if split != "train")
    best: dict[int, tuple[float, int, bool]] = {}
    for i, j, correlation, mirrored in zip(*found.pairs, strict=True):
        if j >= n and correlation > best.get(int(i), (0.0,))[0]:
            best[int(i)] = (float(correlation), int(j), bool(mirrored))
    return best


def cell(first: np.ndarray, second: np.ndarray, correlation: float, mirrored: bool) -> np.ndarray:
    pair = [first[:, ::-1] if mirrored else first, second]
    large = [cv2.resize(np.ascontiguousarray(p), (SIDE_PX, SIDE_PX)) for p in pair]
    drawn = cv2.copyMakeBorder(
        np.concatenate(large, 1), TITLE_PX, 4, 4, 4, cv2.BORDER_CONSTANT, value=255
    )
    return cv2.putText(drawn, f"{correlation:.3f}", (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1)


def write_sheets(best: dict, pictures: np.ndarray, out: Path) -> None:
    rng = np.random.default_rng(0)
    ranked = sorted((value[0], i) for i, value in best.items())
    cells = []
    for low in np.arange(LOW, HIGH - 1e-9, BAND):
        band = [i for correlation, i in ranked if low < correlation <= low + BAND]
        chosen = sorted(rng.permutation(len(band))[:PER_BAND])
        print(f"{low:.2f} to {low + BAND:.2f}: {len(band)} pairs, {len(chosen)} drawn")
        for i in (band[k] for k in chosen):
            correlation, j, mirrored = best[i]
            cells.append(cell(pictures[i], pictures[j], correlation, mirrored))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % (COLUMNS * ROWS))
    for number, begin in enumerate(range(0, len(cells), COLUMNS * ROWS)):
        rows = [
            np.concatenate(cells[k : k + COLUMNS], 1)
            for k in range(begin, begin + COLUMNS * ROWS, COLUMNS)
        ]
        cv2.imwrite(str(out / f"pairs-{number}.png"), np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--listed", type=Path)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    options = DataOptions(a.dataset, a.data)
    sets = {split: load(options.dataset, options.data, split) for split in SPLITS}
    report = ConsoleReporter(stderr_console(), quiet=False)
    found = twins.find(sets, LOWEST, device=a.device, cache=default_cache(), report=report)
    pictures = np.concatenate([thumbnails(sets[split]) for split in found.names])
    best = nearest(found)
    write_sheets(best, pictures, a.out)
    names = [(split, name) for split, of_split in found.names.items() for name in of_split]
    by_name = {names[i]: value[0] for i, value in best.items()}
    listed = []
    if a.listed:
        with a.listed.open() as file:
            listed = [(row["split"], row["image"]) for row in csv.DictReader(file)]
    for split in ("valid", "test"):
        own = [key for key in listed if key[0] == split]
        for low in THRESHOLDS:
            above = sum(value > low for (s, _), value in by_name.items() if s == split)
            hits = sum(by_name.get(key, 0) > low for key in own)
            print(f"{split} above {low}: {above} images; {hits} of {len(own)} listed ones")


if __name__ == "__main__":
    main()
