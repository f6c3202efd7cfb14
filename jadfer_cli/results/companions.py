"""Files of their own beside a result: landmarks, actions and meshes, only if they were asked for.

One row per face, under the key of the result: video, frame, track_id. While a result is
unfinished, its parts hold these columns beside its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.records import Actions, AnnotatedFrame
from jadfer_cli.results.schema import (
    CATEGORY,
    Field,
    category,
    result_fields,
    result_schema,
    result_table,
    with_pandas_metadata,
)

# Left and right of the image, not of the person.
LANDMARK_NAMES = (
    "image_left_eye",
    "image_right_eye",
    "nose",
    "image_left_mouth",
    "image_right_mouth",
)
LANDMARK_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")
LANDMARKS, ACTIONS, MESH = "landmarks", "actions", "mesh"
MESH_COLUMN = "mesh_px"

KEY_FIELDS: list[Field] = [
    ("video", CATEGORY, "category"),
    ("frame", pa.int32(), "int32"),
    ("track_id", pa.int32(), "int32"),
]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Companion:
    """A file beside a result.

    Attributes:
        name: clip.NAME.parquet lies beside clip.parquet.
        fields: Its columns after the key.
        values: Gives float32 (n, K), the values of a frame's n faces in the order of its columns;
            all K belong to one column if there is only one.
        described: A sidecar of its own describes the columns.
    """

    name: str
    fields: tuple[Field, ...]
    values: Callable[[AnnotatedFrame], Values]
    described: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns after the key."""
        return tuple(name for name, _, _ in self.fields)

    def schema(self) -> pa.Schema:
        """Return the Arrow schema of the file, including pandas' metadata."""
        return with_pandas_metadata([*KEY_FIELDS, *self.fields])

    def arrays(self, frames: Sequence[AnnotatedFrame]) -> list[pa.Array]:
        """Return the columns after the key, with one value per row of the result of `frames`."""
        n_faces = np.array([len(frame.faces) for frame in frames], np.int64)  # (F,)
        is_face = np.repeat(n_faces > 0, np.maximum(n_faces, 1))  # (n,), rows of the result
        seen = [self.values(frame) for frame in frames if len(frame.faces)]
        if not seen:
            return [pa.nulls(len(is_face), kind) for _, kind, _ in self.fields]
        values = np.full((len(is_face), seen[0].shape[1]), np.nan, np.float32)
        values[is_face] = np.concatenate(seen)  # (n, K)
        if len(self.fields) > 1:
            return [pa.array(column.copy(), from_pandas=True) for column in values.T]
        lists = [None if np.isnan(row[0]) else row for row in values]
        return [pa.array(lists, self.fields[0][1])]


def _float_fields(names: Sequence[str]) -> tuple[Field, ...]:
    return tuple((name, pa.float32(), "float32") for name in names)


def _landmarks(frame: AnnotatedFrame) -> Values:
    return frame.faces.landmarks_px.reshape(-1, len(LANDMARK_COLUMNS))


def _actions(frame: AnnotatedFrame) -> Values:
    return _wanted(frame).values


def _mesh(frame: AnnotatedFrame) -> Values:
    points = _wanted(frame).points_px
    if points is None:
        raise ValueError("the frames hold no meshes")
    return points.reshape(len(points), -1)


def _wanted(frame: AnnotatedFrame) -> Actions:
    if frame.actions is None:
        raise ValueError("the frames hold no actions")
    return frame.actions


COMPANIONS = {
    each.name: each
    for each in (
        Companion(LANDMARKS, _float_fields(LANDMARK_COLUMNS), _landmarks),
        Companion(
            ACTIONS, _float_fields((*ACTION_COLUMNS, *MEASURE_COLUMNS)), _actions, described=True
        ),
        Companion(MESH, ((MESH_COLUMN, pa.list_(pa.float32()), "object"),), _mesh),
    )
}


def companions_of(options: AnnotateOptions) -> tuple[str, ...]:
    """Return the names of the files that these options ask for."""
    return tuple(name for name in COMPANIONS if getattr(options, name))


def part_schema(labels: Sequence[str], companions: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of a part: the columns of the result and of its companions."""
    fields = [field for name in companions for field in COMPANIONS[name].fields]
    return with_pandas_metadata([*result_fields(labels), *fields])


def part_table(
    frames: Sequence[AnnotatedFrame], video: str, labels: Sequence[str], companions: Sequence[str]
) -> pa.Table:
    """Return the rows of some frames as a table of `part_schema(labels, companions)`.

    Args:
        frames: In ascending order.
        video: Content of the `video` column.
        labels: The model's labels.
        companions: Names of the files beside the result.
    """
    columns = list(result_table(frames, video, labels).columns)
    for name in companions:
        columns += COMPANIONS[name].arrays(frames)
    return pa.table(columns, schema=part_schema(labels, companions))


def result_of(part: pa.Table, video: str, labels: Sequence[str]) -> pa.Table:
    """Return the rows of a result from those of a part."""
    schema = result_schema(labels)
    return _renamed(part, video).select(schema.names).cast(schema)


def companion_of(part: pa.Table, video: str, name: str) -> pa.Table:
    """Return the rows of a file beside a result from those of a part."""
    schema = COMPANIONS[name].schema()
    faces = part.filter(part["face_detected"])
    return _renamed(faces, video).select(schema.names).cast(schema)


def _renamed(part: pa.Table, video: str) -> pa.Table:
    codes = pa.array(np.zeros(len(part), np.int32))
    return part.set_column(0, "video", category(codes, [video]))
