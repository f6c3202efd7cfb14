"""The columns of a result: names, and types that survive a plain `pandas.read_parquet`.

One row per frame and face; exactly one row, `face_detected` false, for an analysed frame without
a face. Key: (video, frame, track_id); sorted by frame and track_id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jadfer_cli.records import FRAME_STATUSES, UNUSABLE_REASONS, AnnotatedFrame

SCHEMA_VERSION = "1"
FACE_SOURCES = ("detected", "tracked")
BOX_COLUMNS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
QUALITY_COLUMNS = (
    "interocular_px", "blur", "light", "clipped", "mouth_contrast", "yaw_deg", "pitch_deg",
    "roll_deg",
)  # fmt: skip
# Left and right of the image, not of the person.
LANDMARK_NAMES = (
    "image_left_eye",
    "image_right_eye",
    "nose",
    "image_left_mouth",
    "image_right_mouth",
)
LANDMARK_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")

_CATEGORY = pa.dictionary(pa.int32(), pa.string())
_Field = tuple[str, pa.DataType, str]  # name, Arrow type, pandas type
# Columns that a later command adds to a result: `jadfer identify`.
PERSON_COLUMNS = ("person", "person_score")
UNKNOWN = "unknown"  # in the column `person`: nobody was recognised
_PERSON_FIELDS: list[_Field] = [
    ("person", _CATEGORY, "category"),
    ("person_score", pa.float32(), "float32"),
]
_LANDMARK_FIELDS: list[_Field] = [(name, pa.float32(), "float32") for name in LANDMARK_COLUMNS]


def probability_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the probability columns of a model with these labels, in its order."""
    return tuple(f"p_{label}" for label in labels)


def result_schema(labels: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of a result, including pandas' metadata.

    Args:
        labels: The model's labels; a model without contempt has no such column.
    """
    return _with_pandas_metadata(_result_fields(labels))


def part_schema(labels: Sequence[str], *, landmarks: bool) -> pa.Schema:
    """Return the Arrow schema of a part: the result's columns, and on request its landmarks."""
    return _with_pandas_metadata(
        [*_result_fields(labels), *(_LANDMARK_FIELDS if landmarks else ())]
    )


def _result_fields(labels: Sequence[str]) -> list[_Field]:
    return [
        ("video", _CATEGORY, "category"),
        ("frame", pa.int32(), "int32"),
        ("time_s", pa.float64(), "float64"),
        ("duration_s", pa.float64(), "float64"),
        ("frame_status", _CATEGORY, "category"),
        ("face_detected", pa.bool_(), "bool"),
        ("n_faces", pa.int16(), "int16"),
        ("track_id", pa.int32(), "Int32"),
        ("face_source", _CATEGORY, "category"),
        *((name, pa.float32(), "float32") for name in BOX_COLUMNS),
        ("det_score", pa.float32(), "float32"),
        *((name, pa.float32(), "float32") for name in QUALITY_COLUMNS),
        ("usable", pa.bool_(), "boolean"),
        ("unusable_reason", _CATEGORY, "category"),
        *((name, pa.float32(), "float32") for name in probability_columns(labels)),
        ("expression", _CATEGORY, "category"),
        ("p_max", pa.float32(), "float32"),
        ("entropy", pa.float32(), "float32"),
    ]


def person_schema() -> pa.Schema:
    """Return the Arrow schema of the columns that `jadfer identify` adds."""
    return _with_pandas_metadata(_PERSON_FIELDS)


def landmark_schema() -> pa.Schema:
    """Return the Arrow schema of a landmark file: its key, then x and y of five points, px."""
    return _with_pandas_metadata(
        [
            ("video", _CATEGORY, "category"),
            ("frame", pa.int32(), "int32"),
            ("track_id", pa.int32(), "int32"),
            *_LANDMARK_FIELDS,
        ]
    )


def _with_pandas_metadata(fields: Sequence[_Field]) -> pa.Schema:
    # Without pandas' metadata, Int32 and boolean would be read as float64 and object.
    empty = pd.DataFrame({name: pd.Series([], dtype=dtype) for name, _, dtype in fields})
    metadata = pa.Schema.from_pandas(empty, preserve_index=False).metadata
    return pa.schema([(name, kind) for name, kind, _ in fields], metadata=metadata)


def _spread(
    values: npt.NDArray[np.generic], rows: npt.NDArray[np.intp], n_rows: int, kind: pa.DataType
) -> pa.Array:
    """Return a column of `n_rows` with `values` at `rows` and null elsewhere."""
    column = np.zeros(n_rows, values.dtype)
    column[rows] = values
    missing = np.ones(n_rows, bool)
    missing[rows] = False
    return pa.array(column, type=kind, mask=missing)


def _category(codes: pa.Array, names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), pa.array(names, pa.string()))


