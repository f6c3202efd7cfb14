"""Landmarks for small, loosely cropped face images, found once and kept."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.records import Faces, ImageArray
from jadfer_cli.training.datasets import FaceSet

# A face that fills its picture is found badly: each image is enlarged and gets a wide margin,
# and nine of them share one canvas, as the detector looks at 640 px anyway.
_CANVAS_PX, _TILES, _TILE_PX, _FACE_PX = 640, 3, 208, 96
_MARGIN_PX = (_TILE_PX - _FACE_PX) // 2


def with_landmarks(
    faces: FaceSet,
    detect: Callable[[ImageArray], Faces],
    detector_sha256: str,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FaceSet:
    """The face set with landmarks; NaN where no face is found.

    Args:
        faces: Images of one side.
        detect: Finds the faces of an RGB image.
        detector_sha256: Part of the cache's name, as another detector gives other landmarks.
        cache: Folder that keeps the result; None keeps nothing.
        progress: Called with images done and in all.
    """
    digest = hashlib.sha256(faces.images.tobytes() + detector_sha256.encode()).hexdigest()
    file = None if cache is None else cache / f"landmarks-{digest[:16]}.npy"
    if file is not None and file.exists():
        return dataclasses.replace(faces, landmarks_px=np.load(file))
    n, step = len(faces.images), _TILES * _TILES
    found = np.full((n, 5, 2), np.nan, np.float32)
    for first in range(0, n, step):
        group = slice(first, min(first + step, n))
        found[group] = _of_group(faces.images[group], detect)
        if progress:
            progress(group.stop, n)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npy")
        np.save(part, found)
        part.replace(file)
    return dataclasses.replace(faces, landmarks_px=found)


def _of_group(
    images: npt.NDArray[np.uint8], detect: Callable[[ImageArray], Faces]
) -> npt.NDArray[np.float32]:
    """Landmarks (m, 5, 2) of at most nine images, in each image's own pixels."""
    import cv2

    canvas = np.zeros((_CANVAS_PX, _CANVAS_PX, 3), np.uint8)
    origin = [
        (_MARGIN_PX + (i % _TILES) * _TILE_PX, _MARGIN_PX + (i // _TILES) * _TILE_PX)
        for i in range(len(images))
    ]
    for image, (x, y) in zip(images, origin, strict=True):
        large = cv2.resize(image, (_FACE_PX, _FACE_PX), interpolation=cv2.INTER_LINEAR)
        canvas[y : y + _FACE_PX, x : x + _FACE_PX] = large[:, :, None]
    seen = detect(canvas)
    centres = (seen.boxes_px[:, :2] + seen.boxes_px[:, 2:]) / 2  # (k, 2)
    areas = (seen.boxes_px[:, 2:] - seen.boxes_px[:, :2]).prod(1)
    result = np.full((len(images), 5, 2), np.nan, np.float32)
    for i, (x, y) in enumerate(origin):
        away = centres - (x + _FACE_PX / 2, y + _FACE_PX / 2)  # (k, 2)
        inside = np.flatnonzero((np.abs(away) < _TILE_PX / 2).all(1))
        if len(inside):  # the large face in the middle, not one behind it
            best = inside[(areas[inside] - 2 * (away[inside] ** 2).sum(1)).argmax()]
            scale = images.shape[2] / _FACE_PX
            result[i] = (seen.landmarks_px[best] - (x, y)) * scale
    return result
