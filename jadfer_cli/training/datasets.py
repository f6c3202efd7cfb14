"""Data sets of labelled faces, each by its own public layout.

Whatever the layout, a set becomes a `FaceSet` over the eight expressions. Sets without a
validation split give a tenth of their training images, chosen by a hash of the name, so that
it is the same tenth on every machine.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError, SplitMissing, TrainingError
from jadfer_cli.expression.checkpoint import LABELS
from jadfer_cli.labels import BY_NAME
from jadfer_cli.training import ferplus
from jadfer_cli.training.faceset import Counted, FaceSet

SPLITS = ("train", "valid", "test")
DATASETS = ("ferplus", "rafdb", "affectnet7", "affectnet8", "folder", "csv")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

# Li et al. 2017, RAF-DB's readme: 1 to 7
RAFDB_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
# Mollahosseini et al. 2017, arXiv 1708.03985: 0 to 7; 8 to 10 are none, uncertain, no face
AFFECTNET_CLASSES = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
)  # fmt: skip

_SPLIT_FOLDERS = {
    "train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test",),
}  # fmt: skip


def load(
    dataset: str,
    data: Path,
    split: str,
    *,
    votes: Path | None = None,
    classes: Mapping[str, str] | None = None,
) -> FaceSet:
    """One split of a data set.

    Args:
        dataset: One of DATASETS.
        data: Where it lies.
        split: One of SPLITS.
        votes: `ferplus` only: its fer2013new.csv.
        classes: `folder` and `csv` only: the set's own class names, each with its expression.

    Raises:
        JadferError: Something that the layout has is missing or unreadable.
        OptionError: An unknown data set or split, or an option of another data set.
    """
    for name, value, allowed in (("--dataset", dataset, DATASETS), ("--split", split, SPLITS)):
        if value not in allowed:
            raise OptionError(f"{name} must be one of {', '.join(allowed)}, not {value}.")
    if votes is not None and dataset != "ferplus":
        raise OptionError("--votes belongs to --dataset ferplus.")
    if classes and dataset not in ("folder", "csv"):
        raise OptionError("--class belongs to --dataset folder or csv.")
    if not data.exists():
        raise TrainingError(
            f"There is no folder or file {data}.", "Give the data set's place with --data."
        )
    if dataset == "ferplus":
        return ferplus.load(data, split, votes)
    try:
        found = _LAYOUTS[dataset](data, split, classes or {})
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{data} cannot be read ({error}).", _HINTS[dataset]) from error
    if not found.rows:
        raise SplitMissing(f"{data} holds no {split} images.", _HINTS[dataset])
    targets = np.stack([row.target for row in found.rows])
    return FaceSet(
        f"{dataset} {split}",
        [row.path for row in found.rows],
        [row.name for row in found.rows],
        targets,
        {"all": Counted(np.arange(len(targets)), targets.argmax(1))},
        tuple(sorted(LABELS.index(expression) for expression in found.expressions)),
        notes=found.notes,
    )


class Row(NamedTuple):
    """One labelled picture: its file, its name in the set, its distribution (K,)."""

    path: Path
    name: str
    target: npt.NDArray[np.float32]


class LayoutRows(NamedTuple):
    """What a layout gives for a split.

    `expressions` are those that the whole data set can name, whether or not the split has them:
    what is scored must not depend on which pictures fell into a split.
    """

    rows: list[Row]
    expressions: Iterable[str]
    notes: tuple[str, ...] = ()


Layout = Callable[[Path, str, Mapping[str, str]], LayoutRows]


def _one_hot(expression: str) -> npt.NDArray[np.float32]:
    target = np.zeros(len(LABELS), np.float32)
    target[LABELS.index(expression)] = 1
    return target


def _share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha1(name.encode(), usedforsecurity=False).digest()[:4]) / 2**32


def _from_train(split: str, rows: Iterable[Row]) -> list[Row]:
    """The training images (nine tenths) or the validation images (one tenth) of a train split."""
    return [row for row in rows if (_share(row.name) < 0.1) == (split == "valid")]


def _expression(name: str, classes: Mapping[str, str], where: str) -> str:
    """The expression that a data set's class name means."""
    found = classes.get(name, BY_NAME.get(name.strip().lower()))
    if found not in LABELS:
        raise TrainingError(
            f"{where}: the class {name!r} is none of the eight expressions ({', '.join(LABELS)}).",
            f"Say what it means with --class {name}=EXPRESSION, or leave its images out.",
        )
    return found


