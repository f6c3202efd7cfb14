"""Data sets of labelled faces: FER+ so far.

FER+: Barsoum et al. 2016, arXiv 1608.01041. Ten crowd votes an image become a label
distribution over eight expressions; protocols decide which images count.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import JadferError
from jadfer_cli.expression.checkpoint import LABELS

SPLITS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
PROTOCOLS = ("majority", "plurality")
N_VOTES = 10  # 8 expressions, unknown, not a face


@dataclass(frozen=True)
class FaceSet:
    """Labelled face images of one split.

    Attributes:
        name: Data set and split, for messages.
        images: uint8 (n, side, side), grey.
        votes: float32 (n, 10), raw votes.
        image_names: n file names.
        landmarks_px: float32 (n, 5, 2), NaN where no face was found; None before alignment.
    """

    name: str
    images: npt.NDArray[np.uint8]
    votes: npt.NDArray[np.float32]
    image_names: list[str]
    landmarks_px: npt.NDArray[np.float32] | None = None

    def take(self, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> FaceSet:
        """The images at `which` (indices or a mask)."""
        names = np.asarray(self.image_names)[which]
        return FaceSet(
            self.name,
            self.images[which],
            self.votes[which],
            names.tolist(),
            None if self.landmarks_px is None else self.landmarks_px[which],
        )


def load_ferplus(data: Path, split: str, votes_csv: Path | None = None) -> FaceSet:
    """Reads one split of FER+ in its standard layout, from a folder or a zip file.

    Args:
        data: Folder or zip that holds FER2013Train, FER2013Valid and FER2013Test.
        split: "train", "valid" or "test".
        votes_csv: FER+'s own fer2013new.csv. FER2013 repeats images, and each copy was voted
            on; copies of the layout differ in whose votes a repeated image has in label.csv
            (8 % of the test split in one). The votes of fer2013new.csv are the published ones.

    Returns:
        All images of the split, in the order of its label.csv.

    Raises:
        JadferError: The layout is not FER+'s, or an image is missing or unreadable.
    """
    import cv2

    folder = SPLITS[split]
    archive = zipfile.ZipFile(data) if data.is_file() else None

    def read(name: str) -> bytes:
        return archive.read(name) if archive else (data / name).read_bytes()

    try:
        rows = list(csv.reader(io.StringIO(read(f"{folder}/label.csv").decode())))
    except (KeyError, OSError) as error:
        raise JadferError(
            f"{data} holds no {folder}/label.csv.",
            "FER+ in its standard layout has FER2013Train, FER2013Valid and FER2013Test.",
        ) from error
    images = []
    for row in rows:
        try:
            png = np.frombuffer(read(f"{folder}/{row[0]}"), np.uint8)
        except (KeyError, OSError) as error:
            raise JadferError(f"{data}: {folder}/{row[0]} is listed but missing.") from error
        image = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise JadferError(f"{data}: {folder}/{row[0]} is not a readable image.")
        images.append(image)
    votes = np.array([row[2 : 2 + N_VOTES] for row in rows], np.float32)
    if votes_csv is not None:
        votes = _published_votes(votes_csv, [row[0] for row in rows])
    return FaceSet(f"ferplus {split}", np.stack(images), votes, [row[0] for row in rows])


def _published_votes(votes_csv: Path, image_names: list[str]) -> npt.NDArray[np.float32]:
    """The votes of fer2013new.csv for some images, (n, 10)."""
    with votes_csv.open(newline="") as file:
        table = {row[1]: row[2 : 2 + N_VOTES] for row in csv.reader(file)}
    missing = [name for name in image_names if name not in table]
    if missing:
        raise JadferError(f"{votes_csv} has no votes for {missing[0]} ({len(missing)} in all).")
    return np.array([table[name] for name in image_names], np.float32)


def without_repeats(train: FaceSet, others: Iterable[FaceSet]) -> FaceSet:
    """`train` without images that occur, pixel by pixel, in one of `others`."""

    def keys(faces: FaceSet) -> list[bytes]:
        return [hashlib.sha1(image.tobytes()).digest() for image in faces.images]

    held_out = {key for faces in others for key in keys(faces)}
    return train.take(np.array([key not in held_out for key in keys(train)]))


def clean_votes(votes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sets classes with a single vote to 0, as FER+'s own code does; (n, 10) to (n, 10)."""
    return np.where(votes <= 1, 0, votes).astype(np.float32)


def winners(
    votes: npt.NDArray[np.float32], protocol: str
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which images count under a protocol, and their class.

    Args:
        votes: (n, 10), raw.
        protocol: `majority`: the winner holds more than half of the votes that remain after
            cleaning, unknown and not-a-face counted in; `plurality`: the class with most
            votes among all ten. Images won by unknown or not-a-face leave.

    Returns:
        Indices (m,) of the images that count and their classes (m,).
    """
    votes = clean_votes(votes)
    winner = votes.argmax(1)
    counts = winner < len(LABELS)
    if protocol == "majority":
        counts &= votes.max(1) > 0.5 * votes.sum(1)
    which = np.flatnonzero(counts)
    return which, winner[which]


def distributions(votes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Cleaned votes over the eight expressions as distributions; (n, 10) to (n, 8).

    An image without a vote for any expression has zeros; no protocol counts it.
    """
    kept = clean_votes(votes)[:, : len(LABELS)]
    shares: npt.NDArray[np.float32] = kept / np.maximum(kept.sum(1, keepdims=True), 1)
    return shares
