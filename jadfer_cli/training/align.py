"""Landmarks for pictures of single faces, found once and cached.

Detectors often miss a face that fills its picture, so each picture is scaled and gets a wide
margin. Small pictures share one canvas, as the detector processes 640 px anyway. On a face of
48 px landmarks scatter by a pixel, so each is the mean of several views: the picture and its
mirror image, small pictures in three sizes.
"""

from __future__ import annotations

import contextlib
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jadfer_cli.records import Faces, ImageArray
from jadfer_cli.training.faceset import FaceSet

_CANVAS_PX = 640
_SMALL_PX = 192  # up to this side, nine pictures share a canvas


class _Tiling(NamedTuple):
    """Pictures on a canvas: `side` x `side` tiles, longer sides scaled to `face_px`."""

    side: int
    face_px: int

    @property
    def tile_px(self) -> int:
        return _CANVAS_PX // self.side


_MIRRORED = [1, 0, 2, 4, 3]  # order of eyes, nose and mouth corners in a mirror image
_NINE = (_Tiling(3, 128), _Tiling(3, 144), _Tiling(3, 160))
_WITH_MARGIN, _FILLING = _Tiling(1, 320), _Tiling(1, 640)


def find_landmarks(
    faces: FaceSet,
    detect: Callable[[ImageArray], Faces],
    detector_sha256: str,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    save_every_s: float = 30.0,
) -> npt.NDArray[np.float32]:
    """Finds the landmarks of each picture's face.

    Pictures with a side of more than 192 px are processed one by one, with a margin and, if that
    shows no face, without.

    Args:
        faces: Pictures of one face each.
        detect: Finds the faces of an RGB image.
        detector_sha256: Part of the cache's name, as another detector gives other landmarks.
        cache: Folder that caches the result, also while it grows; None for no cache.
        progress: Called with the number of pictures done.
        save_every_s: Interval between writes of the growing cache.

    Returns:
        float32 (n, 5, 2), in pixels of each picture; NaN where no face is found.

    Raises:
        TrainingError: A picture cannot be read.
    """
    method = f"{detector_sha256} {_NINE}"
    if not all(isinstance(picture, np.ndarray) for picture in faces.images):
        method += f" {_SMALL_PX}"  # arrays are FER+'s, 48 px
    file = None if cache is None else cache / f"landmarks-{faces.content_key(method)}.npz"
    n = len(faces)
    found, first = _cached(file, n)
    saved = time.monotonic()
    step = _NINE[0].side ** 2
    for begin in range(first, n, step):
        end = min(begin + step, n)
        found[begin:end] = _averaged([faces.image_rgb(i) for i in range(begin, end)], detect)
        if progress:
            progress(end)
        if file is not None and (end == n or time.monotonic() - saved > save_every_s):
            saved = time.monotonic()
            _cache(file, found, end)
    return found


def _cached(file: Path | None, n: int) -> tuple[npt.NDArray[np.float32], int]:
    """Cached landmarks, and the number of pictures that they cover."""
    if file is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            with np.load(file, allow_pickle=False) as kept:
                found, done = np.array(kept["landmarks_px"], np.float32), int(kept["done"])
            if found.shape == (n, 5, 2):
                return found, done
    return np.full((n, 5, 2), np.nan, np.float32), 0


def _cache(file: Path, found: npt.NDArray[np.float32], done: int) -> None:
    """Caches what was found so far; a folder that cannot be written only costs time."""
    part = file.with_suffix(f".{os.getpid()}.part.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, landmarks_px=found, done=done)
        part.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _averaged(
    images: list[ImageArray], detect: Callable[[ImageArray], Faces]
) -> npt.NDArray[np.float32]:
    """Landmarks (m, 5, 2) of up to nine pictures, the mean of all views that show a face."""
    plain = _of_group(images, detect)
    mirrored = _of_group([np.ascontiguousarray(image[:, ::-1]) for image in images], detect)
    mirrored = mirrored[:, :, _MIRRORED]
    widths = np.array([image.shape[1] for image in images], np.float32)
    mirrored[..., 0] = widths[:, None] - mirrored[..., 0]
    views = np.concatenate([plain, mirrored])  # (views, m, 5, 2)
    n = np.isfinite(views).sum(0)
    # nanmean would warn where no view shows a face
    mean = np.nansum(views, 0) / np.maximum(n, 1)
    found: npt.NDArray[np.float32] = np.where(n > 0, mean, np.nan).astype(np.float32)
    return found


def _of_group(
    images: list[ImageArray], detect: Callable[[ImageArray], Faces]
) -> npt.NDArray[np.float32]:
    """Landmarks (views, m, 5, 2) of up to nine pictures: small ones together, others alone."""
    found = np.full((len(_NINE), len(images), 5, 2), np.nan, np.float32)
    small = [i for i, image in enumerate(images) if max(image.shape[:2]) <= _SMALL_PX]
    if small:
        together = [images[i] for i in small]
        found[:, small] = [_on_canvas(together, detect, tiling) for tiling in _NINE]
    for i in set(range(len(images))) - set(small):
        found[0, i] = _on_canvas([images[i]], detect, _WITH_MARGIN)[0]
        if np.isnan(found[0, i]).any():
            found[0, i] = _on_canvas([images[i]], detect, _FILLING)[0]
    return found


def _on_canvas(
    images: list[ImageArray], detect: Callable[[ImageArray], Faces], tiling: _Tiling
) -> npt.NDArray[np.float32]:
    """Landmarks (m, 5, 2) of the pictures on one canvas, in each picture's own pixels."""
    import cv2

    canvas = np.zeros((_CANVAS_PX, _CANVAS_PX, 3), np.uint8)
    tile = tiling.tile_px
    origins, scales = [], []
    for k, image in enumerate(images):
        scale = tiling.face_px / max(image.shape[:2])
        h, w = (max(round(side * scale), 1) for side in image.shape[:2])
        x = (k % tiling.side) * tile + (tile - w) // 2
        y = (k // tiling.side) * tile + (tile - h) // 2
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=how)
        origins.append((x, y, w, h))
        scales.append(scale)
    seen = detect(canvas)
    centres = (seen.boxes_px[:, :2] + seen.boxes_px[:, 2:]) / 2  # (k, 2)
    areas = (seen.boxes_px[:, 2:] - seen.boxes_px[:, :2]).prod(1)
    result = np.full((len(images), 5, 2), np.nan, np.float32)
    for i, (x, y, w, h) in enumerate(origins):
        away = centres - (x + w / 2, y + h / 2)  # (k, 2)
        inside = np.flatnonzero((np.abs(away) < tile / 2).all(1))
        if len(inside):  # prefer the large face in the middle to one behind it
            best = inside[(areas[inside] - 2 * (away[inside] ** 2).sum(1)).argmax()]
            result[i] = (seen.landmarks_px[best] - (x, y)) / scales[i]
    return result
