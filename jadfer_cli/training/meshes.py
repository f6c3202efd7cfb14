"""Face meshes of training pictures, found once and cached beside the landmarks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import TrainingError
from jadfer_cli.faces.landmarker import FaceMeshes
from jadfer_cli.records import ImageArray
from jadfer_cli.training.faceset import FaceSet


class MeshFinder(Protocol):
    """What is needed of `faces.landmarker.Landmarker`."""

    sha256: str

    def find(self, image_rgb: ImageArray, landmarks_px: npt.ArrayLike) -> FaceMeshes:
        """Meshes of the faces in an image, by their five landmarks (n, 5, 2)."""
        ...


def find_meshes(
    faces: FaceSet,
    finder: MeshFinder,
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    save_every_s: float = 60.0,
) -> FaceMeshes:
    """Finds the mesh of each picture's face.

    Args:
        faces: Aligned pictures of one face each; the first detector's landmarks are used, and
            those of the others where it found nothing.
        finder: The face landmarker.
        cache: Folder that caches the result, also while it grows; None for no cache.
        progress: Called with the number of pictures done.
        save_every_s: Interval between writes of the growing cache.

    Returns:
        n meshes in pixels of each picture; missing where no detector found the face.

    Raises:
        TrainingError: A picture cannot be read.
    """
    five_px = _any_landmarks(faces)
    file = None if cache is None else cache / f"meshes-{_key(faces, five_px, finder.sha256)}.npz"
    found, first = _cached(file, len(faces))
    saved = time.monotonic()
    for index in range(first, len(faces)):
        if np.isfinite(five_px[index]).all():
            one = finder.find(faces.image_rgb(index), five_px[index, None])
            for mine, new in zip(_arrays(found), _arrays(one), strict=True):
                mine[index] = new[0]
        if progress:
            progress(index + 1)
        if file and (index + 1 == len(faces) or time.monotonic() - saved > save_every_s):
            saved = time.monotonic()
            _cache(file, found, index + 1)
    return found


def _any_landmarks(faces: FaceSet) -> npt.NDArray[np.float32]:
    """Landmarks (n, 5, 2) by the first detector that found the face; NaN if none did."""
    if faces.landmarks_px is None:
        return np.full((len(faces), 5, 2), np.nan, np.float32)
    chosen = faces.landmarks_px[:, 0].copy()  # (n, 5, 2)
    for other in np.moveaxis(faces.landmarks_px, 1, 0)[1:]:
        missing = ~np.isfinite(chosen).all((1, 2))
        chosen[missing] = other[missing]
    return chosen


def _arrays(
    meshes: FaceMeshes,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return meshes.points_px, meshes.presence, meshes.blendshapes


def _key(faces: FaceSet, five_px: npt.NDArray[np.float32], sha256: str) -> str:
    """A hash of the model, the landmarks and the pictures (of files: path, size and time)."""
    digest = hashlib.sha256(sha256.encode() + five_px.tobytes())
    for entry in faces.images:
        if isinstance(entry, Path):
            try:
                status = entry.stat()
            except OSError as error:
                raise TrainingError(f"{entry} cannot be read ({error.strerror}).") from error
            digest.update(f"{entry.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
        else:
            digest.update(bytes(entry))
    return digest.hexdigest()[:16]


def _cached(file: Path | None, n: int) -> tuple[FaceMeshes, int]:
    """Cached meshes, and the number of pictures that they cover."""
    if file is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            with np.load(file, allow_pickle=False) as kept:
                names = ("points_px", "presence", "blendshapes")
                meshes = FaceMeshes(*(np.array(kept[name], np.float32) for name in names))
                done = int(kept["done"])
            if len(meshes) == n:
                return meshes, done
    return FaceMeshes.missing(n), 0


def _cache(file: Path, meshes: FaceMeshes, done: int) -> None:
    """Caches what was found so far; a folder that cannot be written only costs time."""
    part = file.with_suffix(f".{os.getpid()}.part.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            part, points_px=meshes.points_px, presence=meshes.presence,
            blendshapes=meshes.blendshapes, done=done,
        )  # fmt: skip
        part.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
