"""Whether the columns and rows of a result that is read back can be right.

Other programs rewrite results. A wider type, a text column without its dictionary or another
order of the rows does no harm; a value that `jadfer annotate` never writes does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jadfer_cli.results.schema import (
    BOX_COLUMNS,
    person_schema,
    probability_columns,
    result_schema,
)

Bools = npt.NDArray[np.bool_]

# Columns that are not null in a row without a face.
NEVER_NULL = ("video", "frame", "time_s", "duration_s", "frame_status", "face_detected", "n_faces")
_P_TOLERANCE = 1e-3
_MAX_INDEX = 2**31 - 1  # frames and track IDs are int32
_MAX_S = 1e9


def column_problem(schema: pa.Schema, labels: Sequence[str]) -> str | None:
    """Return what is wrong with the type of the first unsuitable column, as a clause.

    Args:
        schema: Of the Parquet file.
        labels: The model's labels.
    """
    if len(set(schema.names)) < len(schema.names):
        return "two columns have the same name"
    for field in [*result_schema(labels), *person_schema()]:
        if field.name not in schema.names:
            continue
        found = schema.field(field.name).type
        if not _suits(found, field.type, nullable=field.name not in NEVER_NULL):
            return f"the column {field.name} holds {found} and not {_kind_text(field.type)}"
    return None


def _suits(found: pa.DataType, wanted: pa.DataType, *, nullable: bool) -> bool:
    """Return whether a column of type `found` may hold what one of type `wanted` does."""
    is_category = pa.types.is_dictionary(wanted)
    if is_category and pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return nullable
    if is_category:
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_boolean(wanted):
        return bool(pa.types.is_boolean(found))
    if pa.types.is_integer(wanted) and not nullable:
        return bool(pa.types.is_integer(found))
    # with nulls, pandas turns integers into float64
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found))


def _kind_text(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "true or false"
    return "whole numbers" if pa.types.is_integer(kind) else "numbers"


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows sorted by frame and track, as far as they have these columns."""
    if "frame" not in rows or rows["frame"].hasnans:
        return rows
    order = rows["frame"].to_numpy(np.float64)
    if "track_id" in rows:
        order = order * (_MAX_INDEX + 2.0) + _track_numbers(rows, empty=-1)
    if (np.diff(order) >= 0).all():
        return rows
    return rows.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _track_numbers(rows: pd.DataFrame, empty: float) -> npt.NDArray[np.float64]:
    """Return the track IDs, float64 (n,), with a value for rows without a face."""
    ids = rows["track_id"]
    if ids.dtype == object:  # nothing but nulls
        return np.full(len(ids), empty)
    return ids.to_numpy(np.float64, na_value=empty)


def row_problem(rows: pd.DataFrame, labels: Sequence[str]) -> str | None:
    """Return the first thing that is wrong with the rows of a result, as a clause.

    Only the columns that were read are checked: frames, times and track IDs are in order and
    fit together; a row with a face has all values of one and they are possible; a row without
    a face has none of them.

    Args:
        rows: Some columns of all rows, sorted by frame and track.
        labels: The model's labels.
    """
    for wrong, text in _checks(rows, labels):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            place = f"row {first}"
            if "frame" in rows and pd.notna(rows["frame"].iloc[first]):
                place += f" (frame {rows['frame'].iloc[first]})"
            others = int(wrong.sum()) - 1
            more = f", and so in {others:,} more" if others else ""
            return f"in {place}{more}, {text}"
    return None


