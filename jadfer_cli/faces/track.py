"""Follow faces from frame to frame: every face gets an id at once, and keeps it.

The library `trackers` (ByteTrack or OC-SORT) predicts motion and proposes which detection
continues which of its tracks. Its answers do not fit rows about people: a track's first
frame has no id, a lost track drifts on with its last velocity, ids never come back. So its
proposals are checked against where each face was really seen, in three steps a frame:

1. A proposal holds if the face lies within reach of where its track was last seen.
2. Faces left over go to the nearest tracks left over, within one face size: so ids return.
3. What remains is new.
"""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import ignored_warnings, owns_process

if TYPE_CHECKING:
    from jadfer_cli.options import FaceOptions
    from jadfer_cli.records import Faces, FloatArray, IntArray

Points = npt.NDArray[np.float64]  # positions keep double precision between frames

# Distances are between centres, in units of the face's size (root of the box's area).
NEAR = 1.0  # a face that returns this close to where it left is the same
REACH = 3.0  # with the library's prediction of motion, this close
APART = 0.5  # a proposal further than this must not pass over a track that is much closer
SAME_STEP = 0.25  # faces whose steps differ by less than this move with the camera
SIZE_RATIO = 2.0  # neither may be larger than the other by more than this, in px of side
_TIME_SLACK_S = 1e-6  # float time stamps: exactly one second is not beyond one second


@dataclass
class _Track:
    """Where a face was last seen.

    Attributes:
        box_px: float64 (4,), as detected; while it is lost, moved along with the camera.
        time_s: When.
        moved_px: float64 (2,), how far the others went since, camera or not.
    """

    box_px: Points
    time_s: float
    moved_px: Points


