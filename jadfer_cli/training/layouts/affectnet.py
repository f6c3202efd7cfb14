"""AffectNet with 7 or 8 classes: Mollahosseini et al. 2017, arXiv 1708.03985."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from jadfer_cli.errors import TrainingError
from jadfer_cli.training.layouts import LayoutRows, Row, one_hot, split_of_train

HINT = (
    "AffectNet comes as train_set/ and val_set/ (images/ and annotations/), or as training.csv "
    "and validation.csv with Manually_Annotated_Images/."
)
# 0 to 7; 8 to 10 are none, uncertain, no face
CLASSES = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
)  # fmt: skip


def reader(n_classes: int) -> Callable[[Path, str, Mapping[str, str]], LayoutRows]:
    """A reader of either release; the published validation split is the test split, as is usual."""

    def read(data: Path, split: str, _: Mapping[str, str]) -> LayoutRows:
        part = "val_set" if split == "test" else "train_set"
        if (data / part).is_dir():
            labelled = _from_npy(data / part)
        else:
            lists = {"test": "validation.csv"}.get(split, "training.csv")
            found = sorted(data.rglob(lists))
            if not found:
                raise TrainingError(f"{data} holds neither {part}/ nor {lists}.", HINT)
            labelled = _from_csv(data, found[0])
        rows = [
            Row(path, name, one_hot(CLASSES[label]))
            for path, name, label in labelled
            if 0 <= label < n_classes
        ]
        kept = rows if split == "test" else split_of_train(split, rows)
        return LayoutRows(kept, CLASSES[:n_classes])

    return read


def _from_npy(folder: Path) -> Iterable[tuple[Path, str, int]]:
    """images/N.jpg with annotations/N_exp.npy."""
    files = sorted((folder / "images").glob("*.jpg"))
    for path in files:
        label = folder / "annotations" / f"{path.stem}_exp.npy"
        try:
            yield path, path.name, int(np.load(label, allow_pickle=False))
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise TrainingError(f"{label} cannot be read ({error}).", HINT) from error


def _from_csv(data: Path, table: Path) -> Iterable[tuple[Path, str, int]]:
    """subDirectory_filePath and expression; pictures in Manually_Annotated_Images."""
    images = sorted(data.rglob("Manually_Annotated_Images"))
    root = images[0] if images else table.parent
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                name, label = row["subDirectory_filePath"], int(row["expression"])
            except (KeyError, TypeError, ValueError) as error:
                raise TrainingError(
                    f"{table} has no usable subDirectory_filePath and expression ({error}).",
                    HINT,
                ) from error
            if label >= len(CLASSES):
                continue
            if not (root / name).is_file():
                raise TrainingError(f"{root / name} is listed in {table.name} but missing.")
            yield root / name, name, label