def _checks(rows: pd.DataFrame, labels: Sequence[str]) -> Iterator[tuple[Bools, str]]:
    """Yield which rows are wrong, bool (n,), and what is then wrong with them."""
    names = set(map(str, rows.columns))
    for name in sorted(names.intersection(NEVER_NULL)):
        yield rows[name].isna().to_numpy(bool), f"{name} is empty"
    if "frame" in names:
        yield from _frame_checks(rows, names)
    has_face = None
    if "track_id" in names:
        track = _track_numbers(rows, empty=np.nan)
        has_face = ~np.isnan(track)
        bad = (track < 0) | (track > _MAX_INDEX) | (track % 1 != 0)
        yield bad & has_face, "track_id is not a whole number from 0"
        if "frame" in names:
            frame = rows["frame"].to_numpy(np.int64)
            same = (np.diff(frame, prepend=-1) == 0) & (np.diff(track, prepend=np.nan) == 0)
            yield same, "track_id occurs twice in one frame"
            yield ~has_face & _repeated(frame), "there is no face, but the frame has other rows"
    if "face_detected" in names:
        detected = rows["face_detected"].to_numpy(bool)
        if has_face is not None:
            yield detected & ~has_face, "face_detected is true, but track_id is empty"
            yield ~detected & has_face, "face_detected is false, but there is a track_id"
        has_face = detected
    if has_face is not None:
        yield from _face_checks(rows, names, has_face, labels)


def _frame_checks(rows: pd.DataFrame, names: set[str]) -> Iterator[tuple[Bools, str]]:
    frame = rows["frame"].to_numpy(np.int64)
    yield (frame < 0) | (frame > _MAX_INDEX), "frame is not a possible index"
    for name in sorted(names.intersection(("time_s", "duration_s"))):
        seconds = rows[name].to_numpy(np.float64)
        yield ~((seconds >= 0) & (seconds < _MAX_S)), f"{name} is not a possible time"
    if "time_s" in names:
        step = np.diff(rows["time_s"].to_numpy(np.float64), prepend=-np.inf)
        yield step < 0, "time_s is earlier than in the frame before"
        same = np.diff(frame, prepend=-1) == 0
        yield same & (step != 0), "time_s differs from that of another row of the same frame"


def _face_checks(
    rows: pd.DataFrame, names: set[str], has_face: Bools, labels: Sequence[str]
) -> Iterator[tuple[Bools, str]]:
    if names.issuperset(BOX_COLUMNS):
        box = rows[list(BOX_COLUMNS)].to_numpy(np.float64)
        yield has_face & ~np.isfinite(box).all(1), "the face has no complete box"
        turned = (box[:, 2] < box[:, 0]) | (box[:, 3] < box[:, 1])
        yield has_face & turned, "the box ends before it begins"
        yield ~has_face & np.isfinite(box).any(1), "there is a box, but no face"
    for name in names.intersection(probability_columns(labels)):
        p = rows[name].to_numpy(np.float64, na_value=np.nan)
        possible = (p >= -_P_TOLERANCE) & (p <= 1 + _P_TOLERANCE)
        yield has_face & ~possible, f"{name} is not a probability"
    if "expression" in names and labels:  # an imported result may have no labels
        known = rows["expression"].isin(list(labels)).to_numpy(bool)
        yield has_face & ~known, "expression is none of the model's labels"
    if "person" in names:
        named = rows["person"].notna().to_numpy(bool)
        yield has_face & ~named, "person is empty"
        yield ~has_face & named, "there is a person, but no face"
    if "person_score" in names:
        score = rows["person_score"].to_numpy(np.float64, na_value=np.nan)
        yield np.abs(score) > 1 + _P_TOLERANCE, "person_score is not a cosine"
    if "usable" in names:
        yield has_face & rows["usable"].isna().to_numpy(bool), "usable is empty"
        if "unusable_reason" in names:
            usable = rows["usable"].fillna(False).to_numpy(bool)
            explained = rows["unusable_reason"].notna().to_numpy(bool)
            yield usable & explained, "the face is usable, but there is an unusable_reason"


def _repeated(frame: npt.NDArray[np.int64]) -> Bools:
    """Return which rows share their frame with another row, bool (n,)."""
    same = np.diff(frame) == 0
    repeated: Bools = np.append(False, same) | np.append(same, False)
    return repeated