class FaceTracker:
    """Ids for the faces of one video, frame by frame, without looking ahead."""

    def __init__(self, options: FaceOptions, nominal_fps: float) -> None:
        """Start a video; ids begin at 0.

        Args:
            options: `tracker`, and `track_gap_s`, how long a lost face keeps its id.
            nominal_fps: About how many frames a second `update` will see (the video's rate,
                divided by N for every Nth frame). Faces in neighbouring frames keep their
                ids even where frames lie further apart than `track_gap_s`.
        """
        fps = nominal_fps if math.isfinite(nominal_fps) and nominal_fps > 0 else 30.0
        self._limit_s = max(options.track_gap_s, 1.5 / fps) + _TIME_SLACK_S
        self._library = _Library(options.tracker, fps, self._limit_s)
        self._tracks: dict[int, _Track] = {}
        self._id_of_library: dict[int, int] = {}
        self._next_id = 0
        self._now_s = 0.0
        self._started = False

    def update(self, faces: Faces, time_s: float) -> IntArray:
        """The ids of the faces of the next frame.

        Args:
            faces: May be empty, in any order; frames without a face should be passed, too.
            time_s: Time of the frame. A time that does not advance is taken as the last one.

        Returns:
            int32 (n,), in the order of `faces`, all different, 0 or more.
        """
        if math.isfinite(time_s):
            self._now_s = max(self._now_s, time_s) if self._started else time_s
            self._started = True
        self._forget()
        boxes = faces.boxes_px.astype(np.float64)
        known = list(self._tracks)
        distance = self._distances(known, boxes)  # (tracks, n), inf where impossible
        proposed = self._library.propose(faces, self._now_s)

        ids = np.full(len(faces), -1, np.int32)
        self._accept(proposed, known, distance, ids)
        _assign_nearest(known, distance, ids)
        for index in np.flatnonzero(ids < 0):
            ids[index] = self._next_id
            self._next_id += 1
        self._remember(ids, boxes, proposed)
        return ids

    def _forget(self) -> None:
        """Drop tracks that were not seen for too long, and what the library called them."""
        self._tracks = {
            key: track
            for key, track in self._tracks.items()
            if self._now_s - track.time_s <= self._limit_s
        }
        self._id_of_library = {
            theirs: ours for theirs, ours in self._id_of_library.items() if ours in self._tracks
        }

    def _distances(self, known: list[int], boxes: Points) -> Points:
        """Distance of each face from each track, (tracks, n), in face sizes.

        From where the track was seen, or from there moved along with the other faces,
        whichever is less: a pan takes a face that is missed for some frames along, and from
        one other face a pan cannot be told from a walk.
        """
        if not known or not len(boxes):
            return np.empty((len(known), len(boxes)))
        tracks = [self._tracks[key] for key in known]
        last = np.stack([track.box_px for track in tracks])
        panned = _centres(last) + np.stack([track.moved_px for track in tracks])
        far = np.minimum(
            np.linalg.norm(_centres(last)[:, None] - _centres(boxes)[None], axis=2),
            np.linalg.norm(panned[:, None] - _centres(boxes)[None], axis=2),
        )
        size, other = _sizes(last)[:, None], _sizes(boxes)[None]
        ratio = np.maximum(size / other, other / size)
        distance: Points = np.where(ratio <= SIZE_RATIO, far / ((size + other) / 2), np.inf)
        return distance

    def _accept(
        self,
        proposed: IntArray,
        known: list[int],
        distance: Points,
        ids: IntArray,
    ) -> None:
        """Step 1: fill `ids` where the library's proposal agrees with what was seen."""
        row_of = {key: row for row, key in enumerate(known)}
        for index, theirs in enumerate(proposed):
            ours = self._id_of_library.get(int(theirs))
            if ours is None or ours in ids:
                continue
            here = distance[row_of[ours], index]
            closest = distance[:, index].min()
            if here <= REACH and not (here > APART and closest < here / 2):
                ids[index] = ours

    def _remember(self, ids: IntArray, boxes: Points, proposed: IntArray) -> None:
        """Store where each face was seen, and move lost tracks along with the others."""
        steps = [
            _centres(box[None])[0] - _centres(self._tracks[key].box_px[None])[0]
            for key, box in zip(ids.tolist(), boxes, strict=True)
            if key in self._tracks
        ]
        if steps:
            pan = np.median(np.stack(steps), axis=0)
            spread = np.abs(np.stack(steps) - pan).max()
            sure = len(steps) > 1 and spread <= SAME_STEP * np.median(_sizes(boxes))
            for key, track in self._tracks.items():
                if key not in ids and sure:  # the camera moved, and with it where it was lost
                    track.box_px = track.box_px + np.tile(pan, 2)
                elif key not in ids:  # the camera or the others moved: both places count
                    track.moved_px = track.moved_px + pan
        called = {ours: theirs for theirs, ours in self._id_of_library.items()}
        for key, box, theirs in zip(ids.tolist(), boxes, proposed.tolist(), strict=True):
            self._tracks[key] = _Track(box, self._now_s, np.zeros(2))
            if theirs >= 0:
                called[key] = theirs
        # One name a track: an older one is a prediction that drifted away from the face.
        self._id_of_library = {theirs: ours for ours, theirs in called.items()}


def _centres(
    boxes: Points,
) -> Points:
    centres: Points = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def _sizes(
    boxes: Points,
) -> Points:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    sizes: Points = np.sqrt(sides[:, 0] * sides[:, 1])
    return sizes


def _assign_nearest(known: list[int], distance: Points, ids: IntArray) -> None:
    """Step 2: fill `ids` of faces left over from the tracks left over, nearest in all."""
    from scipy.optimize import linear_sum_assignment

    rows = np.array([row for row, key in enumerate(known) if key not in ids], np.intp)
    columns = np.flatnonzero(ids < 0)
    if not len(rows) or not len(columns):
        return
    costs = distance[np.ix_(rows, columns)]
    # A pair out of reach costs more than all pairs within reach, so it never displaces one.
    costs = np.where(costs <= NEAR, costs, NEAR * (min(costs.shape) + 1))
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, column] <= NEAR:
            ids[columns[column]] = known[rows[row]]


def preload() -> None:
    """Imports the library beside other work, as that takes about a second.

    Only in a process of jadfer's own: what a thread does to the filters of warnings is not safe
    beside others.
    """
    if owns_process():
        threading.Thread(target=_import_library, daemon=True).start()


