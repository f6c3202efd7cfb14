"""FER+: Barsoum et al. 2016, arXiv 1608.01041.

Ten crowd votes per image become a label distribution over eight expressions; protocols decide
which images count.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import SplitMissing, TrainingError
from jadfer_cli.labels import LABELS
from jadfer_cli.training.faceset import Counted, FaceSet, Picture

FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
PROTOCOLS = ("majority", "plurality")
N_VOTES = 10  # 8 expressions, unknown, not a face
VOTES_NAMES = ("fer2013new.csv", "ferplus_votes.csv")
_UNREADABLE = (KeyError, OSError, zipfile.BadZipFile)
ARCHIVE_NAMES = ("ferplus.zip", "FERPlus.zip")


def load(data: Path, split: str, votes_csv: Path | None = None) -> FaceSet:
    """Reads one split of FER+ in its standard layout, from a folder or a zip file.

    Args:
        data: Folder or zip that holds FER2013Train, FER2013Valid and FER2013Test; or a folder
            that holds such a zip.
        split: "train", "valid" or "test".
        votes_csv: FER+'s own fer2013new.csv; None: search in and beside `data`.
            FER2013 repeats images, and each copy was voted on; copies of the layout differ in
            which of these votes label.csv has for a repeated image (8 % of the test split in
            one). The votes of fer2013new.csv are the published ones; without it, those of
            label.csv are used.

    Returns:
        All images of the split, in the order of its label.csv.

    Raises:
        TrainingError: The layout is not FER+'s, or an image is missing or unreadable.
        SplitMissing: The split's label.csv is missing.
    """
    import cv2

    data, votes_csv = locate(data, votes_csv)
    folder = FOLDERS[split]
    archive = _archive(data) if data.is_file() else None

    def read(name: str) -> bytes:
        return archive.read(name) if archive else (data / name).read_bytes()

    try:
        rows = [row for row in csv.reader(io.StringIO(read(f"{folder}/label.csv").decode())) if row]
        votes = np.array([row[2 : 2 + N_VOTES] for row in rows], np.float32).reshape(-1, N_VOTES)
    except ValueError as error:  # includes UnicodeDecodeError
        raise TrainingError(
            f"{data}: {folder}/label.csv does not have a name, a box and ten votes per line "
            f"({error})."
        ) from error
    except _UNREADABLE as error:
        raise SplitMissing(
            f"{data} holds no {folder}/label.csv.",
            "FER+ in its standard layout has FER2013Train, FER2013Valid and FER2013Test, each "
            "with PNG images and a label.csv (https://github.com/microsoft/FERPlus).",
        ) from error
    names = [row[0] for row in rows]
    images: list[Picture] = []
    for name in names:
        try:
            png = np.frombuffer(read(f"{folder}/{name}"), np.uint8)
        except _UNREADABLE as error:
            raise TrainingError(f"{data}: {folder}/{name} is listed but missing.") from error
        image = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE) if len(png) else None
        if image is None:
            raise TrainingError(f"{data}: {folder}/{name} is not a readable image.")
        images.append(np.asarray(image, np.uint8))
    note = "votes from label.csv, whose copies differ: no fer2013new.csv was found"
    if votes_csv is not None:
        votes = _published_votes(votes_csv, names)
        note = f"votes from {votes_csv.name}"
    return dataclasses.replace(from_votes(f"ferplus {split}", images, names, votes), notes=(note,))


def from_votes(
    name: str,
    images: list[Picture],
    image_names: list[str],
    votes: npt.NDArray[np.float32],
) -> FaceSet:
    """Makes a face set with FER+'s protocols from raw votes (n, 10)."""
    protocols = {protocol: winners(votes, protocol) for protocol in PROTOCOLS}
    k = len(LABELS)
    with_others = np.column_stack([votes[:, :k], votes[:, k:].sum(1)]).astype(np.float32)
    return FaceSet(name, images, image_names, distributions(votes), protocols, votes=with_others)


def locate(data: Path, votes_csv: Path | None = None) -> tuple[Path, Path | None]:
    """Finds the layout, which is `data` or a zip in it, and the published votes near it."""
    near = [data, data.resolve().parent]
    if data.is_dir() and not any((data / folder).is_dir() for folder in FOLDERS.values()):
        archives = [data / name for name in ARCHIVE_NAMES if (data / name).is_file()]
        data = archives[0] if archives else data
    if votes_csv is None:
        found = (folder / name for folder in near for name in VOTES_NAMES)
        votes_csv = next((path for path in found if path.is_file()), None)
    return data, votes_csv


def _archive(data: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(data)
    except (OSError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{data} is neither a folder nor a readable zip file.") from error


def _published_votes(votes_csv: Path, image_names: list[str]) -> npt.NDArray[np.float32]:
    """The votes of fer2013new.csv for some images, (n, 10)."""
    try:
        with votes_csv.open(newline="", encoding="utf-8") as file:
            lines = [row for row in csv.reader(file) if len(row) >= 2 + N_VOTES]
        table = {row[1]: [float(v) for v in row[2 : 2 + N_VOTES]] for row in lines[1:]}
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"The votes {votes_csv} cannot be read ({error}).") from error
    missing = [name for name in image_names if name not in table]
    if missing:
        raise TrainingError(f"{votes_csv} has no votes for {missing[0]} ({len(missing)} in all).")
    return np.array([table[name] for name in image_names], np.float32)


def clean_votes(votes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sets single votes to 0, as FER+'s own code does; (n, 10) to (n, 10)."""
    return np.where(votes <= 1, 0, votes).astype(np.float32)


def winners(votes: npt.NDArray[np.float32], protocol: str) -> Counted:
    """The images that count under a protocol, and their classes.

    Args:
        votes: (n, 10), raw.
        protocol: `majority`: the winner has more than half of the votes that remain after
            cleaning, including those for unknown and not-a-face; `plurality`: the class with
            the most votes of all ten. Images won by unknown or not-a-face do not count; in a tie
            of them with an expression, the expression wins. Of tied expressions any counts.
    """
    votes = clean_votes(votes)
    winner = votes.argmax(1)
    counts = (winner < len(LABELS)) & (votes.max(1) > 0)
    if protocol == "majority":
        counts &= votes.max(1) > 0.5 * votes.sum(1)
    which = np.flatnonzero(counts)
    highest = votes[which] == votes[which].max(1, keepdims=True)
    return Counted(which, winner[which], highest[:, : len(LABELS)])


def distributions(votes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Cleaned votes over the eight expressions as distributions; (n, 10) to (n, 8).

    An image without a vote for any expression has zeros; no protocol counts it.
    """
    kept = clean_votes(votes)[:, : len(LABELS)]
    shares: npt.NDArray[np.float32] = kept / np.maximum(kept.sum(1, keepdims=True), 1)
    return shares
