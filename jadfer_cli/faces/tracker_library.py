"""ByteTrack and OC-SORT of the package `trackers`, configured to consider every face.

Only `track.py` uses this module; it checks and completes the IDs that are proposed here.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.common import ignored_warnings, owns_process

if TYPE_CHECKING:
    from jadfer_cli.records import Faces, IntArray


def import_library() -> tuple[Any, Any]:
    """Import the packages `supervision` and `trackers`, and return them."""
    # Importing it raises warnings about its dependencies. jadfer's own processes ignore all
    # warnings already.
    with contextlib.nullcontext() if owns_process() else ignored_warnings():
        import supervision
        import trackers
    return supervision, trackers


class LibraryTracker:
    """A tracker of the package `trackers`, for one video."""

    def __init__(self, name: str, fps: float, keep_s: float) -> None:
        """Start a video.

        Args:
            name: "bytetrack" or "ocsort".
            fps: Approximate number of frames per second.
            keep_s: How long a lost track is kept.
        """
        supervision, trackers = import_library()
        self._detections = supervision.Detections
        self._clock_s = -math.inf
        self._first_id = 0  # added to its IDs, which start at 0 again after a reset
        self._n_ids = 0  # since the last reset
        common: dict[str, Any] = {
            "lost_track_buffer": math.ceil(keep_s * 30),  # in frames at 30 per second
            "frame_rate": fps,
            "minimum_consecutive_frames": 1,
            # The detector has applied its threshold already. ByteTrack's own (0.6 and 0.7)
            # would leave weaker faces without a track.
            "high_conf_det_threshold": 0.0,
            "minimum_iou_threshold": 0.1,
        }
        self._tracker: Any = (
            trackers.OCSORTTracker(**common)
            if name == "ocsort"
            else trackers.ByteTrackTracker(track_activation_threshold=0.0, **common)
        )

    def propose(self, faces: Faces, time_s: float) -> IntArray:
        """The library's ID of each face, int32 (n,); -1 if it assigns none."""
        n = len(faces)
        proposed = np.full(n, -1, np.int32)
        boxes = faces.boxes_px.copy()
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)  # the library divides by them
        detections = self._detections(
            xyxy=boxes, confidence=faces.scores, data={"index": np.arange(n)}
        )
        # The library warns if the time does not advance, so replace equal times by a tiny step.
        self._clock_s = max(time_s, self._clock_s + 1e-4)
        try:
            with np.errstate(all="ignore"):
                answer = self._tracker.update(detections, timestamp=self._clock_s)
        except (ValueError, np.linalg.LinAlgError):
            # Its filter can overflow on extreme boxes; IDs continue from the stored positions.
            self._tracker.reset()
            self._first_id += self._n_ids
            self._n_ids = 0
            return proposed
        if len(answer):
            library_ids = np.asarray(answer.tracker_id)
            self._n_ids = max(self._n_ids, int(library_ids.max()) + 1)
            index = np.asarray(answer.data["index"], np.intp)
            proposed[index] = np.where(library_ids >= 0, library_ids + self._first_id, -1)
        return proposed
