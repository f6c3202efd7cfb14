"""Detect faces at less cost: in the full frame at intervals, in between only near known faces.

Full-frame detection finds every face. In the frames that follow, a small network tells where each
face is now (`motion`). A face that it is not sure about, or every face without that network, is
detected in a square region around its last box, at a small fixed input size. If one is not found
again, the full frame is searched at once, so cuts and fast motion cost time but lose no faces.
With the network, a change of the whole picture is a cut. A face that is new in a full-frame
detection is also followed backwards, frame by frame, to where it came in. Frames are passed on only
after that.

A face that comes and goes between two full-frame detections is missed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jadfer_cli.faces.detector import MAX_BATCH, Detector
from jadfer_cli.faces.motion import MotionTracker
from jadfer_cli.geometry import iou
from jadfer_cli.records import BoolArray, Crops, Faces, FloatArray, Frame, ImageArray

REGION_MARGIN = 1.45  # side of the region around a face, in units of its longer side
MATCH_IOU = 0.3  # boxes of one face in neighbouring frames overlap at least this much
_TIME_SLACK_S = 1e-6
_MAX_PENDING_BYTES = 96 << 20  # images held back for following faces backwards
# With a network that follows faces, the other searches of the full frame are glances.
_INTERVALS_PER_SEARCH = 4
_THUMBNAIL_STEP = 16  # every 16th pixel of a row and column is compared between frames
_CUT = 40.0  # mean difference of grey values between frames from which there may be a cut


class Detections(NamedTuple):
    """One frame and its faces.

    Attributes:
        frame: The frame, with its image.
        faces: `faces.followed` marks those that were detected in a region.
        restartable: Detection from here on does not depend on earlier frames, so a run may
            resume here.
        crops: Crops of `faces` if the detector made them, else None.
    """

    frame: Frame
    faces: Faces
    restartable: bool
    crops: Crops | None = None


@dataclass
class _Pending:
    """A frame held back until new faces have been followed backwards through it."""

    frame: Frame
    faces: Faces
    full_frame: bool  # faces come from full-frame detection

    def detections(self) -> Detections:
        return Detections(self.frame, self.faces, self.full_frame)


def follow(
    frames: Iterable[Frame],
    detector: Detector,
    redetect_s: float,
    crop_px: int | None = None,
    motion: MotionTracker | None = None,
) -> Iterator[Detections]:
    """Detect the faces in consecutive frames.

    Args:
        frames: Frames in order; those without an image have no faces.
        detector: Searches full frames and regions.
        redetect_s: Length of the intervals in whose first frame the full frame is searched,
            counted from the video's first frame: a part of a video is searched in the same
            frames as the whole video, apart from the part's first frame. 0 searches every full
            frame. With `motion`, three of four searches are at half the resolution, and become
            complete ones if they show a new face.
        crop_px: Side of the crops that a detector with a device makes if it searches every full
            frame; None for no crops.
        motion: Follows faces between full-frame detections; None to detect them in regions.

    Yields:
        Every frame with its faces, in order; some frames are delayed.
    """
    if not redetect_s:
        yield from _detect_every_frame(frames, detector, crop_px)
        return
    pending: list[_Pending] = []  # since the last full-frame detection
    schedule = _Schedule(redetect_s, 1 if motion is None else _INTERVALS_PER_SEARCH)
    last = Faces.none()  # faces of the last frame with an image
    previous: ImageArray | None = None  # that image
    for frame in frames:
        if frame.image_rgb is None:
            pending.append(_Pending(frame, Faces.none(), full_frame=False))
            continue
        memory_full = len(pending) * frame.image_rgb.nbytes >= _MAX_PENDING_BYTES
        change = _change(previous, frame.image_rgb)
        cut = motion is not None and change > _CUT
        due = memory_full or schedule.search_due(frame.time_s) or cut
        faces = None if due else _find_again(frame.image_rgb, last, detector, motion, change)
        if faces is not None and motion is not None and schedule.glance_due(frame.time_s):
            faces = _confirmed(frame.image_rgb, faces, detector, motion)
        full_frame = faces is None
        previous = frame.image_rgb
        if faces is None:
            faces = detector.detect(frame.image_rgb)
            if motion is not None:
                motion.start(frame.image_rgb, faces)
            schedule.searched(frame.time_s)
            _follow_backwards(pending, _unmatched(faces, last), detector)
            yield from (one.detections() for one in pending)
            pending.clear()
        last = faces
        pending.append(_Pending(frame, faces, full_frame))
    _search_last_frame(pending, detector)
    yield from (one.detections() for one in pending)


class _Schedule:
    """When the full frame is searched, by intervals that are counted from the video's start.

    Args:
        interval_s: Length of an interval.
        per_search: Intervals per complete search; in the others the frame is glanced at.
    """

    def __init__(self, interval_s: float, per_search: int) -> None:
        self._interval_s, self._per_search = interval_s, per_search
        self._last = -per_search  # interval of the last search or glance

    def _interval(self, time_s: float) -> int:
        return int((time_s + _TIME_SLACK_S) / self._interval_s)

    def search_due(self, time_s: float) -> bool:
        """Whether the first frame of such an interval is a frame at this time."""
        return self._interval(time_s) // self._per_search != self._last // self._per_search

    def glance_due(self, time_s: float) -> bool:
        """Whether a new interval has begun; it is glanced at now."""
        interval, last = self._interval(time_s), self._last
        self._last = interval
        return interval != last

    def searched(self, time_s: float) -> None:
        """The full frame was searched, for whatever reason."""
        self._last = self._interval(time_s)


def _search_last_frame(pending: list[_Pending], detector: Detector) -> None:
    """Search the full last frame for faces that came in since the last full-frame detection."""
    with_image = [one for one in pending if one.frame.image_rgb is not None]
    if not with_image or with_image[-1].full_frame:
        return
    end = with_image.pop()
    if end.frame.image_rgb is not None:
        new = _unmatched(detector.detect(end.frame.image_rgb), end.faces)
        end.faces = Faces.join([end.faces, new])
        _follow_backwards(with_image, new, detector)


def _detect_every_frame(
    frames: Iterable[Frame], detector: Detector, crop_px: int | None
) -> Iterator[Detections]:
    """Search every full frame, in batches if the detector prefers them."""
    max_batch = MAX_BATCH if detector.prefers_batches else 1
    batch: list[Frame] = []
    n_bytes = 0
    for frame in frames:
        batch.append(frame)
        n_bytes += 0 if frame.image_rgb is None else frame.image_rgb.nbytes
        if len(batch) >= max_batch or n_bytes >= _MAX_PENDING_BYTES:
            yield from _detect_batch(batch, detector, crop_px)
            batch, n_bytes = [], 0
    yield from _detect_batch(batch, detector, crop_px)


def _detect_batch(
    batch: list[Frame], detector: Detector, crop_px: int | None
) -> Iterator[Detections]:
    """Search the full frames of one batch."""
    images = [frame.image_rgb for frame in batch if frame.image_rgb is not None]
    found: Iterator[tuple[Faces, Crops | None]] = iter(())
    if images and crop_px is None:
        found = ((faces, None) for faces in detector.detect_all(images))
    elif images:
        found = iter(detector.detect_and_crop(images, crop_px))
    for i, frame in enumerate(batch):
        faces, crops = (Faces.none(), None) if frame.image_rgb is None else next(found)
        # A run that resumes at a batch's first frame forms the same batches from there on.
        yield Detections(frame, faces, restartable=i == 0, crops=crops)


def _change(previous: ImageArray | None, image_rgb: ImageArray) -> float:
    """Mean difference of grey values between two frames; 0 only if the frames are equal."""
    if previous is None or previous.shape != image_rgb.shape:
        return np.inf
    coarse = (slice(None, None, _THUMBNAIL_STEP), slice(None, None, _THUMBNAIL_STEP), 1)
    change = np.abs(previous[coarse].astype(np.int16) - image_rgb[coarse]).mean()
    if change == 0 and not np.array_equal(previous, image_rgb):
        return np.finfo(float).tiny
    return float(change)


def _find_again(
    image_rgb: ImageArray,
    known: Faces,
    detector: Detector,
    motion: MotionTracker | None,
    change: float,
) -> Faces | None:
    """Find all known faces in the next frame; None if the full frame has to be searched."""
    if not len(known):
        return known
    if change == 0:  # the same picture again
        return dataclasses.replace(known, followed=np.ones(len(known), np.bool_))
    if motion is None:
        faces = _detect_again(image_rgb, known, detector)
    else:
        faces = _follow_again(image_rgb, detector, motion)
    if faces is None:
        return None
    overlap = iou(faces.boxes_px, faces.boxes_px)
    if (overlap - np.eye(len(faces)) > MATCH_IOU).any():  # two regions matched the same face
        return None
    return faces


def _follow_again(image_rgb: ImageArray, detector: Detector, motion: MotionTracker) -> Faces | None:
    """Follow all faces by the network, and detect again those that it is not sure about."""
    faces, sure = motion.next(image_rgb)
    return _redetected(image_rgb, faces, ~sure, detector, motion)


def _redetected(
    image_rgb: ImageArray,
    faces: Faces,
    which: BoolArray,
    detector: Detector,
    motion: MotionTracker,
) -> Faces | None:
    """Detect some of the followed faces in regions; None if one is not found there."""
    if not which.any():
        return faces
    detected = _detect_again(image_rgb, faces.take(which), detector)
    if detected is None:
        return None
    motion.correct(image_rgb, which, detected)
    order = np.argsort(np.concatenate([np.flatnonzero(~which), np.flatnonzero(which)]))
    return Faces.join([faces.take(~which), detected]).take(order)


def _detect_again(image_rgb: ImageArray, known: Faces, detector: Detector) -> Faces | None:
    """Detect all known faces in regions; None if one is not found, or regions cost too much."""
    candidates = detector.detect_near(image_rgb, known.boxes_px, REGION_MARGIN)
    if candidates is None:
        return None
    matches = []
    for box, in_region in zip(known.boxes_px, candidates, strict=True):
        match = _best_match(box, in_region)
        if match is None:
            return None
        matches.append(match)
    return Faces.join(matches)


def _confirmed(
    image_rgb: ImageArray, faces: Faces, detector: Detector, motion: MotionTracker
) -> Faces | None:
    """Glance at the full frame, and detect faces that the glance does not show in their regions.

    Returns:
        The faces; None if there is a new face, or one is no longer found.
    """
    seen = detector.glance(image_rgb)
    if seen is None or len(_unmatched(seen, faces)):
        return None
    hidden = iou(faces.boxes_px, seen.boxes_px).max(axis=1, initial=0) < MATCH_IOU
    return _redetected(image_rgb, faces, hidden, detector, motion)


def _best_match(box: FloatArray, candidates: Faces) -> Faces | None:
    """The candidate that overlaps a box (4,) most, as Faces of length 1; None if none does."""
    if not len(candidates):
        return None
    overlap = iou(box[None], candidates.boxes_px)[0]
    best = int(overlap.argmax())
    return candidates.take(np.array([best])) if overlap[best] >= MATCH_IOU else None


def _unmatched(found: Faces, known: Faces) -> Faces:
    """The faces in `found` that overlap no known face."""
    if not len(known):
        return found
    return found.take(iou(found.boxes_px, known.boxes_px).max(axis=1, initial=0) < MATCH_IOU)


def _follow_backwards(pending: list[_Pending], new: Faces, detector: Detector) -> None:
    """Follow new faces backwards, and add them to the frames in which they are found."""
    for one in reversed(pending):
        image_rgb = one.frame.image_rgb
        if not len(new) or one.full_frame:
            return
        if image_rgb is None:
            continue
        candidates = detector.detect_near(image_rgb, new.boxes_px, REGION_MARGIN) or []
        pairs = zip(new.boxes_px, candidates, strict=bool(candidates))
        found = [match for box, faces in pairs if (match := _best_match(box, faces))]
        if len(found) < len(new):  # a face moved far, or came in here
            found = [detector.detect(image_rgb)]
        new = _without_overlaps(_unmatched(Faces.join(found), one.faces))
        one.faces = Faces.join([one.faces, new])


def _without_overlaps(faces: Faces) -> Faces:
    """Drop every face that overlaps an earlier one."""
    overlap = np.triu(iou(faces.boxes_px, faces.boxes_px), 1)
    return faces.take(overlap.max(axis=0, initial=0) < MATCH_IOU)
