"""Counts of what was found in one video, from frames or from stored rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jadfer_cli.records import CORRUPT, FRAME_STATUSES, REPEATED, AnnotatedFrame


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
        """Adds annotated frames."""
        for frame in frames:
            self.frames += 1
            self.corrupt += frame.status == CORRUPT
            self.repeated += frame.status == REPEATED
            self.without_face += not len(frame.faces)
            self.faces += len(frame.faces)
            self.usable += int(frame.quality.usable.sum())
            self.tracks.update(frame.track_ids.tolist())

    def add_rows(self, rows: pa.Table) -> None:
        """Adds the rows of complete frames."""
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
        """Returns the counts under the names of the metadata."""
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
