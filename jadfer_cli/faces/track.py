"""Track faces from frame to frame: each face gets an ID in its first frame, and keeps it.

The library `trackers` (ByteTrack or OC-SORT) predicts motion and proposes which detection
continues which of its tracks. For rows about people this is not enough: a track's first frame
gets no ID, a lost track drifts on with its last velocity, and IDs never come back. So the
proposals are checked against where each face was last detected. For each frame:

1. A proposal is accepted if the face is close enough to where its track was last detected.
2. Remaining faces are assigned to the nearest remaining tracks, within one face size. This is
   how IDs come back.
3. Faces that still remain start new tracks.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import owns_process
from jadfer_cli.faces.tracker_library import LibraryTracker, import_library

if TYPE_CHECKING:
    from jadfer_cli.options import FaceOptions
    from jadfer_cli.records import Faces, FloatArray, IntArray

Points = npt.NDArray[np.float64]  # positions keep double precision between frames

# Distances are between box centres, in units of the face's size (square root of the box area).
MAX_DISTANCE = 1.0  # between a track and a face that may continue it
MAX_PROPOSED_DISTANCE = 3.0  # the same, if the library's motion model proposes the pair
UNAMBIGUOUS_DISTANCE = 0.5  # beyond this, a proposal loses to a track that is twice as close
SAME_STEP = 0.25  # faces whose steps differ by less than this move with the camera
MAX_SIZE_RATIO = 2.0  # between the sizes of a track and a face that may continue it
_TIME_SLACK_S = 1e-6  # tolerance of float time stamps when they are compared with a limit


@dataclass
class _Track:
    """Where a face was last detected.

    Attributes:
        box_px: float64 (4,), as detected; while the track is lost, shifted with the camera.
        time_s: Time of the detection.
        moved_px: float64 (2,), how far the other faces have moved since, with or without the
            camera.
    """

    box_px: Points
    time_s: float
    moved_px: Points


class FaceTracker:
    """Assigns track IDs to the faces of one video, frame by frame, without looking ahead."""

    def __init__(self, options: FaceOptions, nominal_fps: float) -> None:
        """Start a video; IDs begin at 0.

        Args:
            options: `tracker` is the library's algorithm; `track_gap_s` is how long a lost face
                keeps its ID.
            nominal_fps: Approximate number of frames per second that `update` will see (the
                video's rate, divided by N for every Nth frame). Faces in consecutive frames keep
                their IDs even if the frames are further apart than `track_gap_s`.
        """
        fps = nominal_fps if math.isfinite(nominal_fps) and nominal_fps > 0 else 30.0
        self._limit_s = max(options.track_gap_s, 1.5 / fps) + _TIME_SLACK_S
        self._library = LibraryTracker(options.tracker, fps, self._limit_s)
        self._tracks: dict[int, _Track] = {}
        self._id_of_library: dict[int, int] = {}
        self._next_id = 0
        self._now_s = 0.0
        self._started = False

    def update(self, faces: Faces, time_s: float) -> IntArray:
        """Assign IDs to the faces of the next frame.

        Args:
            faces: Faces in any order. Pass frames without faces, too.
            time_s: Time of the frame. If it is earlier than the last one, the last one is used.

        Returns:
            int32 (n,), in the order of `faces`; unique, not negative.
        """
        if math.isfinite(time_s):
            self._now_s = max(self._now_s, time_s) if self._started else time_s
            self._started = True
        self._drop_expired()
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

    def _drop_expired(self) -> None:
        """Drop tracks that have been lost for too long, and their library IDs."""
        self._tracks = {
            key: track
            for key, track in self._tracks.items()
            if self._now_s - track.time_s <= self._limit_s
        }
        self._id_of_library = {
            library_id: key
            for library_id, key in self._id_of_library.items()
            if key in self._tracks
        }

    def _distances(self, known: list[int], boxes: Points) -> Points:
        """Distance of each face from each track, (tracks, n), in face sizes.

        The smaller of two distances: from where the track was last detected, and from there
        shifted with the other faces. If the camera pans, a lost face moves with the others; but
        with a single other face, a pan and a walk look the same.
        """
        if not known or not len(boxes):
            return np.empty((len(known), len(boxes)))
        tracks = [self._tracks[key] for key in known]
        last = np.stack([track.box_px for track in tracks])
        panned = _centres(last) + np.stack([track.moved_px for track in tracks])
        distance_px = np.minimum(
            np.linalg.norm(_centres(last)[:, None] - _centres(boxes)[None], axis=2),
            np.linalg.norm(panned[:, None] - _centres(boxes)[None], axis=2),
        )
        size, other = _sizes(last)[:, None], _sizes(boxes)[None]
        ratio = np.maximum(size / other, other / size)
        distance: Points = np.where(
            ratio <= MAX_SIZE_RATIO, distance_px / ((size + other) / 2), np.inf
        )
        return distance

    def _accept(
        self,
        proposed: IntArray,
        known: list[int],
        distance: Points,
        ids: IntArray,
    ) -> None:
        """Step 1: fill `ids` where the library's proposal is plausible."""
        row_of = {key: row for row, key in enumerate(known)}
        for index, library_id in enumerate(proposed):
            key = self._id_of_library.get(int(library_id))
            if key is None or key in ids:
                continue
            proposal = distance[row_of[key], index]
            nearest = distance[:, index].min()
            ambiguous = proposal > UNAMBIGUOUS_DISTANCE and nearest < proposal / 2
            if proposal <= MAX_PROPOSED_DISTANCE and not ambiguous:
                ids[index] = key

    def _remember(self, ids: IntArray, boxes: Points, proposed: IntArray) -> None:
        """Store where each face was detected, and shift lost tracks with the others."""
        steps = [
            _centres(box[None])[0] - _centres(self._tracks[key].box_px[None])[0]
            for key, box in zip(ids.tolist(), boxes, strict=True)
            if key in self._tracks
        ]
        if steps:
            pan = np.median(np.stack(steps), axis=0)
            spread = np.abs(np.stack(steps) - pan).max()
            camera_moved = len(steps) > 1 and spread <= SAME_STEP * np.median(_sizes(boxes))
            for key, track in self._tracks.items():
                if key not in ids and camera_moved:
                    track.box_px = track.box_px + np.tile(pan, 2)
                elif key not in ids:  # camera or people moved: allow both positions
                    track.moved_px = track.moved_px + pan
        library_ids = {key: library_id for library_id, key in self._id_of_library.items()}
        for key, box, library_id in zip(ids.tolist(), boxes, proposed.tolist(), strict=True):
            self._tracks[key] = _Track(box, self._now_s, np.zeros(2))
            if library_id >= 0:
                library_ids[key] = library_id
        # One library ID per track; an older one has drifted off the face.
        self._id_of_library = {library_id: key for key, library_id in library_ids.items()}


def _centres(boxes: Points) -> Points:
    centres: Points = (boxes[:, :2] + boxes[:, 2:]) / 2
    return centres


def _sizes(boxes: Points) -> Points:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    sizes: Points = np.sqrt(sides[:, 0] * sides[:, 1])
    return sizes


def _assign_nearest(known: list[int], distance: Points, ids: IntArray) -> None:
    """Step 2: assign remaining faces to remaining tracks, with the least total distance."""
    from scipy.optimize import linear_sum_assignment

    rows = np.array([row for row, key in enumerate(known) if key not in ids], np.intp)
    columns = np.flatnonzero(ids < 0)
    if not len(rows) or not len(columns):
        return
    costs = distance[np.ix_(rows, columns)]
    # A pair that is too far apart costs more than all others together, so it never displaces one.
    costs = np.where(costs <= MAX_DISTANCE, costs, MAX_DISTANCE * (min(costs.shape) + 1))
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, column] <= MAX_DISTANCE:
            ids[columns[column]] = known[rows[row]]


