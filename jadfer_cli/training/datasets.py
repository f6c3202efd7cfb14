"""Data sets of labelled faces, each in its own public layout.

Whatever the layout, a set becomes a `FaceSet` over the eight expressions. Of sets without a
validation split a tenth of the training images is taken, chosen by a hash of the name, so that
it is the same tenth on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError, SplitMissing, TrainingError
from jadfer_cli.labels import LABELS
from jadfer_cli.training import ferplus
from jadfer_cli.training.faceset import Counted, FaceSet
from jadfer_cli.training.layouts import (
    SPLITS,
    LayoutRows,
    Row,
    affectnet,
    csv_file,
    folder,
    press_faces,
    rafdb,
)


class _Layout(NamedTuple):
    """How to read a split, given the set's own class names, and a hint for its errors."""

    read: Callable[[Path, str, Mapping[str, str]], LayoutRows]
    hint: str


_LAYOUTS = {
    "rafdb": _Layout(rafdb.read, rafdb.HINT),
    "affectnet7": _Layout(affectnet.reader(7), affectnet.HINT),
    "affectnet8": _Layout(affectnet.reader(8), affectnet.HINT),
    "press_faces": _Layout(press_faces.read, press_faces.HINT),
    "folder": _Layout(folder.read, folder.HINT),
    "csv": _Layout(csv_file.read, csv_file.HINT),
}
DATASETS = ("ferplus", *_LAYOUTS)


def load(
    dataset: str,
    data: Path,
    split: str,
    *,
    votes: Path | None = None,
    classes: Mapping[str, str] | None = None,
) -> FaceSet:
    """Reads one split of a data set.

    Args:
        dataset: One of DATASETS.
        data: Its folder or file.
        split: One of SPLITS.
        votes: `ferplus` only: its fer2013new.csv.
        classes: `folder` and `csv` only: the expression of each class name of the set's own.

    Raises:
        TrainingError: Something that the layout requires is missing or unreadable.
        SplitMissing: The data set has no such split.
        OptionError: An unknown data set or split, or an option of another data set.
    """
    for name, value, allowed in (("`dataset`", dataset, DATASETS), ("`split`", split, SPLITS)):
        if value not in allowed:
            raise OptionError(f"{name} must be one of {', '.join(allowed)}, not {value}.")
    if votes is not None and dataset != "ferplus":
        raise OptionError("`votes` belongs to `dataset` ferplus.")
    if classes and dataset not in ("folder", "csv"):
        raise OptionError("`classes` belongs to `dataset` folder or csv.")
    if not data.exists():
        raise TrainingError(
            f"There is no folder or file {data}.", "Give the path of the data set with `data`."
        )
    if dataset == "ferplus":
        return ferplus.load(data, split, votes)
    layout = _LAYOUTS[dataset]
    try:
        found = layout.read(data, split, classes or {})
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{data} cannot be read ({error}).", layout.hint) from error
    if not found.rows:
        raise SplitMissing(f"{data} has no images in the split '{split}'.", layout.hint)
    targets = np.stack([row.target for row in found.rows])
    return FaceSet(
        f"{dataset} {split}",
        [row.picture for row in found.rows],
        [row.name for row in found.rows],
        targets,
        _protocols(found.protocols or {"all": range(len(targets))}, targets),
        tuple(sorted(LABELS.index(expression) for expression in found.expressions)),
        notes=found.notes,
        votes=_votes(found.rows),
        people=_people(found.rows),
    )


def _protocols(
    positions: Mapping[str, Sequence[int]], targets: npt.NDArray[np.float32]
) -> dict[str, Counted]:
    every = Counted(np.arange(len(targets)), targets.argmax(1), _winners(targets))
    return {name: every.at(np.isin(every.which, list(of))) for name, of in positions.items()}


def _winners(targets: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The expressions with the largest share of each image, (n, K); several in a tie."""
    highest: npt.NDArray[np.bool_] = targets == targets.max(1, keepdims=True)
    return highest


def _votes(rows: list[Row]) -> npt.NDArray[np.float32] | None:
    """The votes (n, K + 1) of a layout that has them for every row."""
    votes = [row.votes for row in rows if row.votes is not None]
    return np.stack(votes) if len(votes) == len(rows) else None


def _people(rows: list[Row]) -> tuple[str, ...]:
    people = tuple(row.person for row in rows)
    return people if any(people) else ()
