"""Counts, selection and completeness of finished rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jadfer_cli.errors import OutputError
from jadfer_cli.results.read_checks import NEVER_NULL


def check_coverage(path: Path, expected: npt.NDArray[np.int64], out: Path) -> None:
    """Check that a written file has every frame, sorted by frame and track, without duplicates.

    Args:
        path: The file to read back.
        expected: Indices of the frames that it must cover, ascending, int64 (n,).
        out: The result that an error names.

    Raises:
        OutputError: A frame is missing, or rows are unsorted or repeated.
    """
    keys = pq.read_table(path, columns=["frame", "track_id"])
    frame = keys["frame"].to_numpy()
    track = keys["track_id"].fill_null(-1).to_numpy()
    order = frame.astype(np.int64) * (1 << 32) + track
    if not np.array_equal(np.unique(frame), expected) or (np.diff(order) <= 0).any():
        raise OutputError(
            f"{out}: the rows written do not cover the frames of the video; nothing was kept.",
            "This is a bug in jadfer; please report it with the video.",
        )


def check_same_faces(rows: Path, beside: Path, out: Path) -> None:
    """Check that a file beside a result has exactly the faces of the result, in their order.

    Args:
        rows: The result, to be read back.
        beside: The other file, to be read back.
        out: The file that an error names.

    Raises:
        OutputError: They differ.
    """
    keys = ["frame", "track_id"]
    faces = (
        pq.read_table(rows, columns=keys).drop_null().cast(pa.schema([(k, "int32") for k in keys]))
    )
    other = pq.read_table(beside, columns=keys)
    if any(not faces[name].equals(other[name]) for name in keys):
        raise OutputError(
            f"{out}: its rows are not those of the faces in the result; nothing was kept.",
            "This is a bug in jadfer; please report it with the video.",
        )


def count_rows(rows: pd.DataFrame) -> dict[str, int]:
    """Count rows, under the names that the metadata use."""
    return {
        "frames_without_face": int((~rows["face_detected"]).sum()),
        "faces": int(rows["face_detected"].sum()),
        "faces_usable": int(rows["usable"].fillna(False).sum()),
        "tracks": rows["track_id"].nunique(),
    }


def keep_tracks(rows: pd.DataFrame, keep: Mapping[int, int]) -> pd.DataFrame:
    """Keep the rows of some tracks and renumber these.

    Args:
        rows: All rows of each frame of a result.
        keep: Track IDs to keep, each with its new ID; the order of IDs must not change.

    Returns:
        The rows kept; a frame that loses all its faces has one row without a face.
    """
    kept = rows["track_id"].isin(list(keep)).fillna(False).astype(bool)
    n_faces = kept.groupby(rows["frame"]).transform("sum")
    first = ~rows["frame"].duplicated()
    rows = rows[kept | (first & (n_faces == 0))].copy()
    has_face = rows["track_id"].isin(list(keep)).fillna(False).astype(bool)
    rows["n_faces"] = n_faces[rows.index].astype("int16")
    rows["face_detected"] = has_face
    rows["track_id"] = rows["track_id"].map(keep).astype("Int32")
    blank = [str(name) for name in rows.columns if name not in NEVER_NULL]
    rows[blank] = rows[blank].where(has_face)
    return rows
