"""A folder of pictures, one subfolder per class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jadfer_cli.errors import SplitMissing, TrainingError
from jadfer_cli.training.layouts import (
    SPLIT_FOLDERS,
    LayoutRows,
    Row,
    expression_of,
    expressions_in,
    hashed_split,
    one_hot,
    split_of_train,
)

HINT = (
    "Put pictures into DATA/train/CLASS/, DATA/valid/CLASS/ and DATA/test/CLASS/, or only into "
    "DATA/CLASS/; a class is named like an expression (happiness, sad, ...)."
)
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def read(data: Path, split: str, classes: Mapping[str, str]) -> LayoutRows:
    """Reads SPLIT/CLASS/picture, or CLASS/picture with splits from a hash of the name."""
    if not data.is_dir():
        raise TrainingError(f"{data} is not a folder.", HINT)
    below = {path.name.lower(): path for path in sorted(data.iterdir()) if path.is_dir()}
    named = {
        name: below[folder]
        for name, folders in SPLIT_FOLDERS.items()
        for folder in folders
        if folder in below
    }
    notes: list[str] = []
    if not named:
        whole = _classes(data, data, classes, notes)
        rows = [row for row in whole if hashed_split(row.name) == split]
        return LayoutRows(rows, expressions_in(whole), tuple(notes))
    notes += [
        f"{folder} is none of train, valid and test, and is skipped"
        for folder in sorted(set(below.values()) - set(named.values()))
        if _is_visible(folder.name)
    ]
    parts = {name: _classes(folder, data, classes, notes) for name, folder in named.items()}
    everything = [row for part in parts.values() for row in part]
    if split == "test" and "test" not in parts:
        raise SplitMissing(f"{data} holds no test folder.", HINT)
    if split != "test" and "train" not in parts and split not in parts:
        raise SplitMissing(f"{data} holds no train folder.", HINT)
    if split != "test" and "valid" not in parts:
        return LayoutRows(
            split_of_train(split, parts["train"]), expressions_in(everything), tuple(notes)
        )
    return LayoutRows(parts[split], expressions_in(everything), tuple(notes))


def _classes(folder: Path, data: Path, classes: Mapping[str, str], notes: list[str]) -> list[Row]:
    """The pictures of all class folders; adds to `notes` what was skipped."""
    rows: list[Row] = []
    others: dict[str, int] = {}
    for inner in sorted(
        path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name)
    ):
        files = sorted(
            path
            for path in inner.rglob("*")
            if path.is_file() and all(_is_visible(part) for part in path.relative_to(inner).parts)
        )
        pictures = [path for path in files if path.suffix.lower() in PICTURES]
        for path in set(files) - set(pictures):
            others[path.suffix.lower()] = others.get(path.suffix.lower(), 0) + 1
        if not pictures:
            notes.append(f"{inner} holds no picture and is skipped")
            continue
        target = one_hot(expression_of(inner.name, classes, str(folder)))
        rows += [Row(path, path.relative_to(data).as_posix(), target) for path in pictures]
    if others:
        kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in others.items())
        notes.append(f"{folder}: skipped files that are not pictures of a known kind: {kinds}")
    return rows


def _is_visible(name: str) -> bool:
    """False for files that tools leave behind: .DS_Store, ._a.jpg, .ipynb_checkpoints."""
    return not name.startswith(".") and name != "__MACOSX"
