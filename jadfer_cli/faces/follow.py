"""Find faces at less cost: look at the whole frame now and then, in between only near faces.

A look at the whole frame finds every face. In the frames that follow, each face is looked for
in a square around where it was, shown to the detector at a small fixed size. Where one is not
found again, the whole frame is looked at at once: so cuts and fast moves cost time, not faces.
A face that is new at a look at the whole frame is also looked for backwards, frame by frame,
to where it came in, in the same way; frames are handed on only after that.

Missed are faces that come and go between two looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jadfer_cli.faces.detect import FRAMES_AT_ONCE, Detector
from jadfer_cli.records import Crops, Faces, FloatArray, Frame, ImageArray

REGION = 1.45  # side of the square around a face, in its longer sides
SAME_IOU = 0.3  # a face found in the region is the same if its box overlaps the old one so much
_TIME_SLACK_S = 1e-6
_WAITING_BYTES = 96 << 20  # pictures kept until faces were followed back through them


class Detections(NamedTuple):
    """One frame and its faces.

    Attributes:
        frame: With its picture.
        faces: `faces.followed` says which were found in a region.
        fresh: Nothing before this frame has a part in what is found from it on: whoever begins
            here finds the same as who began earlier.
        crops: Of `faces`, where the detector made them; else None.
    """

    frame: Frame
    faces: Faces
    fresh: bool
    crops: Crops | None = None


@dataclass
class _Seen:
    frame: Frame
    faces: Faces
    whole: bool  # the whole frame was looked at

    def found(self) -> Detections:
        return Detections(self.frame, self.faces, self.whole)


def follow(
    frames: Iterable[Frame], detector: Detector, redetect_s: float, crop_px: int | None = None
) -> Iterator[Detections]:
    """The faces of consecutive frames.

    Args:
        frames: In order; those without a picture have no faces.
        detector: Looks at whole frames and at regions.
        redetect_s: The whole frame is looked at in the first frame of every interval of so
            many seconds, counted from the video's first frame, so that a part of a video is
            looked at in the same frames as the whole, but for its first; 0 looks at every frame.
        crop_px: Side of the crops that a detector with a device makes where it looks at every
            frame; None for none.

    Yields:
        Every frame with its faces, in order, some frames late.
    """
    if not redetect_s:
        yield from _every_frame(frames, detector, crop_px)
        return
    waiting: list[_Seen] = []  # from the last look at the whole frame on
    looked = -1  # the interval of the video's time in which the whole frame was last looked at
    last = Faces.none()  # of the last frame with a picture
    for frame in frames:
        if frame.image_rgb is None:
            waiting.append(_Seen(frame, Faces.none(), whole=False))
            continue
        full = len(waiting) * frame.image_rgb.nbytes >= _WAITING_BYTES
        now = int((frame.time_s + _TIME_SLACK_S) / redetect_s)
        due = full or now != looked
        found = None if due else _again(frame.image_rgb, last, detector)
        whole = found is None
        if found is None:
            found = detector.detect(frame.image_rgb)
            looked = now
            _look_back(waiting, _strangers(found, last), detector)
            yield from (seen.found() for seen in waiting)
            waiting.clear()
        last = found
        waiting.append(_Seen(frame, found, whole))
    _look_at_the_last(waiting, detector)
    yield from (seen.found() for seen in waiting)


def _look_at_the_last(waiting: list[_Seen], detector: Detector) -> None:
    """A look at the whole last frame, for what came in since the last look."""
    seen = [one for one in waiting if one.frame.image_rgb is not None]
    if not seen or seen[-1].whole:
        return
    end = seen.pop()
    if end.frame.image_rgb is not None:
        new = _strangers(detector.detect(end.frame.image_rgb), end.faces)
        end.faces = Faces.join([end.faces, new])
        _look_back(seen, new, detector)


def _every_frame(
    frames: Iterable[Frame], detector: Detector, crop_px: int | None
) -> Iterator[Detections]:
    """A look at every whole frame, at several at once where that is faster."""
    batch: list[Frame] = []
    n_bytes = 0

    def looked() -> Iterator[Detections]:
        pictures = [frame.image_rgb for frame in batch if frame.image_rgb is not None]
        found: Iterator[tuple[Faces, Crops | None]] = iter(())
        if pictures and crop_px is None:
            found = ((faces, None) for faces in detector.detect_all(pictures))
        elif pictures:
            found = iter(detector.detect_and_crop(pictures, crop_px))
        for i, frame in enumerate(batch):
            faces, crops = (Faces.none(), None) if frame.image_rgb is None else next(found)
            # whoever begins here has the same batches
            yield Detections(frame, faces, fresh=i == 0, crops=crops)
        batch.clear()

    for frame in frames:
        batch.append(frame)
        n_bytes += 0 if frame.image_rgb is None else frame.image_rgb.nbytes
        if len(batch) >= (FRAMES_AT_ONCE if detector.batches else 1) or n_bytes >= _WAITING_BYTES:
            yield from looked()
            n_bytes = 0
    yield from looked()


def _again(image_rgb: ImageArray, known: Faces, detector: Detector) -> Faces | None:
    """All known faces in the next frame; None where the whole frame must be looked at."""
    if not len(known):
        return known
    found = detector.detect_near(image_rgb, known.boxes_px, REGION)
    if found is None:
        return None
    kept = []
    for box, candidates in zip(known.boxes_px, found, strict=True):
        same = _same(box, candidates)
        if same is None:
            return None
        kept.append(same)
    faces = Faces.join(kept)
    overlap = iou(faces.boxes_px, faces.boxes_px)
    if (overlap - np.eye(len(faces)) > SAME_IOU).any():  # two regions show the same face
        return None
    return faces


def _same(box: FloatArray, candidates: Faces) -> Faces | None:
    """The candidate that continues a box (4,)."""
    if not len(candidates):
        return None
    overlap = iou(box[None], candidates.boxes_px)[0]
    best = int(overlap.argmax())
    return candidates.take(np.array([best])) if overlap[best] >= SAME_IOU else None


def _strangers(found: Faces, known: Faces) -> Faces:
    """The faces of a frame that continue none of the frame before."""
    if not len(known):
        return found
    return found.take(iou(found.boxes_px, known.boxes_px).max(axis=1, initial=0) < SAME_IOU)


def _look_back(waiting: list[_Seen], faces: Faces, detector: Detector) -> None:
    """Follows new faces backwards and adds them to the frames where they are found."""
    for seen in reversed(waiting):
        image_rgb = seen.frame.image_rgb
        if not len(faces) or seen.whole:
            return
        if image_rgb is None:
            continue
        near = detector.detect_near(image_rgb, faces.boxes_px, REGION)
        pairs = zip(faces.boxes_px, near or [], strict=near is not None)
        found = [same for box, candidates in pairs if (same := _same(box, candidates))]
        if len(found) < len(faces):  # one moved far, or came in here
            found = [detector.detect(image_rgb)]
        faces = _distinct(_strangers(Faces.join(found), seen.faces))
        seen.faces = Faces.join([seen.faces, faces])


def _distinct(faces: Faces) -> Faces:
    """The faces without those that overlap an earlier one."""
    overlap = np.triu(iou(faces.boxes_px, faces.boxes_px), 1)
    return faces.take(overlap.max(axis=0, initial=0) < SAME_IOU)


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of boxes (n, 4) and (m, 4); float32 (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    result: FloatArray = (shared / np.maximum(union, 1e-6)).astype(np.float32)
    return result
