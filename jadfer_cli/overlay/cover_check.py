"""Checks a blurred video: decodes it again and looks for faces that are still recognisable.

The check relies neither on the drawing nor on the result alone. Three things are looked at, the
first two in every frame, and each can refuse the video:

1. Pixels: in the box of each row, the fine detail of the source must be gone.
2. Faces in the source, found by CenterFace: each must lie in the blurred regions.
3. Faces in the blurred video, found by CenterFace: each must lie in them, too. Outside of them it
   shows what the source shows, so this is searched for only as often as the source in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OutputError
from jadfer_cli.faces.detect import CENTERFACE, load_detector
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions
from jadfer_cli.overlay.regions import Regions
from jadfer_cli.records import OK, Frame, ImageArray, VideoInfo
from jadfer_cli.runtime import usable_cores
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# At least this share of a face's box must lie in blurred regions; the rest is hair or background.
MIN_COVERED = 0.75
# At most this share of the source's fine detail may be left; see `detail_left`.
MAX_DETAIL_LEFT = 0.35
# A face found with less confidence counts only if it is found again nearby, as for the tracker of
# `jadfer annotate`: folds of cloth are taken for a face in single frames.
_SURE_SCORE, _AGAIN_WITHIN_S, _AGAIN_IOU = 0.7, 0.35, 0.3
# The check ends after so many frames with a visible face, because the video is refused anyway.
MAX_FRAMES = 25
# Faces are searched for at the full size of `jadfer annotate` this often, which also finds small
# ones, and at a smaller size in the frames in between.
_FULL_SEARCH_EVERY_S, _SMALL_SIZE = 0.3, 416
_SIDE, _DETAIL_SIGMA = 32, 2.0  # a box is compared at 32x32; detail is what a Gaussian removes
_MIN_DETAIL = 2.0  # 8-bit steps; a box with less is plain in the source
_MAX_FROM_GREY = 16.0  # mean difference in 8-bit steps of a frame that should be plain grey


@dataclass(frozen=True)
class Uncovered:
    """A place where a face is still recognisable.

    Attributes:
        frame: Index of the frame.
        box_px: float64 (4,), x1 y1 x2 y2.
    """

    frame: int
    box_px: Floats


@dataclass(frozen=True)
class Cover:
    """What has been hidden in each frame.

    Attributes:
        blurred: The regions that were blurred.
        boxes: The boxes of the result's rows, in the frames that they stand for.
        outside: bool (N,), frames that were made plain grey as a whole.
    """

    blurred: Regions
    boxes: Regions
    outside: Bools


def find_uncovered(
    written: Path,
    info: VideoInfo,
    cover: Cover,
    progress: Callable[[Iterable[Frame], int], Iterable[Frame]] = lambda frames, total: frames,
) -> list[Uncovered]:
    """Decode a blurred video beside its source and return what is still recognisable.

    At most `MAX_FRAMES` frames are returned; the frames after them are not checked.

    Args:
        written: The blurred video.
        info: The source.
        cover: What has been hidden.
        progress: Wraps the frames of the source; also gets their number.

    Raises:
        OutputError: The blurred video cannot be read back, or has other frames.
    """
    written_info = probe(str(written))
    if written_info.n_frames != info.n_frames:
        raise OutputError(
            f"{written} has {written_info.n_frames} frames instead of {info.n_frames}.",
            "This is a bug in jadfer; please report it with the video.",
        )
    check = _FrameCheck(cover)
    found: list[Uncovered] = []
    every = np.arange(info.n_frames, dtype=np.int64)
    shown, at = np.zeros((info.height_px, info.width_px, 3), np.uint8), -1
    with VideoReader(info, every) as source, VideoReader(written_info, every) as output:
        for frame, new in zip(progress(source, info.n_frames), output, strict=True):
            raise_if_stopped()
            if frame.image_rgb is not None and frame.status == OK:
                shown, at = frame.image_rgb, frame.index  # else the previous picture is shown
            if new.image_rgb is None:
                raise OutputError(f"{written} has a frame that cannot be decoded.", "Try again.")
            image = new.image_rgb[: info.height_px, : info.width_px]
            boxes = check.uncovered_boxes(at, frame.time_s, shown, image)
            found += [Uncovered(frame.index, box) for box in boxes]
            if len({face.frame for face in found}) == MAX_FRAMES:
                break
    return found


class _FrameCheck:
    """Compares the frames of a blurred video, in order, with those of its source."""

    def __init__(self, cover: Cover) -> None:
        full = FaceOptions(detector=CENTERFACE.name)
        small = replace(full, detection_size=_SMALL_SIZE)
        threads = usable_cores()
        self._cover = cover
        self._full, self._small = load_detector(full, threads), load_detector(small, threads)
        self._next_full_s = -np.inf
        self._unsure: list[tuple[float, Floats]] = []  # time and box

    def uncovered_boxes(
        self, index: int, time_s: float, source: ImageArray, written: ImageArray
    ) -> list[Floats]:
        """Return the boxes, float64 (4,), in which a face is still recognisable.

        Args:
            index: The frame of the source that is shown; -1 before the first.
            time_s: The time of the frame that shows it.
            source: Its picture, uint8 (height, width, 3).
            written: The blurred picture.
        """
        height, width = source.shape[:2]
        if index < 0 or self._cover.outside[index]:
            plain = 0 if index < 0 else 128
            from_plain = np.abs(written.astype(np.int16) - plain).mean()
            whole = np.array([0.0, 0.0, width, height])
            return [whole] if from_plain > _MAX_FROM_GREY else []
        boxes = self._cover.boxes.box_px[self._cover.boxes.in_frame(index)]
        found = [box for box in boxes if detail_left(source, written, box) > MAX_DETAIL_LEFT]
        regions = self._cover.blurred.box_px[self._cover.blurred.in_frame(index)]
        detector, pictures = self._small, [source]
        if time_s >= self._next_full_s:
            self._next_full_s = time_s + _FULL_SEARCH_EVERY_S
            detector, pictures = self._full, [source, written]
        unsure: list[Floats] = []
        for faces in detector.detect_all(pictures):
            for box, score in zip(faces.boxes_px.astype(np.float64), faces.scores, strict=True):
                if covered_share(box, regions, (width, height)) < MIN_COVERED:
                    (found if score >= _SURE_SCORE else unsure).append(box)
        return found + self._found_again(unsure, time_s)

    def _found_again(self, boxes: list[Floats], time_s: float) -> list[Floats]:
        """Return those of this frame's doubtful faces that an earlier frame showed, too."""
        earlier = [old for t, old in self._unsure if t >= time_s - _AGAIN_WITHIN_S]
        again = [
            box
            for box in boxes
            if earlier and iou(box[None], np.array(earlier)).max() >= _AGAIN_IOU
        ]
        kept = [(t, old) for t, old in self._unsure if t >= time_s - _AGAIN_WITHIN_S]
        self._unsure = kept + [(time_s, box) for box in boxes]
        return again


