"""Where faces are between two searches of the full frame: measured as rarely as that is enough.

A face that both searches found lies, to a good approximation, on the straight line between both.
The detector looks near the middle of that line. If the face is there, the frames before and after
get places in proportion to their time; otherwise either half is treated likewise. A head that is
still or moves evenly so needs one look for all frames, one that turns or shakes a look for each.
The detector also looks where the picture of a face changes, as under a hand that passes. A face
that only one of the searches found, or that is not near its line, is looked for in every frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.regions import (
    MATCH_IOU,
    REGION_MARGIN,
    Pending,
    detect_again,
    find_between,
    follow_backwards,
    matched,
    two_of_one,
    unmatched,
)
from jadfer_cli.geometry import iou
from jadfer_cli.records import Faces, ImageArray

# Mean distance of the landmarks found from those expected, in longer sides of the box. Repeated
# detections of a face that does not move differ by 0.02.
TOLERANCE = 0.03
# Mean difference of the green channel from the more similar of the two looks, in 8-bit steps.
CHANGED = 16.0
_SAMPLES = 16  # compared per side of the box


def fill(stretch: list[Pending], end: Pending, detector: Detector) -> None:
    """Finds the faces of all frames between two searches of the full frame.

    Args:
        stretch: The frame that was searched, and those after it; frames before the first search
            have no image.
        end: The frame after them, which was searched, too.
        detector: Looks near expected faces.
    """
    find_between(
        stretch, end, detector, lambda frames: _between(frames, 0, len(frames) - 1, detector)
    )


def _between(frames: list[Pending], first: int, last: int, detector: Detector) -> None:
    """Finds the faces of the frames between two whose faces are known."""
    known = frames[first].faces
    if last - first < 2 or not len(known):
        return
    partners = _partners(known, frames[last].faces)
    middle = (first + last) // 2
    found = None
    if partners is not None:
        expected = _on_line(frames, first, last, middle, partners)
        found = _near(_image(frames[middle]), expected, detector)
    if partners is None or found is None:
        _one_by_one(frames, first, last, detector)
        return
    frames[middle].faces = found
    ends = ((first, middle, np.arange(len(known))), (middle, last, partners))
    straight = _deviation(found, expected) <= TOLERANCE
    for begin, finish, order in ends:
        if begin == middle and len(unmatched(frames[middle - 1].faces, found)):
            _one_by_one(frames, middle - 1, last, detector)  # a new face came in and stays
            return
        inner = range(begin + 1, finish)
        guesses = [_on_line(frames, begin, finish, i, order) for i in inner] if straight else []
        if straight and not _changes(frames, begin, finish, guesses, order):
            for i, guess in zip(inner, guesses, strict=True):
                frames[i].faces = guess
        else:
            _between(frames, begin, finish, detector)


def _partners(known: Faces, later: Faces) -> npt.NDArray[np.intp] | None:
    """Which later face each known one is, (n,); None unless every one has one of its own."""
    if not len(later):
        return None
    overlap = iou(known.boxes_px, later.boxes_px)
    partners: npt.NDArray[np.intp] = overlap.argmax(axis=1)
    alone = len(np.unique(partners)) == len(partners)
    return partners if alone and (overlap.max(axis=1) >= MATCH_IOU).all() else None


def _on_line(
    frames: list[Pending], first: int, last: int, at: int, partners: npt.NDArray[np.intp]
) -> Faces:
    """The faces of a frame, in proportion to its time between two others."""
    begin, end = frames[first].faces, frames[last].faces.take(partners)
    times = [frames[i].frame.time_s for i in (first, at, last)]
    span = times[2] - times[0]
    share = np.float32((times[1] - times[0]) / span if span > 0 else (at - first) / (last - first))
    return Faces(
        begin.boxes_px + share * (end.boxes_px - begin.boxes_px),
        begin.scores + share * (end.scores - begin.scores),
        begin.landmarks_px + share * (end.landmarks_px - begin.landmarks_px),
        np.ones(len(begin), np.bool_),
    )


def _near(image_rgb: ImageArray, expected: Faces, detector: Detector) -> Faces | None:
    """Finds every expected face; None if one is not there, or two are the same face."""
    candidates = detector.detect_near(image_rgb, expected.boxes_px, REGION_MARGIN)
    if candidates is None:  # so many faces that the full frame costs less
        candidates = [detector.detect(image_rgb)] * len(expected)
    found = matched(expected, candidates)
    return None if found is None or two_of_one(found) else found


def _deviation(found: Faces, expected: Faces) -> float:
    """Largest mean distance of a face's landmarks, in longer sides of its box."""
    distance = np.linalg.norm(found.landmarks_px - expected.landmarks_px, axis=2).mean(axis=1)
    side = (expected.boxes_px[:, 2:] - expected.boxes_px[:, :2]).max(axis=1)
    return float((distance / np.maximum(side, 1e-6)).max())


def _changes(
    frames: list[Pending],
    first: int,
    last: int,
    guesses: list[Faces],
    partners: npt.NDArray[np.intp],
) -> bool:
    """Whether a face looks other than at both ends in one of the frames between them."""
    if not guesses:
        return False
    begin = _samples(frames[first], frames[first].faces)
    end = _samples(frames[last], frames[last].faces.take(partners))
    for one, faces in zip(frames[first + 1 : last], guesses, strict=True):
        own = _samples(one, faces)
        differences = [np.abs(own - other).mean(axis=(1, 2)) for other in (begin, end)]
        if (np.minimum(*differences) > CHANGED).any():
            return True
    return False


def _samples(one: Pending, faces: Faces) -> npt.NDArray[np.int16]:
    """Green values of a grid over each face, which stand for its grey values, (n, k, k)."""
    image_rgb = _image(one)
    steps = np.linspace(0, 1, _SAMPLES)
    x1, y1, x2, y2 = faces.boxes_px.T[:, :, None]
    rows = np.clip(y1 + steps * (y2 - y1), 0, image_rgb.shape[0] - 1).astype(np.intp)
    columns = np.clip(x1 + steps * (x2 - x1), 0, image_rgb.shape[1] - 1).astype(np.intp)
    grey: npt.NDArray[np.int16] = image_rgb[rows[:, :, None], columns[:, None, :], 1]
    return grey.astype(np.int16)


def _one_by_one(frames: list[Pending], first: int, last: int, detector: Detector) -> None:
    """Finds faces frame by frame, each near where it was; where one is lost, in the full frame.

    New faces are followed backwards beyond `first`, too: `frames` starts with a searched frame.
    """
    known = frames[first].faces
    for i in range(first + 1, last):
        one = frames[i]
        faces = detect_again(_image(one), known, detector) if len(known) else known
        if faces is None or two_of_one(faces):
            faces = detector.detect(_image(one))
            one.full_frame = True
            follow_backwards(frames[:i], unmatched(faces, known), detector)
        one.faces = known = faces
    # those that come back after they were lost
    new = unmatched(frames[last].faces, known)
    follow_backwards(frames[:last], new, detector)


def _image(one: Pending) -> ImageArray:
    """The image of a frame that has one: those without are left out here."""
    assert one.frame.image_rgb is not None
    return one.frame.image_rgb
