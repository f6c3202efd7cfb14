"""Layouts of data sets, one file each: where pictures and labels are, and which split has them.

A layout only lists pictures with their labels; `training.datasets` makes face sets of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import TrainingError
from jadfer_cli.labels import BY_NAME, LABELS

SPLITS = ("train", "valid", "test")
SPLIT_FOLDERS = {
    "train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test",),
}  # fmt: skip


class Row(NamedTuple):
    """One labelled picture.

    Attributes:
        picture: Its file, or the bytes of its file.
        name: Its name in the set.
        target: Its label distribution (K,).
        votes: Its votes (K + 1,), the last for none of the expressions, if the set has votes.
        person: Who it shows; empty if not known.
    """

    picture: Path | bytes
    name: str
    target: npt.NDArray[np.float32]
    votes: npt.NDArray[np.float32] | None = None
    person: str = ""


class LayoutRows(NamedTuple):
    """The rows of one split, as a layout reads them.

    Attributes:
        rows: Its pictures.
        expressions: Those that the data set as a whole can name, whether or not the split has
            them: which ones are scored must not depend on the split.
        notes: What the user should know, such as files that were skipped.
        protocols: By name, the positions of the rows that count; the main one first. Empty: one
            protocol, "all", under which all rows count.
    """

    rows: list[Row]
    expressions: Iterable[str]
    notes: tuple[str, ...] = ()
    protocols: Mapping[str, Sequence[int]] = {}


def one_hot(expression: str) -> npt.NDArray[np.float32]:
    """A label distribution (K,) with one expression only."""
    target = np.zeros(len(LABELS), np.float32)
    target[LABELS.index(expression)] = 1
    return target


def _hash_fraction(name: str) -> float:
    """A number in [0, 1) that depends on the name only."""
    return int.from_bytes(hashlib.sha1(name.encode(), usedforsecurity=False).digest()[:4]) / 2**32


def split_of_train(split: str, rows: Iterable[Row]) -> list[Row]:
    """Divides a train split, for sets without a validation split: one tenth becomes valid."""
    return [row for row in rows if (_hash_fraction(row.name) < 0.1) == (split == "valid")]


def expression_of(name: str, classes: Mapping[str, str], where: str) -> str:
    """The expression that a data set's class name stands for.

    Args:
        name: The class name.
        classes: The user's own names.
        where: File or folder, for the message.

    Raises:
        TrainingError: The name is unknown.
    """
    found = classes.get(name, BY_NAME.get(name.strip().lower()))
    if found not in LABELS:
        raise TrainingError(
            f"{where}: the class {name!r} is none of the eight expressions ({', '.join(LABELS)}).",
            f"Map it with `classes` {name}=EXPRESSION, or remove its images.",
        )
    return found


def expressions_in(rows: Iterable[Row]) -> set[str]:
    """The expressions that occur in some rows."""
    return {LABELS[i] for row in rows for i in np.flatnonzero(row.target)}


def hashed_split(name: str) -> str:
    """The split of a picture in a set without splits, from a hash of its name."""
    fraction = _hash_fraction(name)
    return "test" if fraction < 0.1 else "valid" if fraction < 0.2 else "train"


def check_people(split_of: Iterable[tuple[str, str]], where: str) -> None:
    """Checks that no person is in two splits.

    Args:
        split_of: Person and split of each picture; persons without a name are not compared.
        where: The data set, for the message.

    Raises:
        TrainingError: A person is in two splits.
    """
    seen: dict[str, str] = {}
    for person, split in split_of:
        if person and seen.setdefault(person, split) != split:
            raise TrainingError(
                f"{where}: the person {person!r} is in the splits {seen[person]} and {split}.",
                "Keep all pictures of a person in one split, or leave the column split out.",
            )
