"""The rows of a result as a Table Schema, `rows.schema.json`, which programs in any language read.

Table Schema is a standard of Frictionless Data: https://specs.frictionlessdata.io/table-schema/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import pyarrow as pa

from jadfer_cli.labels import LABELS
from jadfer_cli.records import FRAME_STATUSES, UNUSABLE_REASONS
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.schema import (
    FACE_SOURCES,
    SCHEMA_VERSION,
    probability_columns,
    result_fields,
)

# Every row has them; the others are null in a row without a face.
_ALWAYS = (
    "video", "frame", "time_s", "duration_s", "frame_status", "face_detected", "n_faces",
)  # fmt: skip
_FROM_0_TO_1 = ("det_score", "blur", "light", "clipped", "p_max")
_FROM_0 = ("frame", "duration_s", "n_faces", "track_id", "interocular_px", "mouth_contrast",
           "entropy")  # fmt: skip


def stored_rows_schema() -> dict[str, Any]:
    """Return the Table Schema that is part of the installation, of the shipped model's labels."""
    text = resources.files(__package__).joinpath("rows.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def rows_schema(labels: Sequence[str] = LABELS, scores: str | None = "votes") -> dict[str, Any]:
    """Describe the columns of a result: name, type, unit, meaning, and what values are allowed.

    Args:
        labels: The model's labels; each has a probability column.
        scores: What the probabilities mean, see `column_descriptions`.

    Returns:
        A Table Schema. `arrowType` and `unit` are additions to the standard.
    """
    described = column_descriptions(labels, scores)
    kinds = {name: kind for name, kind, _ in result_fields(labels)}
    return {
        "$schema": "https://specs.frictionlessdata.io/schemas/table-schema.json",
        "title": "Rows of a jadfer result",
        "description": "One row per frame and face, and one row for a frame without a face. "
        "Commands such as `jadfer smooth` add columns after these.",
        "version": SCHEMA_VERSION,
        "fields": [_field(name, kinds[name], told, labels) for name, told in described.items()],
        "uniqueKeys": [["video", "frame", "track_id"]],
        "missingValues": [""],
    }


def _field(
    name: str, kind: pa.DataType, told: dict[str, str], labels: Sequence[str]
) -> dict[str, Any]:
    value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = (
        ("string", pa.types.is_string), ("boolean", pa.types.is_boolean),
        ("integer", pa.types.is_integer), ("number", pa.types.is_floating),
    )  # fmt: skip
    field: dict[str, Any] = {
        "name": name,
        "type": next(word for word, holds in types if holds(value_type)),
        "description": told["Description"],
    }
    if "Units" in told:
        field["unit"] = told["Units"]
    field["arrowType"] = str(value_type)
    if constraints := _constraints(name, labels):
        field["constraints"] = constraints
    return field


def _constraints(name: str, labels: Sequence[str]) -> dict[str, Any]:
    constraints: dict[str, Any] = {"required": True} if name in _ALWAYS else {}
    if name in _FROM_0_TO_1 or name in probability_columns(labels):
        constraints |= {"minimum": 0, "maximum": 1}
    elif name in _FROM_0:
        constraints["minimum"] = 0
    words = {
        "frame_status": FRAME_STATUSES, "face_source": FACE_SOURCES,
        "unusable_reason": UNUSABLE_REASONS, "expression": labels,
    }  # fmt: skip
    if name in words:
        constraints["enum"] = list(words[name])
    return constraints