def _reasons(reason: npt.NDArray[np.int32], rows: npt.NDArray[np.intp], n_rows: int) -> pa.Array:
    """Return the column `unusable_reason`, which is null for usable faces too."""
    unusable = np.flatnonzero(reason)
    codes = _spread(reason[unusable] - 1, rows[unusable], n_rows, pa.int32())
    return _category(codes, UNUSABLE_REASONS)


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
        "video": _category(pa.array(np.zeros(n, np.int32)), [video]),
        "frame": per_frame([f.index for f in frames], "int32"),
        "time_s": per_frame([f.time_s for f in frames], "float64"),
        "duration_s": per_frame([f.duration_s for f in frames], "float64"),
        "frame_status": _category(
            pa.array(per_frame([f.status for f in frames], "int32")), FRAME_STATUSES
        ),
        "face_detected": detected,
        "n_faces": np.repeat(n_faces.astype(np.int16), repeat),
    }

    def add(name: str, values: npt.NDArray[np.generic]) -> None:
        columns[name] = _spread(values, rows, n, schema.field(name).type)

    add("track_id", per_face([f.track_ids for f in seen]).astype(np.int32))
    followed = per_face([f.faces.followed for f in seen]).astype(np.int32)
    columns["face_source"] = _category(_spread(followed, rows, n, pa.int32()), FACE_SOURCES)
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
    columns["expression"] = _category(_spread(top, rows, n, pa.int32()), labels)
    add("p_max", p.max(1) if len(p) else np.empty(0, np.float32))
    add("entropy", -(p * np.log(np.maximum(p, 1e-30))).sum(1))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def landmark_table(frames: Sequence[AnnotatedFrame], video: str) -> pa.Table:
    """Return the landmarks of some frames: one row per face, a table of `landmark_schema()`."""
    seen = [f for f in frames if len(f.faces)]
    schema = landmark_schema()
    if not seen:
        return schema.empty_table()
    points = np.concatenate([f.faces.landmarks_px for f in seen]).reshape(-1, 10)  # (m, 10)
    frame = np.repeat(np.array([f.index for f in seen], np.int32), [len(f.faces) for f in seen])
    columns = [
        _category(pa.array(np.zeros(len(points), np.int32)), [video]),
        frame,
        np.concatenate([f.track_ids for f in seen]),
        *points.T.copy(),
    ]
    return pa.table([pa.array(column) for column in columns], schema=schema)


def part_table(
    frames: Sequence[AnnotatedFrame], video: str, labels: Sequence[str], *, landmarks: bool
) -> pa.Table:
    """Return the rows of some frames as a table of `part_schema(labels, landmarks=landmarks)`."""
    table = result_table(frames, video, labels)
    if landmarks:
        points = landmark_table(frames, video)
        rows = np.flatnonzero(table["face_detected"].to_numpy())
        for name in LANDMARK_COLUMNS:
            values = points[name].to_numpy()
            table = table.append_column(name, _spread(values, rows, len(table), pa.float32()))
    return table.replace_schema_metadata(part_schema(labels, landmarks=landmarks).metadata)


def result_of(part: pa.Table, video: str, labels: Sequence[str]) -> pa.Table:
    """Return the rows of a result from those of a part."""
    schema = result_schema(labels)
    part = part.set_column(0, "video", _category(pa.array(np.zeros(len(part), np.int32)), [video]))
    return part.select(schema.names).cast(schema)


def landmarks_of(part: pa.Table, video: str) -> pa.Table:
    """Return the rows of a landmark file from those of a part with landmarks."""
    schema = landmark_schema()
    part = part.filter(part["face_detected"])
    part = part.set_column(0, "video", _category(pa.array(np.zeros(len(part), np.int32)), [video]))
    return part.select(schema.names).cast(schema)
