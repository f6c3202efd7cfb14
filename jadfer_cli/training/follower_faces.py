"""Faces to train the follower on: pictures and videos, with the landmarks of a detector.

Landmarks of a detector scatter, so each is the mean of those in the picture and in its mirror
image. People are held out for validation by the names of files: what stands before the number.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import TrainingError
from jadfer_cli.faces.align import similarity
from jadfer_cli.geometry import iou
from jadfer_cli.options import VideoOptions
from jadfer_cli.records import Faces, FloatArray, ImageArray
from jadfer_cli.training.follower_views import MIRRORED
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe, select

Detect = Callable[[ImageArray], Faces]
PATCH_PX = 128
_PATCH_FACE_PX = 48  # of the aligned face in a patch
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_MIN_FACE_PX = 24.0  # of smaller faces, landmarks are too coarse
_VIDEO_EVERY = 3
_HELD_OUT = 0.08  # of the people
_EMPTY_PER_VIDEO = 40


class Patch(NamedTuple):
    """A grey square around a face, or without one."""

    pixels: ImageArray  # (PATCH_PX, PATCH_PX)
    landmarks_px: npt.NDArray[np.float64]  # (5, 2), NaN without a face
    person: str


@dataclass(frozen=True)
class FaceBank:
    """n grey pictures of one face each, or of none.

    Attributes:
        pictures: uint8 (n, S, S).
        landmarks_px: float32 (n, 5, 2), NaN without a face.
        held_out: bool (n,), for validation.
    """

    pictures: ImageArray
    landmarks_px: FloatArray
    held_out: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, which: npt.NDArray[np.bool_]) -> FaceBank:
        """The pictures of a mask (n,)."""
        return FaceBank(self.pictures[which], self.landmarks_px[which], self.held_out[which])

    def save(self, path: Path) -> None:
        """Writes the bank to a file.

        Raises:
            OutputError: It cannot be written.
        """
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def open(cls, path: Path) -> FaceBank:
        """Reads a bank that `save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            return cls(kept["pictures"], kept["landmarks_px"], kept["held_out"])


def collect(
    sources: list[Path], detect: Detect, progress: Callable[[str], None], every: int = 1
) -> FaceBank:
    """Finds faces in folders or zip files of pictures, and in videos.

    Args:
        sources: A folder or zip of pictures, or a video, each.
        detect: Finds the faces of an RGB image.
        progress: Called with a sentence from time to time.
        every: Use every nth picture; of videos, every third frame of these.

    Raises:
        TrainingError: A source holds no picture, or nowhere is a face.
        VideoError: A video cannot be read.
    """
    patches: list[Patch] = []
    for source in sources:
        before = len(patches)
        found = _of_pictures if source.is_dir() or source.suffix == ".zip" else _of_video
        for patch in found(source, detect, every):
            patches.append(patch)
            if len(patches) % 500 == 0:
                progress(f"{source.name}: {len(patches) - before} faces")
        progress(f"{source.name}: {len(patches) - before} faces")
    if not any(np.isfinite(patch.landmarks_px).all() for patch in patches):
        raise TrainingError("No face was found in any picture or video.")
    return FaceBank(
        np.stack([patch.pixels for patch in patches]),
        np.stack([patch.landmarks_px for patch in patches]).astype(np.float32),
        np.array([held_out(patch.person) for patch in patches], np.bool_),
    )


def held_out(person: str) -> bool:
    """Whether a person's pictures are for validation."""
    digest = hashlib.sha256(person.encode()).digest()
    return int.from_bytes(digest[:4], "big") < _HELD_OUT * 2**32


def _pictures_of(source: Path, every: int) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        files = sorted(f for f in source.rglob("*") if f.suffix.lower() in _PICTURES)
        yield from ((str(file.relative_to(source)), file.read_bytes()) for file in files[::every])
        return
    try:
        with zipfile.ZipFile(source) as archive:
            names = [n for n in archive.namelist() if Path(n).suffix.lower() in _PICTURES]
            for name in sorted(names)[::every]:
                yield name, archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{source} is neither a folder nor a readable zip file.") from error


def _of_pictures(source: Path, detect: Detect, every: int) -> Iterator[Patch]:
    import cv2

    n = 0
    for name, data in _pictures_of(source, every):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if bgr is None:
            raise TrainingError(f"{source}: {name} is not a readable picture.")
        n += 1
        image_rgb = np.ascontiguousarray(np.asarray(bgr, np.uint8)[:, :, ::-1])
        person = re.sub(r"[_\-\s]*\d+$", "", Path(name).with_suffix("").as_posix())
        yield from _patches(image_rgb, detect, person)
    if not n:
        raise TrainingError(f"{source} holds no pictures ({', '.join(_PICTURES)}).")


def _of_video(source: Path, detect: Detect, every: int) -> Iterator[Patch]:
    """Faces of every third frame; from frames without a face, some empty patches."""
    info = probe(str(source))
    rng, empty = np.random.default_rng(0), 0
    with VideoReader(info, select(info, VideoOptions(every=_VIDEO_EVERY * every))) as frames:
        for frame in frames:
            if frame.image_rgb is None:
                continue
            found = 0
            for patch in _patches(frame.image_rgb, detect, ""):
                found += 1
                yield patch
            if not found and empty < _EMPTY_PER_VIDEO:
                empty += 1
                yield _empty(frame.image_rgb, rng)


def _empty(image_rgb: ImageArray, rng: np.random.Generator) -> Patch:
    import cv2

    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    side = int(min(grey.shape) * rng.uniform(0.4, 1.0))
    y, x = (int(rng.integers(0, length - side + 1)) for length in grey.shape)
    piece = cv2.resize(
        grey[y : y + side, x : x + side], (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA
    )
    return Patch(np.asarray(piece, np.uint8), np.full((5, 2), np.nan), "")


def _patches(image_rgb: ImageArray, detect: Detect, person: str) -> Iterator[Patch]:
    """The faces that are found in a picture and in its mirror image."""
    plain = detect(image_rgb)
    mirrored = detect(np.ascontiguousarray(image_rgb[:, ::-1]))
    if not len(plain) or not len(mirrored):
        return
    width = image_rgb.shape[1]
    boxes = mirrored.boxes_px[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0)
    marks = mirrored.landmarks_px[:, MIRRORED] * (-1, 1) + (width, 0)
    overlap = iou(plain.boxes_px, boxes.astype(np.float32))
    sides = (plain.boxes_px[:, 2:] - plain.boxes_px[:, :2]).min(1)
    for i in np.flatnonzero((overlap.max(1) > 0.6) & (sides >= _MIN_FACE_PX)):
        landmarks = (plain.landmarks_px[i] + marks[overlap[i].argmax()]) / 2
        yield _patch(image_rgb, landmarks.astype(np.float64), person)


def _patch(image_rgb: ImageArray, landmarks: npt.NDArray[np.float64], person: str) -> Patch:
    """An upright square around a face, black beyond the picture."""
    import cv2

    from jadfer_cli.faces import align

    fit = similarity(landmarks[None], _PATCH_FACE_PX)[0].astype(np.float64)
    zoom = float(np.sqrt(np.linalg.det(fit[:, :2])))
    middle = landmarks.mean(0)
    # the template's mean is below the middle of the face
    shift = np.array([PATCH_PX / 2, PATCH_PX / 2 + 0.07 * _PATCH_FACE_PX]) - zoom * middle
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    pad = round(PATCH_PX / zoom)
    padded = cv2.copyMakeBorder(image_rgb, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    matrix[:, 2] -= zoom * pad
    crop_rgb = align.warp(np.asarray(padded, np.uint8), matrix[None], PATCH_PX)[0]
    grey = np.asarray(cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    return Patch(grey, landmarks * zoom + shift, person)