def _rafdb(data: Path, split: str, _: Mapping[str, str]) -> LayoutRows:
    """Basic set: EmoLabel/list_patition_label.txt (sic) and Image/aligned or Image/original."""
    root = data / "basic" if (data / "basic").is_dir() else data
    lists = sorted((root / "EmoLabel").glob("list_pa*tition_label.txt"))
    if not lists:
        raise TrainingError(f"{root} holds no EmoLabel/list_patition_label.txt.", _HINTS["rafdb"])
    folders = [
        (root / "Image" / kind, suffix)
        for kind, suffix in (("aligned", "_aligned"), ("original", ""))
        if (root / "Image" / kind).is_dir()
    ]
    if not folders:
        raise TrainingError(f"{root} holds no Image/aligned (or original).", _HINTS["rafdb"])
    folder, suffix = folders[0]
    rows: list[Row] = []
    for number, line in enumerate(lists[0].read_text().splitlines(), 1):
        if not line.strip():
            continue
        name, _sep, label = line.strip().partition(" ")
        if not label.strip().isdigit() or not 1 <= int(label) <= len(RAFDB_CLASSES):
            raise TrainingError(f"{lists[0]}, line {number}: {line!r} is not `NAME.jpg 1..7`.")
        if name.startswith("test") != (split == "test"):
            continue
        path = folder / f"{Path(name).stem}{suffix}.jpg"
        if not path.is_file():
            raise TrainingError(f"{path} is listed in {lists[0].name} but missing.")
        rows.append(Row(path, name, _one_hot(RAFDB_CLASSES[int(label) - 1])))
    return LayoutRows(rows if split == "test" else _from_train(split, rows), RAFDB_CLASSES)


def _affectnet(n_classes: int) -> Layout:
    """Either release; its validation split is used as the test split, as everybody does."""

    def read(data: Path, split: str, _: Mapping[str, str]) -> LayoutRows:
        part = "val_set" if split == "test" else "train_set"
        if (data / part).is_dir():
            labelled = _affectnet_npy(data / part)
        else:
            lists = {"test": "validation.csv"}.get(split, "training.csv")
            found = sorted(data.rglob(lists))
            if not found:
                raise TrainingError(
                    f"{data} holds neither {part}/ nor {lists}.", _HINTS["affectnet"]
                )
            labelled = _affectnet_csv(data, found[0])
        rows = [
            Row(path, name, _one_hot(AFFECTNET_CLASSES[label]))
            for path, name, label in labelled
            if 0 <= label < n_classes
        ]
        kept = rows if split == "test" else _from_train(split, rows)
        return LayoutRows(kept, AFFECTNET_CLASSES[:n_classes])

    return read


def _affectnet_npy(folder: Path) -> Iterable[tuple[Path, str, int]]:
    """images/N.jpg with annotations/N_exp.npy."""
    files = sorted((folder / "images").glob("*.jpg"))
    for path in files:
        label = folder / "annotations" / f"{path.stem}_exp.npy"
        try:
            yield path, path.name, int(np.load(label, allow_pickle=False))
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise TrainingError(
                f"{label} cannot be read ({error}).", _HINTS["affectnet"]
            ) from error


def _affectnet_csv(data: Path, table: Path) -> Iterable[tuple[Path, str, int]]:
    """subDirectory_filePath and expression; pictures in Manually_Annotated_Images."""
    images = sorted(data.rglob("Manually_Annotated_Images"))
    root = images[0] if images else table.parent
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                name, label = row["subDirectory_filePath"], int(row["expression"])
            except (KeyError, TypeError, ValueError) as error:
                raise TrainingError(
                    f"{table} has no usable subDirectory_filePath and expression ({error}).",
                    _HINTS["affectnet"],
                ) from error
            if label >= len(AFFECTNET_CLASSES):
                continue
            if not (root / name).is_file():
                raise TrainingError(f"{root / name} is listed in {table.name} but missing.")
            yield root / name, name, label


def _folder(data: Path, split: str, classes: Mapping[str, str]) -> LayoutRows:
    """SPLIT/CLASS/picture, or CLASS/picture with the splits made by a hash of the name."""
    if not data.is_dir():
        raise TrainingError(f"{data} is not a folder.", _HINTS["folder"])
    below = {path.name.lower(): path for path in sorted(data.iterdir()) if path.is_dir()}
    named = {
        name: below[folder]
        for name, folders in _SPLIT_FOLDERS.items()
        for folder in folders
        if folder in below
    }
    notes: list[str] = []
    if not named:
        whole = _classes(data, data, classes, notes)
        rows = [row for row in whole if _hashed_split(row.name) == split]
        return LayoutRows(rows, _named_by(whole), tuple(notes))
    notes += [
        f"{folder} is none of train, valid and test, and is left out"
        for folder in sorted(set(below.values()) - set(named.values()))
        if _shown(folder.name)
    ]
    parts = {name: _classes(folder, data, classes, notes) for name, folder in named.items()}
    everything = [row for part in parts.values() for row in part]
    if split == "test" and "test" not in parts:
        raise SplitMissing(f"{data} holds no test folder.", _HINTS["folder"])
    if split != "test" and "train" not in parts and split not in parts:
        raise SplitMissing(f"{data} holds no train folder.", _HINTS["folder"])
    if split != "test" and "valid" not in parts:
        return LayoutRows(_from_train(split, parts["train"]), _named_by(everything), tuple(notes))
    return LayoutRows(parts[split], _named_by(everything), tuple(notes))


def _named_by(rows: Iterable[Row]) -> set[str]:
    """The expressions that occur."""
    return {LABELS[i] for row in rows for i in np.flatnonzero(row.target)}


def _hashed_split(name: str) -> str:
    share = _share(name)
    return "test" if share < 0.1 else "valid" if share < 0.2 else "train"