def covered_share(box_px: Floats, regions_px: Floats, size_px: tuple[int, int]) -> float:
    """Return which share of a box, as far as it lies in the picture, is in any of the regions.

    Args:
        box_px: float64 (4,), x1 y1 x2 y2.
        regions_px: float64 (n, 4).
        size_px: Width and height of the picture.
    """
    limit = np.array([*size_px, *size_px])
    x1, y1, x2, y2 = np.clip(np.round(box_px), 0, limit).astype(int)
    if x2 <= x1 or y2 <= y1:
        return 1.0
    hidden = np.zeros((y2 - y1, x2 - x1), np.bool_)
    for a, b, c, d in np.clip(np.round(regions_px), 0, limit).astype(int):
        hidden[max(b - y1, 0) : max(d - y1, 0), max(a - x1, 0) : max(c - x1, 0)] = True
    return float(hidden.mean())


def detail_left(source: ImageArray, written: ImageArray, box_px: Floats) -> float:
    """Return which share of the fine detail in a box of the source is left in the written video.

    Both boxes are scaled to 32x32 grey pixels, and what a Gaussian blur leaves is subtracted. The
    share is the slope of the written detail on the source's: 1 for an unchanged picture, and 0
    for a blurred one, whatever else is drawn on it.

    Args:
        source: uint8 RGB (height, width, 3).
        written: The same frame of the written video.
        box_px: float64 (4,), x1 y1 x2 y2.
    """
    height, width = source.shape[:2]
    x1, y1 = (max(int(np.floor(v)), 0) for v in box_px[:2])
    x2, y2 = min(int(np.ceil(box_px[2])), width), min(int(np.ceil(box_px[3])), height)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return 0.0
    before, after = (_detail(image[y1:y2, x1:x2]) for image in (source, written))
    if before.std() < _MIN_DETAIL:
        return 0.0
    return float((before * after).sum() / (before * before).sum())


def _detail(image_rgb: ImageArray) -> npt.NDArray[np.float32]:
    """Return the fine detail of a picture, float32 (32, 32)."""
    grey = cv2.cvtColor(np.ascontiguousarray(image_rgb), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail: npt.NDArray[np.float32] = small - cv2.GaussianBlur(small, (0, 0), _DETAIL_SIGMA)
    return detail
