"""Detect faces at less cost: in the full frame at intervals, in between only near known faces.

Full-frame detection finds every face. In the frames between two of them, the detector looks in a
square region around where a face is expected, at a small fixed input size, and as rarely as that
is enough (`between`); or a small network tells where each face is (`motion`), and the detector
looks where that is unsure. A face that is not found again is searched for in the full frame, so
cuts and fast motion cost time but lose no faces. With the network, a change of the whole picture
is a cut. A face that is new in a full-frame detection is also followed backwards, frame by frame,
to where it came in. Frames are passed on only after that.

A face that comes and goes between two full-frame detections is missed, and a small one between
two at full resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jadfer_cli.faces.between import fill
from jadfer_cli.faces.detector import MAX_BATCH, Detector
from jadfer_cli.faces.drift import settle
from jadfer_cli.faces.motion import Located, MotionTracker
from jadfer_cli.faces.regions import (
    MATCH_IOU,
    Pending,
    again,
    detect_again,
    two_of_one,
    unmatched,
)
from jadfer_cli.geometry import iou
from jadfer_cli.records import BoolArray, Crops, Faces, Frame, ImageArray

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
        faces: `faces.followed` marks those detected in a region, or placed without a look.
        restartable: Detection from here on does not depend on earlier frames, so a run may
            resume here.
        crops: Crops of `faces` if the detector made them, else None.
    """

    frame: Frame
    faces: Faces
    restartable: bool
    crops: Crops | None = None


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
            frames as the whole video, apart from the part's first and last frame. 0 searches
            every full frame. With `motion`, three of four searches are at half the resolution, and
            become complete ones if they show a new face.
        crop_px: Side of the crops that a detector with a device makes if it searches every full
            frame; None for no crops.
        motion: Follows faces between full-frame detections; None to detect them in regions.

    Yields:
        Every frame with its faces, in order; some frames are delayed.
    """
    if not redetect_s:
        yield from _detect_every_frame(frames, detector, crop_px)
    elif motion is None:
        yield from _search_between(frames, detector, redetect_s)
    else:
        yield from _follow_by_network(frames, detector, redetect_s, motion)


def _search_between(
    frames: Iterable[Frame], detector: Detector, redetect_s: float
) -> Iterator[Detections]:
    """Search the full frame at intervals, and then near its faces in the frames between."""
    stretch: list[Pending] = []  # since the last search of the full frame, with that frame
    schedule = _Schedule(redetect_s, 1)
    previous: ImageArray | None = None
    for frame in frames:
        one = Pending(frame, Faces.none(), full_frame=False)
        if frame.image_rgb is not None:
            memory_full = len(stretch) * frame.image_rgb.nbytes >= _MAX_PENDING_BYTES
            one.same = _change(previous, frame.image_rgb) == 0
            previous = frame.image_rgb
            if memory_full or schedule.search_due(frame.time_s):
                schedule.searched(frame.time_s)
                yield from _searched(stretch, one, detector)
                stretch = []
        stretch.append(one)
    yield from _rest(stretch, lambda before, end: _searched(before, end, detector))


def _searched(stretch: list[Pending], end: Pending, detector: Detector) -> Iterator[Detections]:
    """Search a full frame, and then between it and the one before; yield the frames before it."""
    _search(end, detector)
    fill(stretch, end, detector)
    yield from (_detections(one) for one in stretch)


def _search(end: Pending, detector: Detector) -> None:
    assert end.frame.image_rgb is not None
    end.faces = detector.detect(end.frame.image_rgb)
    end.full_frame = end.restartable = True


def _rest(
    stretch: list[Pending], searched: Callable[[list[Pending], Pending], Iterator[Detections]]
) -> Iterator[Detections]:
    """The frames since the last search at the end of the video, whose last picture is searched."""
    after = []  # frames without an image at the end
    while stretch and stretch[-1].frame.image_rgb is None:
        after.append(stretch.pop())
    if stretch and not stretch[-1].full_frame:
        end = stretch.pop()
        yield from searched(stretch, end)
        stretch = [end]
    yield from (_detections(one) for one in (*stretch, *reversed(after)))


def _detections(one: Pending) -> Detections:
    return Detections(one.frame, one.faces, one.restartable)


def _follow_by_network(
    frames: Iterable[Frame], detector: Detector, redetect_s: float, motion: MotionTracker
) -> Iterator[Detections]:
    """Follow faces by the network, and by the detector where it is not sure."""
    pending: list[Pending] = []  # since the last full-frame detection
    schedule = _Schedule(redetect_s, _INTERVALS_PER_SEARCH)
    last = Faces.none()  # faces of the last frame with an image
    previous: ImageArray | None = None  # that image
    for frame in frames:
        if frame.image_rgb is None:
            pending.append(Pending(frame, Faces.none(), full_frame=False))
            continue
        memory_full = len(pending) * frame.image_rgb.nbytes >= _MAX_PENDING_BYTES
        change = _change(previous, frame.image_rgb)
        previous = frame.image_rgb
        one = Pending(frame, last, full_frame=False, same=change == 0)
        expected = _expected(frame.image_rgb, last, motion, change)
        due = memory_full or schedule.search_due(frame.time_s)
        faces = None if due else _as_expected(frame.image_rgb, expected, detector, motion)
        if faces is not None and schedule.glance_due(frame.time_s):
            confirmed = _confirmed(frame.image_rgb, faces, detector, motion)
            if confirmed is not None and confirmed is not faces:
                one.same = False  # although the picture may be: its faces are better known
            faces = confirmed
        if faces is None:
            schedule.searched(frame.time_s)
            yield from _settled(pending, one, expected, detector)
            motion.start(frame.image_rgb, one.faces)
            pending = []
        else:
            one.faces, one.measured = faces, motion.measured
        last = one.faces
        pending.append(one)

    def last_search(before: list[Pending], end: Pending) -> Iterator[Detections]:
        assert end.measured is not None  # the network followed its faces
        return _settled(before, end, Located(end.faces, ~end.measured), detector)

    yield from _rest(pending, last_search)


def _settled(
    pending: list[Pending], end: Pending, expected: Located | None, detector: Detector
) -> Iterator[Detections]:
    """Search a full frame, correct the frames before it by it, and yield those."""
    _search(end, detector)
    settle(pending, expected, end, detector)
    yield from (_detections(one) for one in pending)


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


def _expected(
    image_rgb: ImageArray, known: Faces, motion: MotionTracker, change: float
) -> Located | None:
    """Where the network sees the faces of the frame before; None after what may be a cut."""
    if change > _CUT:
        return None
    if change == 0 or not len(known):  # the same picture again
        return Located(again(known), np.ones(len(known), np.bool_))
    return motion.next(image_rgb)


def _as_expected(
    image_rgb: ImageArray, expected: Located | None, detector: Detector, motion: MotionTracker
) -> Faces | None:
    """The expected faces; those that the network is unsure of are detected again.

    Returns:
        The faces; None if the full frame has to be searched.
    """
    if expected is None:
        return None
    faces = _redetected(image_rgb, expected.faces, ~expected.sure, detector, motion)
    return None if faces is None or two_of_one(faces) else faces


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
    detected = detect_again(image_rgb, faces.take(which), detector)
    if detected is None:
        return None
    motion.correct(image_rgb, which, detected)
    order = np.argsort(np.concatenate([np.flatnonzero(~which), np.flatnonzero(which)]))
    return Faces.join([faces.take(~which), detected]).take(order)


def _confirmed(
    image_rgb: ImageArray, faces: Faces, detector: Detector, motion: MotionTracker
) -> Faces | None:
    """Glance at the full frame, and detect faces that the glance does not show in their regions.

    Returns:
        The faces; None if there is a new face, or one is no longer found.
    """
    seen = detector.glance(image_rgb)
    if seen is None or len(unmatched(seen, faces)):
        return None
    hidden = iou(faces.boxes_px, seen.boxes_px).max(axis=1, initial=0) < MATCH_IOU
    return _redetected(image_rgb, faces, hidden, detector, motion)
