"""Which pictures of a video repeat the one before, from the pixels.

Nothing in a container tells that a rate was raised by showing pictures twice, or that a camera
froze. Between two pictures of a living face, something always changes: in eleven clips, the mean
change of the grey values in the face's box was below 0.3 of that of a neighbouring pair for at
most 8 % of the frames. Where every picture was shown twice, it was so for 37 to 51 %, with x264 at
CRF 18 and 23 and in its fastest mode, and with MPEG-4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.frame_times import Bools, Floats, unbroken_runs
from jadfer_cli.analysis.qc.clip import Clip
from jadfer_cli.common import require_opencv
from jadfer_cli.errors import ResultError
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe

_SIDE_PX = 64  # the box is reduced to this, so that noise averages out
_RELATIVE = 0.3  # of the larger change beside it; below, a picture may repeat the one before
MIN_SHARE = 0.15  # of the pairs of frames that must be so, since a face that rests does it too
# A picture is frozen if its grey values change by less than the first, for at least the second.
_FROZEN, MIN_FROZEN_S = 0.05, 0.5


def repeated_pictures(clip: Clip) -> Bools:
    """Return whether each analysed frame shows the picture of the one before, bool (F,).

    Args:
        clip: The clip; its video is decoded.

    Raises:
        VideoError: The video cannot be read.
        ResultError: It is missing, or it is not the one that was annotated.
    """
    change = _changes(clip)
    found = np.zeros(len(change), bool)
    known = np.isfinite(change)
    beside = np.fmax(np.append(change[1:], np.nan), np.insert(change[:-1], 0, np.nan))
    alternating = known & (change < _RELATIVE * np.nan_to_num(beside))
    if known.any() and alternating.sum() > MIN_SHARE * known.sum():
        found |= alternating
    at = np.flatnonzero(known & (change < _FROZEN))
    for run in unbroken_runs(at):
        own = at[run]
        if clip.span_s[own].sum() >= MIN_FROZEN_S:
            found[own] = True
    return found


def _changes(clip: Clip) -> Floats:
    """Mean change of the face's grey values since the frame before, float64 (F,); NaN unknown."""
    import cv2

    require_opencv()
    recorded = clip.result.metadata["video"]
    video = Path(str(recorded["path"]))
    if not video.is_file():
        raise ResultError(f"{video} does not exist, so its pictures were not compared.")
    if recorded.get("bytes") not in (None, video.stat().st_size):
        raise ResultError(f"{video} is not the video of {clip.result.path}: its size differs.")
    info = rotated(probe(str(video)), clip.result.metadata["options"]["video"].get("rotate"))
    rows = clip.rows.drop_duplicates("frame")
    boxes = rows[list(BOX_COLUMNS)].to_numpy(np.float64)
    frames = rows["frame"].to_numpy(np.int64)
    if len(frames) and frames[-1] >= info.n_frames:
        raise ResultError(f"{video} has fewer frames than {clip.result.path}.")
    change = np.full(len(frames), np.nan)
    before: npt.NDArray[np.uint8] | None = None
    with VideoReader(info, frames) as reader:
        for i, frame in enumerate(reader):
            if frame.image_rgb is None:
                before = None
                continue
            grey: Any = cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2GRAY)
            if before is not None and np.isfinite(boxes[i]).all():
                x1, y1, x2, y2 = np.maximum(boxes[i], 0).round().astype(int)
                a, b = before[y1:y2, x1:x2], grey[y1:y2, x1:x2]
                if a.size and a.shape == b.shape:
                    change[i] = _mean_change(a, b)
            before = grey
    return change


def _mean_change(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    import cv2

    side = (_SIDE_PX, _SIDE_PX)
    small = [cv2.resize(each, side, interpolation=cv2.INTER_AREA).astype(np.float32)
             for each in (a, b)]  # fmt: skip
    return float(np.abs(small[1] - small[0]).mean())
