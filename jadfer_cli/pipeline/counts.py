"""Counts of what was found in one video, from frames or from stored rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jadfer_cli.records import CORRUPT, FRAME_STATUSES, REPEATED, AnnotatedFrame

# Below this many faces, or if a larger share looks upright, the picture is taken as it is.
_MIN_FACES_TURNED, _TURNED_SHARE = 5, 0.8


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
    # faces by their roll to the nearest 90 degrees, clockwise: upright, on their side, ...
    by_turn: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))

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
            self._add_roll(frame.quality.roll_deg)

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
        self._add_roll(rows["roll_deg"].drop_null().to_numpy())
        self.tracks.update(pc.unique(rows["track_id"].combine_chunks().drop_null()).to_pylist())

    def _add_roll(self, roll_deg: npt.NDArray[np.float32]) -> None:
        turns = np.rint(roll_deg[np.isfinite(roll_deg)] / 90).astype(np.int64) % 4
        self.by_turn += np.bincount(turns, minlength=4)

    def turn_deg(self) -> int:
        """Returns by how much nearly all faces are turned clockwise: 0, 90, 180 or 270 degrees.

        0 as well if there are too few faces, or if they are turned differently.
        """
        n, most = int(self.by_turn.sum()), int(self.by_turn.argmax())
        enough = n >= _MIN_FACES_TURNED and self.by_turn[most] >= _TURNED_SHARE * n
        return 90 * most if enough else 0

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
