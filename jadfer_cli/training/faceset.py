"""Labelled faces of one split, whatever data set they come from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import TrainingError
from jadfer_cli.faces.landmarker import FaceMeshes
from jadfer_cli.labels import LABELS
from jadfer_cli.records import ImageArray

# uint8 (H, W), grey, or (H, W, 3), RGB; the path of a picture, read when needed; or the bytes of
# a picture's file
Picture = npt.NDArray[np.uint8] | Path | bytes


class Counted(NamedTuple):
    """The images that count under a protocol, and their classes."""

    which: npt.NDArray[np.intp]  # (m,), indices into the set
    classes: npt.NDArray[np.intp]  # (m,), indices into the expressions; the first of a tie
    tied: npt.NDArray[np.bool_] | None = None  # (m, K), all winners of a tie; None without ties

    def at(self, kept: npt.NDArray[np.bool_]) -> Counted:
        """The entries of a mask (m,)."""
        tied = None if self.tied is None else self.tied[kept]
        return Counted(self.which[kept], self.classes[kept], tied)


@dataclass(frozen=True)
class Mixture:
    """Which of several joined sets each image is from, and how training uses the sets.

    Attributes:
        names: Of the s sets.
        source: (n,), the set of each image.
        weights: (s,), how often images of each set are drawn, relative to the others.
        class_weights: (s, K), how often those of each class are drawn, relative to the set's.
        smoothing: (s,), label smoothing; NaN for that of the run.
        known: bool (s, K), the expressions that each set can name.
        correction: (s,), strength of the correction for the set's label frequencies.
        choice_weights: (s,), weight in the choice of the best epoch.
    """

    names: tuple[str, ...]
    source: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float64]
    class_weights: npt.NDArray[np.float64]
    smoothing: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]
    correction: npt.NDArray[np.float64]
    choice_weights: npt.NDArray[np.float64]

    def take(self, index: npt.NDArray[np.intp]) -> Mixture:
        """The same of some images."""
        return dataclasses.replace(self, source=self.source[index])

    def tobytes(self) -> bytes:
        """All that decides a run, for its fingerprint."""
        values = dataclasses.asdict(self)
        names: tuple[str, ...] = values.pop("names")
        return "\n".join(names).encode() + b"".join(array.tobytes() for array in values.values())


@dataclass(frozen=True)
class FaceSet:
    """Labelled face images of one split.

    Attributes:
        name: Data set and split, for messages.
        images: n pictures.
        image_names: n names, for messages and lists.
        targets: float32 (n, K), label distributions over the expressions; zeros if unlabelled.
        protocols: By name, the images that count and their classes; the main one first.
        expressions: Indices of the expressions that the data set can name, ascending; scores of
            the others are ignored in evaluation.
        landmarks_px: float32 (n, m, 5, 2), by m detectors, NaN if no face was found; None
            before alignment.
        notes: What the user should know about the set, such as files that were skipped.
        votes: float32 (n, K + 1), raw numbers of votes: for each expression, and for none of
            them (unknown, not a face); None if the set has labels only.
        meshes: Of the n faces, in pixels of each picture; None unless the recipe needs them.
        people: n names, empty where the person is not known; () if none is.
        parts: The sets that were joined, by name and in order; empty for a single set.
        mixture: How training uses the joined sets; None for a single set.
    """

    name: str
    images: list[Picture]
    image_names: list[str]
    targets: npt.NDArray[np.float32]
    protocols: Mapping[str, Counted]
    expressions: tuple[int, ...] = tuple(range(len(LABELS)))
    landmarks_px: npt.NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    votes: npt.NDArray[np.float32] | None = None
    meshes: FaceMeshes | None = None
    people: tuple[str, ...] = ()
    parts: Mapping[str, FaceSet] = field(default_factory=dict)
    mixture: Mixture | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def main_protocol(self) -> str:
        """The protocol whose figures come first."""
        return next(iter(self.protocols))

    def image_rgb(self, index: int) -> ImageArray:
        """Picture `index` as uint8 (H, W, 3).

        Raises:
            TrainingError: The file is not a readable picture.
        """
        import cv2

        entry = self.images[index]
        if isinstance(entry, np.ndarray):
            return entry if entry.ndim == 3 else np.repeat(entry[:, :, None], 3, 2)
        try:
            encoded = entry.read_bytes() if isinstance(entry, Path) else entry
        except OSError as error:
            raise TrainingError(f"{entry!s} cannot be read ({error.strerror}).") from error
        data = np.frombuffer(encoded, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            where = entry if isinstance(entry, Path) else f"{self.name}: {self.image_names[index]}"
            raise TrainingError(
                f"{where} is not a readable picture.", "Remove it, or convert it to PNG or JPEG."
            )
        return np.ascontiguousarray(image[:, :, ::-1])

    def decoded(self) -> FaceSet:
        """The set with pictures that are bytes decoded once, for training; keys of caches change.

        Raises:
            TrainingError: One is not a readable picture.
        """
        images = list(self.images)
        for index, entry in enumerate(images):
            if isinstance(entry, bytes):
                image = self.image_rgb(index)
                grey = bool((image == image[:, :, :1]).all())
                images[index] = np.ascontiguousarray(image[:, :, 0]) if grey else image
        return dataclasses.replace(self, images=images)

    def digest(self, index: int) -> bytes:
        """A hash of picture `index`: of its pixels, or of its file's bytes."""
        entry = self.images[index]
        data = entry.read_bytes() if isinstance(entry, Path) else bytes(entry)
        return hashlib.sha1(data, usedforsecurity=False).digest()

    def content_key(self, salt: str) -> str:
        """A hash of `salt` and the pictures (of files: path, size and time), for cache names."""
        digest = hashlib.sha256(salt.encode())
        for entry in self.images:
            if isinstance(entry, Path):
                try:
                    status = entry.stat()
                except OSError as error:
                    raise TrainingError(f"{entry} cannot be read ({error.strerror}).") from error
                digest.update(f"{entry.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
            else:
                digest.update(bytes(entry))
        return digest.hexdigest()[:16]

    def take(self, which: npt.ArrayLike) -> FaceSet:
        """The images at `which` (indices or a mask)."""
        index = np.arange(len(self))[np.asarray(which)]
        new_index = np.full(len(self), -1)
        new_index[index] = np.arange(len(index))
        protocols = {}
        for name, counted in self.protocols.items():
            moved = new_index[counted.which]
            protocols[name] = counted._replace(which=moved).at(moved >= 0)
        return FaceSet(
            self.name,
            [self.images[i] for i in index],
            [self.image_names[i] for i in index],
            self.targets[index],
            protocols,
            self.expressions,
            None if self.landmarks_px is None else self.landmarks_px[index],
            self.notes,
            None if self.votes is None else self.votes[index],
            None if self.meshes is None else self.meshes.take(index),
            tuple(self.people[i] for i in index) if self.people else (),
            mixture=None if self.mixture is None else self.mixture.take(index),
        )

    @property
    def widest(self) -> Counted:
        """The images that count under the protocol with the most, and their classes."""
        return max(self.protocols.values(), key=lambda counted: len(counted.which))

    def labelled(self) -> tuple[FaceSet, npt.NDArray[np.intp]]:
        """The images that count under the widest protocol, in order, and their classes."""
        counted = self.widest
        order = np.argsort(counted.which)
        return self.take(counted.which[order]), counted.classes[order]