def _import_library() -> tuple[Any, Any]:
    # its import warns of its own dependencies; a process of ours ignores warnings altogether
    with contextlib.nullcontext() if owns_process() else ignored_warnings():
        import supervision
        import trackers
    return supervision, trackers


class _Library:
    """A tracker of the package `trackers`, fed so that it considers every face."""

    def __init__(self, name: str, fps: float, keep_s: float) -> None:
        supervision, trackers = _import_library()
        self._detections = supervision.Detections
        self._clock_s = -math.inf
        self._first_id = 0  # after a restart its ids begin at 0 again; ours go on
        self._given = 0
        common: dict[str, Any] = {
            "lost_track_buffer": math.ceil(keep_s * 30),  # in frames at 30 a second
            "frame_rate": fps,
            "minimum_consecutive_frames": 1,
            # The detector's threshold has chosen already; ByteTrack's own (0.6 and 0.7) would
            # leave weaker faces without a track.
            "high_conf_det_threshold": 0.0,
            "minimum_iou_threshold": 0.1,
        }
        self._tracker: Any = (
            trackers.OCSORTTracker(**common)
            if name == "ocsort"
            else trackers.ByteTrackTracker(track_activation_threshold=0.0, **common)
        )

    def propose(self, faces: Faces, time_s: float) -> IntArray:
        """The library's id of each face, -1 where it has none; int32 (n,)."""
        n = len(faces)
        proposed = np.full(n, -1, np.int32)
        boxes = faces.boxes_px.copy()
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)  # it divides by the sides
        detections = self._detections(
            xyxy=boxes, confidence=faces.scores, data={"index": np.arange(n)}
        )
        # It warns of a time that does not advance; equal stamps become a tiny step.
        self._clock_s = max(time_s, self._clock_s + 1e-4)
        try:
            with np.errstate(all="ignore"):
                answer = self._tracker.update(detections, timestamp=self._clock_s)
        except (ValueError, np.linalg.LinAlgError):
            # Its filter can overflow on wild boxes; the positions we keep carry the ids on.
            self._tracker.reset()
            self._first_id += self._given
            self._given = 0
            return proposed
        if len(answer):
            theirs = np.asarray(answer.tracker_id)
            self._given = max(self._given, int(theirs.max()) + 1)
            where = np.asarray(answer.data["index"], np.intp)
            proposed[where] = np.where(theirs >= 0, theirs + self._first_id, -1)
        return proposed


@dataclass
class TrackStats:
    """How long and how large each track of a video is; memory grows with tracks only.

    Attributes:
        frames: Track id to the number of frames it was seen in.
        seconds: Track id to the time those frames were shown.
        area_px2: Track id to the sum of its boxes' areas.
    """

    frames: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    area_px2: dict[int, float] = field(default_factory=dict)

    def add(self, ids: IntArray, boxes_px: FloatArray, duration_s: float) -> None:
        """Count one frame.

        Args:
            ids: int32 (n,), from `FaceTracker.update`.
            boxes_px: float32 (n, 4), of the same faces.
            duration_s: How long the frame is shown.
        """
        sides = (boxes_px[:, 2:] - boxes_px[:, :2]).astype(np.float64)
        for key, area in zip(ids.tolist(), sides.prod(axis=1).tolist(), strict=True):
            self.frames[key] = self.frames.get(key, 0) + 1
            self.seconds[key] = self.seconds.get(key, 0.0) + duration_s
            self.area_px2[key] = self.area_px2.get(key, 0.0) + area


def lasting_tracks(stats: TrackStats, n: int | None) -> frozenset[int]:
    """The n tracks that matter most: seconds seen times typical side of the face.

    The side is the root of the mean box area. Equal products go to the track seen in more
    frames, then to the one that came first.

    Args:
        stats: Of the whole video.
        n: How many to keep; None keeps all.

    Returns:
        Their ids.
    """

    def rank(key: int) -> tuple[float, int, int]:
        side_px = math.sqrt(stats.area_px2[key] / stats.frames[key])
        return (-stats.seconds[key] * side_px, -stats.frames[key], key)

    return frozenset(sorted(stats.frames, key=rank)[:n])
