"""Places of followed faces, corrected once the detector has found the faces again.

Where the network of `follower` says a face is, and where the detector finds it, drifts apart as
the head turns. It does so slowly: the frames since the face's last detection get a part of the
difference, in proportion to their time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.follower import INTEROCULAR_PX, inverted, moved, placement
from jadfer_cli.faces.motion import Located
from jadfer_cli.faces.regions import MATCH_IOU, Pending, find_between
from jadfer_cli.geometry import iou
from jadfer_cli.records import Faces

Array = npt.NDArray[np.float64]

MAX_DRIFT = 0.5  # of the landmarks, in interocular distances; a head that turns away reaches 0.25


def settle(
    stretch: Sequence[Pending], expected: Located | None, end: Pending, detector: Detector
) -> None:
    """Corrects the faces between two searches of the full frame, and adds those that came in.

    Args:
        stretch: The frame that was searched, and those after it, all with the same faces in the
            same order; frames before the first search have no image.
        expected: Where the network places them in `end`; those it is unsure of are no measure.
            None if there was a cut.
        end: The frame after them, which was searched, too.
        detector: Follows new faces backwards.
    """

    def place(frames: list[Pending]) -> None:
        if expected is not None:
            _spread(frames[:-1], expected, frames[-1])

    find_between(stretch, end, detector, place)


def _spread(frames: Sequence[Pending], expected: Located, end: Pending) -> None:
    partner = _partners(expected, end.faces)
    if not (partner >= 0).any():
        return
    times = np.array([one.frame.time_s for one in (*frames, end)])
    marks, boxes = _difference(expected.faces, end.faces.take(np.maximum(partner, 0)))
    far = np.linalg.norm(marks, axis=2).mean(axis=1) > MAX_DRIFT * INTEROCULAR_PX
    partner[far] = -1  # it is another face
    marks[partner < 0], boxes[partner < 0] = 0, 0
    since = np.full(len(partner), times[0])  # when the detector last placed each face
    for time_s, one in zip(times, frames, strict=False):
        if one.measured is not None:
            since[one.measured] = time_s
    for time_s, one in zip(times, frames, strict=False):
        share = np.clip((time_s - since) / np.maximum(times[-1] - since, 1e-9), 0, 1)
        share[partner < 0] = 0
        if share.any():
            assert one.frame.image_rgb is not None
            one.faces = _moved(one.faces, share, marks, boxes, one.frame.image_rgb.shape)


def _partners(expected: Located, found: Faces) -> npt.NDArray[np.intp]:
    """Which face found each expected one is, (n,); -1 if none is, or the network is unsure."""
    partner = np.full(len(expected.faces), -1, np.intp)
    if len(found) and len(partner):
        overlap = iou(expected.faces.boxes_px, found.boxes_px)
        best = overlap.argmax(axis=1)
        mutual = overlap.argmax(axis=0)[best] == np.arange(len(best))
        near = expected.sure & mutual & (overlap.max(axis=1) >= MATCH_IOU)
        partner[near] = best[near]
    return partner


def _difference(expected: Faces, found: Faces) -> tuple[Array, Array]:
    """From expected to found: landmarks (n, 5, 2) in pixels of the crop, boxes (n, 4) in sides."""
    maps = placement(expected.landmarks_px)
    marks = moved(found.landmarks_px, maps) - moved(expected.landmarks_px, maps)
    boxes = (found.boxes_px - expected.boxes_px) / _sides(expected.boxes_px.astype(np.float64))
    return marks, boxes.astype(np.float64)


def _moved(faces: Faces, share: Array, marks: Array, boxes: Array, shape: tuple[int, ...]) -> Faces:
    back = inverted(placement(faces.landmarks_px))[:, :, :2]
    landmarks = faces.landmarks_px + share[:, None, None] * (marks @ back.transpose(0, 2, 1))
    sides = _sides(faces.boxes_px.astype(np.float64))
    corners = (faces.boxes_px + share[:, None] * boxes * sides).reshape(-1, 2, 2)
    clipped = np.clip(corners, 0, shape[1::-1]).reshape(-1, 4)
    return Faces(
        clipped.astype(np.float32), faces.scores, landmarks.astype(np.float32), faces.followed
    )


def _sides(boxes: Array) -> Array:
    """Longer side of each box, (n, 1)."""
    sides: Array = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True), 1e-6)
    return sides
