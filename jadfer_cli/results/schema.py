"""The columns of a result: names, and types that survive a plain `pandas.read_parquet`.

One row per frame and face; exactly one row, `face_detected` false, for an analysed frame without
a face. Key: (video, frame, track_id); sorted by frame and track_id.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jadfer_cli.records import FRAME_STATUSES, UNUSABLE_REASONS, AnnotatedFrame

SCHEMA_VERSION = "1"
FACE_SOURCES = ("detected", "tracked")
BOX_COLUMNS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
QUALITY_COLUMNS = (
    "interocular_px", "blur", "light", "clipped", "mouth_contrast", "yaw_deg", "pitch_deg",
    "roll_deg",
)  # fmt: skip
CATEGORY = pa.dictionary(pa.int32(), pa.string())
Field = tuple[str, pa.DataType, str]  # name, Arrow type, pandas type
# Columns that a later command adds to a result: `jadfer identify`.
PERSON_COLUMNS = ("person", "person_score")
UNKNOWN = "unknown"  # in the column `person`: nobody was recognised
_PERSON_FIELDS: list[Field] = [
    ("person", CATEGORY, "category"),
    ("person_score", pa.float32(), "float32"),
]


def probability_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the probability columns of a model with these labels, in its order."""
    return tuple(f"p_{label}" for label in labels)


def result_schema(labels: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of a result, including pandas' metadata.

    Args:
        labels: The model's labels; a model without contempt has no such column.
    """
    return with_pandas_metadata(result_fields(labels))


def result_fields(labels: Sequence[str]) -> list[Field]:
    """Return the columns of a result with their types, see `result_schema`."""
    return [
        ("video", CATEGORY, "category"),
        ("frame", pa.int32(), "int32"),
        ("time_s", pa.float64(), "float64"),
        ("duration_s", pa.float64(), "float64"),
        ("frame_status", CATEGORY, "category"),
        ("face_detected", pa.bool_(), "bool"),
        ("n_faces", pa.int16(), "int16"),
        ("track_id", pa.int32(), "Int32"),
        ("face_source", CATEGORY, "category"),
        *((name, pa.float32(), "float32") for name in BOX_COLUMNS),
        ("det_score", pa.float32(), "float32"),
        *((name, pa.float32(), "float32") for name in QUALITY_COLUMNS),
        ("usable", pa.bool_(), "boolean"),
        ("unusable_reason", CATEGORY, "category"),
        *((name, pa.float32(), "float32") for name in probability_columns(labels)),
        ("expression", CATEGORY, "category"),
        ("p_max", pa.float32(), "float32"),
        ("entropy", pa.float32(), "float32"),
    ]


def person_schema() -> pa.Schema:
    """Return the Arrow schema of the columns that `jadfer identify` adds."""
    return with_pandas_metadata(_PERSON_FIELDS)


def with_pandas_metadata(fields: Sequence[Field]) -> pa.Schema:
    """Return the Arrow schema of these columns, with the types that pandas gives them."""
    return _with_pandas_metadata(tuple(fields))


@cache  # every part and every file of a result asks for its schema again
def _with_pandas_metadata(fields: tuple[Field, ...]) -> pa.Schema:
    # Without pandas' metadata, Int32 and boolean would be read as float64 and object.
    import pandas as pd

    empty = pd.DataFrame({name: pd.Series([], dtype=dtype) for name, _, dtype in fields})
    metadata = pa.Schema.from_pandas(empty, preserve_index=False).metadata
    return pa.schema([(name, kind) for name, kind, _ in fields], metadata=metadata)


def spread(
    values: npt.NDArray[np.generic], rows: npt.NDArray[np.intp], n_rows: int, kind: pa.DataType
) -> pa.Array:
    """Return a column of `n_rows` with `values` at `rows` and null elsewhere."""
    column = np.zeros(n_rows, values.dtype)
    column[rows] = values
    missing = np.ones(n_rows, bool)
    missing[rows] = False
    return pa.array(column, type=kind, mask=missing)


def category(codes: pa.Array, names: Sequence[str]) -> pa.Array:
    """Return a column of categories from their codes (n,), which may be null."""
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), pa.array(names, pa.string()))


def _reasons(reason: npt.NDArray[np.int32], rows: npt.NDArray[np.intp], n_rows: int) -> pa.Array:
    """Return the column `unusable_reason`, which is null for usable faces too."""
    unusable = np.flatnonzero(reason)
    codes = spread(reason[unusable] - 1, rows[unusable], n_rows, pa.int32())
    return category(codes, UNUSABLE_REASONS)


def result_table(frames: Sequence[AnnotatedFrame], video: str, labels: Sequence[str]) -> pa.Table:
    """Return the rows of some frames.

    Args:
        frames: In ascending order.
        video: Content of the `video` column.
        labels: The model's labels.

    Returns:
        A table of `result_schema(labels)`: one row per face, and one per frame without a face.
    """
    schema = result_schema(labels)
    n_faces = np.array([len(f.faces) for f in frames], np.int64)  # (F,)
    repeat = np.maximum(n_faces, 1)
    n = int(repeat.sum())
    detected = np.repeat(n_faces > 0, repeat)  # (n,)
    rows = np.flatnonzero(detected)  # (m,), the rows that hold a face
    seen = [f for f in frames if len(f.faces)]

    def per_frame(values: Sequence[float], kind: str) -> npt.NDArray[np.generic]:
        return np.repeat(np.array(values, kind), repeat)

    def per_face(arrays: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
        return np.concatenate(arrays) if arrays else np.empty(0, np.float32)

    boxes = per_face([f.faces.boxes_px for f in seen]).reshape(-1, 4)  # (m, 4)
    p = per_face([f.probabilities for f in seen]).reshape(-1, len(labels)).astype(np.float32)
    top = p.argmax(1).astype(np.int32)  # (m,)
    columns: dict[str, pa.Array] = {
        "video": category(pa.array(np.zeros(n, np.int32)), [video]),
        "frame": per_frame([f.index for f in frames], "int32"),
        "time_s": per_frame([f.time_s for f in frames], "float64"),
        "duration_s": per_frame([f.duration_s for f in frames], "float64"),
        "frame_status": category(
            pa.array(per_frame([f.status for f in frames], "int32")), FRAME_STATUSES
        ),
        "face_detected": detected,
        "n_faces": np.repeat(n_faces.astype(np.int16), repeat),
    }

    def add(name: str, values: npt.NDArray[np.generic]) -> None:
        columns[name] = spread(values, rows, n, schema.field(name).type)

    add("track_id", per_face([f.track_ids for f in seen]).astype(np.int32))
    followed = per_face([f.faces.followed for f in seen]).astype(np.int32)
    columns["face_source"] = category(spread(followed, rows, n, pa.int32()), FACE_SOURCES)
    for i, name in enumerate(BOX_COLUMNS):
        add(name, boxes[:, i])
    add("det_score", per_face([f.faces.scores for f in seen]))
    for name in QUALITY_COLUMNS:
        add(name, per_face([getattr(f.quality, name) for f in seen]))
    reason = per_face([f.quality.reason for f in seen]).astype(np.int32)  # (m,), 0 usable
    add("usable", reason == 0)
    columns["unusable_reason"] = _reasons(reason, rows, n)
    for i, name in enumerate(probability_columns(labels)):
        add(name, p[:, i])
    columns["expression"] = category(spread(top, rows, n, pa.int32()), labels)
    add("p_max", p.max(1) if len(p) else np.empty(0, np.float32))
    add("entropy", -(p * np.log(np.maximum(p, 1e-30))).sum(1))
    return pa.table([columns[name] for name in schema.names], schema=schema)