def _classes(folder: Path, data: Path, classes: Mapping[str, str], notes: list[str]) -> list[Row]:
    """The pictures of each class folder; says what was left out."""
    rows: list[Row] = []
    others: dict[str, int] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and _shown(path.name)):
        files = sorted(
            path
            for path in inner.rglob("*")
            if path.is_file() and all(_shown(part) for part in path.relative_to(inner).parts)
        )
        pictures = [path for path in files if path.suffix.lower() in PICTURES]
        for path in set(files) - set(pictures):
            others[path.suffix.lower()] = others.get(path.suffix.lower(), 0) + 1
        if not pictures:
            notes.append(f"{inner} holds no picture and is left out")
            continue
        target = _one_hot(_expression(inner.name, classes, str(folder)))
        rows += [Row(path, path.relative_to(data).as_posix(), target) for path in pictures]
    if others:
        kinds = ", ".join(f"{n} {suffix or 'without ending'}" for suffix, n in others.items())
        notes.append(f"{folder}: files that are no picture of a known kind are left out: {kinds}")
    return rows


def _shown(name: str) -> bool:
    """Whether a file manager shows it: not .DS_Store, ._a.jpg, .ipynb_checkpoints."""
    return not name.startswith(".") and name != "__MACOSX"


def _csv(data: Path, split: str, classes: Mapping[str, str]) -> LayoutRows:
    """Columns file and label, or file and a column of votes an expression; split if there."""
    try:
        with data.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            mark = max(",;\t", key=head.count)  # Excel writes semicolons in half the world
            reader = csv.DictReader(file, delimiter=mark)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            table, header = list(reader), list(reader.fieldnames)
    except UnicodeDecodeError as error:
        raise TrainingError(f"{data} is not UTF-8 ({error}).", _HINTS["csv"]) from error
    except (OSError, csv.Error) as error:
        raise TrainingError(f"{data} cannot be read as CSV ({error}).", _HINTS["csv"]) from error
    own = {name.lower(): expression for name, expression in classes.items()}
    votes = {name: (BY_NAME | own)[name] for name in header if name in BY_NAME | own}
    if "file" not in header or ("label" not in header and not votes):
        raise TrainingError(f"{data} has the columns {', '.join(header)}.", _HINTS["csv"])
    by_split: dict[str, list[Row]] = {name: [] for name in SPLITS}
    known = {alias: name for name, aliases in _SPLIT_FOLDERS.items() for alias in aliases}
    for number, line in enumerate(table, 2):
        where, name = f"{data}, line {number}", line["file"] or ""
        named = (line.get("split") or "").strip().lower()
        if named and named not in known:
            raise TrainingError(f"{where}: the split {named!r} is not train, valid or test.")
        if not (data.parent / name).is_file():
            raise TrainingError(f"{where}: there is no {data.parent / name}.")
        if "label" in header:
            target = _one_hot(_expression(line["label"] or "", classes, where))
        else:
            target = _from_counts(line, votes, where)
        belongs = known[named] if named else _hashed_split(name)
        by_split[belongs].append(Row(data.parent / name, name, target))
    expressions = _named_by(row for rows in by_split.values() for row in rows)
    if split != "test" and not by_split["valid"]:
        return LayoutRows(_from_train(split, by_split["train"]), expressions)
    return LayoutRows(by_split[split], expressions)


def _from_counts(
    line: Mapping[str, str], votes: Mapping[str, str], where: str
) -> npt.NDArray[np.float32]:
    target = np.zeros(len(LABELS), np.float32)
    for column, expression in votes.items():
        try:
            target[LABELS.index(expression)] += float(line[column] or 0)
        except ValueError as error:
            raise TrainingError(f"{where}: {column} is {line[column]!r}, not a number.") from error
    if not (np.isfinite(target).all() and (target >= 0).all() and target.sum() > 0):
        raise TrainingError(f"{where}: the votes are not positive numbers.")
    shares: npt.NDArray[np.float32] = target / target.sum()
    return shares


_LAYOUTS: dict[str, Layout] = {
    "rafdb": _rafdb,
    "affectnet7": _affectnet(7),
    "affectnet8": _affectnet(8),
    "folder": _folder,
    "csv": _csv,
}
_AFFECTNET_HINT = (
    "AffectNet comes as train_set/ and val_set/ (images/ and annotations/), or as training.csv "
    "and validation.csv with Manually_Annotated_Images/."
)
_HINTS = {
    "rafdb": "RAF-DB's basic set has EmoLabel/list_patition_label.txt and Image/aligned/.",
    "affectnet": _AFFECTNET_HINT,
    "affectnet7": _AFFECTNET_HINT,
    "affectnet8": _AFFECTNET_HINT,
    "folder": "Put pictures into DATA/train/CLASS/, DATA/valid/CLASS/ and DATA/test/CLASS/, or "
    "into DATA/CLASS/ alone; a class is named as an expression (happiness, sad, ...).",
    "csv": "It needs the columns file and label, or file and a column of votes an expression; "
    "a column split (train, valid, test) is used if there. Files are relative to the CSV. Excel: "
    'save as "CSV UTF-8".',
}
