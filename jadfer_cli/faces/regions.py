"""Faces found again near where they were, and followed backwards from where they appear."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jadfer_cli.faces.detector import Detector
from jadfer_cli.geometry import iou
from jadfer_cli.records import BoolArray, Faces, FloatArray, Frame, ImageArray

REGION_MARGIN = 1.45  # side of the region around a face, in units of its longer side
MATCH_IOU = 0.3  # boxes of one face in neighbouring frames overlap at least this much


@dataclass
class Pending:
    """A frame held back until all of its faces are known.

    Attributes:
        frame: The frame.
        faces: Those known so far.
        full_frame: Whether they come from a search of the full frame.
        same: Whether its picture is that of the frame before.
        restartable: As of `follow.Detections`.
        measured: bool (n,), which of its faces the detector placed; None for all of them.
    """

    frame: Frame
    faces: Faces
    full_frame: bool
    same: bool = False
    restartable: bool = False
    measured: BoolArray | None = None


def again(faces: Faces) -> Faces:
    """The same faces in a frame that shows the same picture."""
    return dataclasses.replace(faces, followed=np.ones(len(faces), np.bool_))


def find_between(
    stretch: Sequence[Pending],
    end: Pending,
    detector: Detector,
    place: Callable[[list[Pending]], None],
) -> None:
    """Find the faces of the pictures between two searches; frames that repeat one get the same.

    Faces that came in are followed backwards.

    Args:
        stretch: The frame that was searched, and those after it; frames before the first search
            have no image.
        end: The frame after them, which was searched, too.
        detector: Follows faces backwards.
        place: Finds the faces of frames that all show different pictures, but for the first and
            the last frame; there are at least two.
    """
    shown = [one for one in stretch if one.frame.image_rgb is not None]
    if not shown:
        return
    distinct = [shown[0], *(one for one in shown[1:] if not one.same)]
    if not end.same:
        distinct.append(end)
    elif len(distinct) > 1:
        distinct[-1].faces = again(end.faces)
    if len(distinct) > 1:
        place(distinct)
        new = unmatched(distinct[-1].faces, distinct[-2].faces)
        follow_backwards(distinct[:-1], new, detector)
    for before, one in itertools.pairwise(shown):
        if one.same:
            one.faces = again(before.faces)


def detect_again(image_rgb: ImageArray, known: Faces, detector: Detector) -> Faces | None:
    """Detect all known faces in regions; None if one is not found, or regions cost too much."""
    candidates = detector.detect_near(image_rgb, known.boxes_px, REGION_MARGIN)
    return None if candidates is None else matched(known, candidates)


def matched(known: Faces, candidates: Sequence[Faces]) -> Faces | None:
    """What each known face is among its candidates; None if one of them is not there."""
    pairs = zip(known.boxes_px, candidates, strict=True)
    matches = [match for box, found in pairs if (match := best_match(box, found))]
    return Faces.join(matches) if len(matches) == len(known) else None


def two_of_one(faces: Faces) -> bool:
    """Whether two of the faces, found in regions of their own, are one face."""
    overlap = iou(faces.boxes_px, faces.boxes_px)
    return bool((overlap - np.eye(len(faces)) > MATCH_IOU).any())


def best_match(box: FloatArray, candidates: Faces) -> Faces | None:
    """The candidate that overlaps a box (4,) most, as Faces of length 1; None if none does."""
    if not len(candidates):
        return None
    overlap = iou(box[None], candidates.boxes_px)[0]
    best = int(overlap.argmax())
    return candidates.take(np.array([best])) if overlap[best] >= MATCH_IOU else None


def unmatched(found: Faces, known: Faces) -> Faces:
    """The faces in `found` that overlap no known face."""
    if not len(known):
        return found
    return found.take(iou(found.boxes_px, known.boxes_px).max(axis=1, initial=0) < MATCH_IOU)


def follow_backwards(pending: list[Pending], new: Faces, detector: Detector) -> None:
    """Follow new faces backwards, and add them to the frames in which they are found."""
    for one in reversed(pending):
        image_rgb = one.frame.image_rgb
        if not len(new) or one.full_frame:
            return
        if image_rgb is None:
            continue
        candidates = detector.detect_near(image_rgb, new.boxes_px, REGION_MARGIN) or []
        pairs = zip(new.boxes_px, candidates, strict=bool(candidates))
        found = [match for box, faces in pairs if (match := best_match(box, faces))]
        if len(found) < len(new):  # a face moved far, or came in here
            found = [detector.detect(image_rgb)]
        new = _without_overlaps(unmatched(Faces.join(found), one.faces))
        one.faces = Faces.join([one.faces, new])


def _without_overlaps(faces: Faces) -> Faces:
    """Drop every face that overlaps an earlier one."""
    overlap = np.triu(iou(faces.boxes_px, faces.boxes_px), 1)
    return faces.take(overlap.max(axis=0, initial=0) < MATCH_IOU)
