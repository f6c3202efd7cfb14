"""The faces of a result by person: the tracks of one person count as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import Annotated, FaceTable, as_faces, face_columns
from jadfer_cli.analysis.frame_times import Ints
from jadfer_cli.errors import ResultError
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import UNKNOWN


@dataclass(frozen=True)
class People:
    """The faces of one result by person.

    Attributes:
        annotated: All faces; their `track` is an index into the lists below.
        names: Name of each person; an unknown track is a person of its own.
        track_ids: The tracks of each.
        row_track: int64 (rows,), the track ID of each row of the result; -1 without a face.
    """

    annotated: Annotated
    names: tuple[str, ...]
    track_ids: tuple[tuple[int, ...], ...]
    row_track: Ints

    @property
    def subjects(self) -> tuple[str, ...]:
        """A name for each that is unique: "P01", "unknown, track 3"."""
        return subject_names(self.names, self.track_ids)

    def tracks_of(self, faces: FaceTable) -> Ints:
        """Return the track IDs of some of the faces, int64 (n,)."""
        tracks: Ints = self.row_track[faces.row]
        return tracks


def read_people(result: Result) -> People:
    """Read the rows of a result, with the tracks of one person joined.

    Raises:
        ResultError: The result is damaged, or has no column `person`.
    """
    rows, names, tracks, track = joined_rows(result, face_columns(result))
    return People(as_faces(rows, result.labels, result.metadata), names, tracks, track)


def joined_rows(
    result: Result, columns: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[tuple[int, ...], ...], Ints]:
    """Read the rows of a result with the number of a person as `track_id`.

    Args:
        result: The result.
        columns: Those to read, `track_id` among them.

    Returns:
        The rows, the name and the tracks of each person, and the track ID of each row; -1 without
        a face. Known people come first, by name.

    Raises:
        ResultError: The result is damaged, or has no column `person`.
    """
    if "person" not in result.columns:
        raise ResultError(
            f"{result.path} has no column person.",
            "`jadfer identify` writes results with it.",
        )
    rows = result.rows([*columns, "person"])
    track = rows["track_id"].to_numpy(np.float64, na_value=-1).astype(np.int64)
    person = rows["person"].astype(object)
    has_face = track >= 0
    unknown = np.where(person == UNKNOWN, track, -1)  # nobody knows whether two are the same
    keys = sorted({(u, str(p)) for u, p in zip(unknown[has_face], person[has_face], strict=True)})
    number = {key: i for i, key in enumerate(keys)}
    codes = np.array([number.get((u, str(p)), -1) for u, p in zip(unknown, person, strict=True)])
    tracks = tuple(
        tuple(np.unique(track[has_face & (codes == i)]).tolist()) for i in range(len(keys))
    )
    rows["track_id"] = pd.Series(codes, rows.index, "Int32").mask(~has_face)
    return rows, tuple(name for _, name in keys), tracks, track


def subject_names(names: Sequence[str], track_ids: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return a unique name of each person; an unknown one is told by the track."""
    return tuple(
        f"{name}, track {tracks[0]}" if name == UNKNOWN else name
        for name, tracks in zip(names, track_ids, strict=True)
    )
