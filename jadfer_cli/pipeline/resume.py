"""How far a video is, and how a run gets there again from the parts of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jadfer_cli.faces.track import FaceTracker, TrackStats
from jadfer_cli.records import CORRUPT, FRAME_STATUSES, REPEATED, AnnotatedFrame, Faces, IntArray
from jadfer_cli.results.schema import BOX_COLUMNS


@dataclass
class Counts:
    """What was found so far in one video."""

    frames: int = 0
    corrupt: int = 0
    repeated: int = 0
    without_face: int = 0
    faces: int = 0
    usable: int = 0
    tracks: set[int] = field(default_factory=set)

    def add(self, frames: Iterable[AnnotatedFrame]) -> None:
        """Counts some more frames."""
        for frame in frames:
            self.frames += 1
            self.corrupt += frame.status == CORRUPT
            self.repeated += frame.status == REPEATED
            self.without_face += not len(frame.faces)
            self.faces += len(frame.faces)
            self.usable += int(frame.quality.usable.sum())
            self.tracks.update(frame.track_ids.tolist())

    def add_rows(self, rows: pa.Table) -> None:
        """Counts some more whole frames, by their rows."""
        firsts = rows.take(np.flatnonzero(np.diff(rows["frame"].to_numpy(), prepend=-1)))
        status = firsts["frame_status"].cast(pa.string())
        self.frames += len(firsts)
        self.corrupt += pc.sum(pc.equal(status, FRAME_STATUSES[CORRUPT])).as_py()
        self.repeated += pc.sum(pc.equal(status, FRAME_STATUSES[REPEATED])).as_py()
        faces = pc.sum(rows["face_detected"]).as_py()
        self.without_face += len(rows) - faces
        self.faces += faces
        self.usable += pc.sum(rows["usable"]).as_py() or 0
        self.tracks.update(pc.unique(rows["track_id"].combine_chunks().drop_null()).to_pylist())

    def metadata(self) -> dict[str, int]:
        """The counts under the names of the metadata."""
        return {
            "frames_analysed": self.frames,
            "frames_corrupt": self.corrupt,
            "frames_repeated": self.repeated,
            "frames_without_face": self.without_face,
            "faces": self.faces,
            "faces_usable": self.usable,
            "tracks": len(self.tracks),
            "tracks_left_out": 0,
        }


@dataclass(frozen=True)
class Stored:
    """One frame of an earlier run.

    Attributes:
        index, time_s, duration_s: As in `Frame`.
        faces: Its n faces, without landmarks, sorted by track id.
        track_ids: int32 (n,), theirs.
    """

    index: int
    time_s: float
    duration_s: float
    faces: Faces
    track_ids: IntArray


def frames_of(rows: pa.Table) -> Iterator[Stored]:
    """The frames of a part, with what the tracker was shown of them."""
    frame = rows["frame"].to_numpy()
    time_s, duration_s = rows["time_s"].to_numpy(), rows["duration_s"].to_numpy()
    detected = rows["face_detected"].to_numpy()
    boxes = np.stack([rows[name].to_numpy() for name in BOX_COLUMNS], axis=1)  # (n, 4)
    scores = rows["det_score"].to_numpy()
    ids = rows["track_id"].fill_null(-1).to_numpy()
    starts = np.flatnonzero(np.diff(frame, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(frame)], strict=True):
        its = slice(start, end if detected[start] else start)
        n = its.stop - start
        faces = Faces(
            boxes[its].astype(np.float32),
            scores[its].astype(np.float32),
            np.zeros((n, 5, 2), np.float32),
        )
        yield Stored(
            int(frame[start]), float(time_s[start]), float(duration_s[start]),
            faces, ids[its].astype(np.int32),
        )  # fmt: skip


def replay(frames: Iterable[Stored], tracker: FaceTracker, stats: TrackStats) -> bool:
    """Shows the tracker what it was shown before.

    Returns:
        Whether it gave the same ids, so that it will go on as it would have.
    """
    for frame in frames:
        faces = frame.faces.left_to_right()
        ids = tracker.update(faces, frame.time_s)
        order = np.argsort(ids)
        if not np.array_equal(ids[order], frame.track_ids) or not np.array_equal(
            faces.boxes_px[order], frame.faces.boxes_px
        ):
            return False
        stats.add(frame.track_ids, frame.faces.boxes_px, frame.duration_s)
    return True
