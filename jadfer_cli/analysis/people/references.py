"""Reference pictures: a folder per person, whose name is the person's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jadfer_cli.analysis.people.parts import mean_vector
from jadfer_cli.errors import OptionError
from jadfer_cli.results.schema import UNKNOWN
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.people.embedding import Embedder
    from jadfer_cli.records import Faces, FloatArray, ImageArray

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# The largest face of a picture is the person if its area is at least this many times that of the
# next one; people in the background are smaller.
_MIN_AREA_RATIO = 2.0
_LAYOUT = "Make one folder per person in it, named after the person, with pictures of their face."


@dataclass(frozen=True)
class References:
    """The people that may be recognised.

    Attributes:
        names: The k names, sorted.
        vectors: float32 (k, D), mean embedding of each person's pictures.
        n_pictures: How many pictures each has.
        warnings: Pictures that were left out, and people who look alike, one sentence each.
    """

    names: tuple[str, ...]
    vectors: FloatArray
    n_pictures: tuple[int, ...]
    warnings: tuple[str, ...]


def read_references(folder: Path, embedder: Embedder, threshold: float) -> References:
    """Read the reference pictures.

    Args:
        folder: One subfolder per person.
        embedder: Finds and recognises the faces.
        threshold: Pictures of one person should be at least this similar, of two less.

    Raises:
        OptionError: There is no folder of a person, or one without any face.
    """
    people = _folders(folder)
    warnings: list[str] = []
    vectors, counts = [], []
    for person in people:
        found = _pictures_of(person, embedder, warnings)
        if not found:
            raise OptionError(
                f"`references` {folder}: {person.name} has no picture with one clear face.",
                f"Put pictures of the person into {person}: {', '.join(PICTURES)}.",
            )
        each = np.stack(list(found.values()))
        vectors.append(mean_vector(each))
        counts.append(len(found))
        if len(found) > 1:
            warnings += _strangers(found, each, threshold)
    means = np.stack(vectors)
    names = [person.name for person in people]
    warnings += _doubles(names, means, threshold)
    return References(tuple(names), means, tuple(counts), tuple(warnings))


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise OptionError(f"`references` {folder} is not a folder.", _LAYOUT)
    people = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not people:
        raise OptionError(f"`references` {folder} has no folders of people.", _LAYOUT)
    if UNKNOWN in (person.name for person in people):
        raise OptionError(
            f"`references` {folder}: a person cannot be called {UNKNOWN}, which stands for faces "
            "that nobody has.",
            "Rename the folder.",
        )
    return people


def _pictures_of(person: Path, embedder: Embedder, warnings: list[str]) -> dict[Path, FloatArray]:
    """The embedding (D,) of the face in each picture of one person that shows one."""
    found = {}
    for path in sorted(person.rglob("*")):
        if path.suffix.lower() not in PICTURES or path.name.startswith("."):
            continue
        image_rgb = _read(path)
        if image_rgb is None:
            warnings.append(f"{path} cannot be read as a picture, and is left out.")
            continue
        faces = embedder.detector.detect(image_rgb)
        which = _main_face(faces)
        if which is None:
            what = "no face is found in it"
            if len(faces):
                what = f"it shows {count_text(len(faces), 'face')} of similar size"
            warnings.append(f"{path} is left out: {what}. Crop it to the person.")
            continue
        found[path] = embedder.recogniser.embed(image_rgb, faces.landmarks_px[[which]])[0]
    return found


def _read(path: Path) -> ImageArray | None:
    import cv2

    try:
        data = np.fromfile(path, np.uint8)
    except OSError:
        return None
    image_bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None  # obeys EXIF
    if image_bgr is None:
        return None
    image_rgb: ImageArray = np.ascontiguousarray(image_bgr[:, :, ::-1])
    return image_rgb


def _main_face(faces: Faces) -> int | None:
    """The index of the face that is clearly the largest; None if there is none."""
    if not len(faces):
        return None
    areas = np.prod(faces.boxes_px[:, 2:] - faces.boxes_px[:, :2], axis=1)
    largest, *others = np.argsort(-areas).tolist()
    if others and areas[largest] < _MIN_AREA_RATIO * areas[others[0]]:
        return None
    return int(largest)


def _strangers(found: dict[Path, FloatArray], each: FloatArray, threshold: float) -> list[str]:
    """Pictures that do not look like the others of their person, one sentence each."""
    texts = []
    for i, path in enumerate(found):
        cosine = float(each[i] @ mean_vector(np.delete(each, i, axis=0)))
        if cosine < threshold:
            texts.append(
                f"{path} does not look like the other pictures of {path.parent.name} "
                f"({cosine:.2f}, threshold {threshold:g}): check who it shows."
            )
    return texts


def _doubles(names: Sequence[str], means: FloatArray, threshold: float) -> list[str]:
    """People whose references look alike, one sentence per pair."""
    return [
        f"{names[i]} and {names[j]} look alike to the recogniser ({means[i] @ means[j]:.2f}, "
        f"threshold {threshold:g}): they may be confused."
        for i, j in combinations(range(len(names)), 2)
        if means[i] @ means[j] >= threshold
    ]