def preload() -> None:
    """Import the library in the background, which takes about a second.

    Only if jadfer owns the process: a notebook may change warning filters in another thread at
    the same time, and that is not thread-safe.
    """
    if owns_process():
        threading.Thread(target=import_library, daemon=True).start()


@dataclass
class TrackStats:
    """Duration and size of each track of a video; memory grows only with the number of tracks.

    Attributes:
        frames: Track ID to the number of frames with the face.
        seconds: Track ID to the total duration of those frames.
        area_px2: Track ID to the sum of its box areas.
    """

    frames: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    area_px2: dict[int, float] = field(default_factory=dict)

    def add(self, ids: IntArray, boxes_px: FloatArray, duration_s: float) -> None:
        """Add one frame.

        Args:
            ids: int32 (n,), from `FaceTracker.update`.
            boxes_px: float32 (n, 4), boxes of the same faces.
            duration_s: Duration of the frame.
        """
        sides = (boxes_px[:, 2:] - boxes_px[:, :2]).astype(np.float64)
        for key, area in zip(ids.tolist(), sides.prod(axis=1).tolist(), strict=True):
            self.frames[key] = self.frames.get(key, 0) + 1
            self.seconds[key] = self.seconds.get(key, 0.0) + duration_s
            self.area_px2[key] = self.area_px2.get(key, 0.0) + area


def lasting_tracks(stats: TrackStats, n: int | None) -> frozenset[int]:
    """Select the n most prominent tracks: duration times typical side of the face.

    The typical side is the square root of the mean box area. Ties go to the track with more
    frames, then to the earlier one.

    Args:
        stats: Statistics of the whole video.
        n: Number of tracks to keep; None keeps all.

    Returns:
        IDs of the selected tracks.
    """

    def rank(key: int) -> tuple[float, int, int]:
        side_px = math.sqrt(stats.area_px2[key] / stats.frames[key])
        return (-stats.seconds[key] * side_px, -stats.frames[key], key)

    return frozenset(sorted(stats.frames, key=rank)[:n])
