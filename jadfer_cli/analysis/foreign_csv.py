"""Reads what py-feat and OpenFace measured: faces as jadfer names them, nothing invented.

The units and signs of both, with their sources, are in `formats/other_tools.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from jadfer_cli.analysis.formats.other_tools import PYFEAT_BOX, PYFEAT_LABELS
from jadfer_cli.errors import ResultError
from jadfer_cli.labels import LABELS

_POINTS = 68
# Points of the eyes among the 68 landmarks, which both tools number alike (iBUG 300-W).
_LEFT_EYE, _RIGHT_EYE = range(36, 42), range(42, 48)


@dataclass(frozen=True)
class ForeignFaces:
    """The contents of a file of another tool.

    Attributes:
        tool: Its name, with what the columns tell about its version.
        labels: The expressions it scored, in jadfer's order; none for OpenFace.
        faces: One row per row of the file: `frame` (0-based), `time_s` (NaN if not stored),
            `detected`, `identity` (an ID, or -1), and columns of `results.schema` as far as the
            file has them.
        videos: The videos that the file names.
        notes: What is missing, and what was assumed.
    """

    tool: str
    labels: tuple[str, ...]
    faces: pd.DataFrame
    videos: tuple[str, ...]
    notes: tuple[str, ...]


def read_foreign(path: Path) -> ForeignFaces:
    """Read a CSV file of py-feat or OpenFace.

    Raises:
        ResultError: The file cannot be read, is of neither tool, or lacks needed columns.
    """
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except FileNotFoundError as error:
        raise ResultError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:  # pandas' errors are ValueErrors
        raise ResultError(f"{path} cannot be read as CSV: {error}.") from error
    table.columns = table.columns.str.strip()
    try:
        if {"frame", *PYFEAT_BOX} <= set(table.columns):
            return _pyfeat(table)
        if {"frame", "timestamp", "success", "confidence"} <= set(table.columns):
            return _openface(table, path)
    except (ValueError, TypeError) as error:
        raise ResultError(f"{path} has a value that is no number: {error}.") from error
    raise ResultError(
        f"{path} is neither a table of py-feat nor one of OpenFace.",
        "py-feat's has columns frame, FaceRectX, ...; OpenFace's frame, timestamp, success, ...",
    )


def _pyfeat(table: pd.DataFrame) -> ForeignFaces:
    x, y, width, height = (table[name].astype(float) for name in PYFEAT_BOX)
    faces = pd.DataFrame({"frame": table["frame"].astype("int64"), "time_s": np.nan})
    faces["detected"] = np.isfinite(x) & np.isfinite(width)
    faces["bbox_x1"], faces["bbox_y1"] = x, y
    faces["bbox_x2"], faces["bbox_y2"] = x + width, y + height
    faces["det_score"] = table.get("FaceScore", np.nan)
    notes = [
        "Tracks, blur and the usable rule of jadfer are missing: usable is true for each face."
    ]
    if {"Pitch", "Roll", "Yaw"} <= set(table.columns) and "X" not in table.columns:
        faces["pitch_deg"], faces["roll_deg"] = table["Pitch"], table["Roll"]
        faces["yaw_deg"] = 0.0 - table["Yaw"]
    else:
        notes.append(
            "Head angles are missing: jadfer knows the unit and signs of py-feat up to 0.6 only."
        )
    labels = tuple(label for label in LABELS if label in table.columns and label in PYFEAT_LABELS)
    for label in labels:
        faces[f"p_{label}"] = table[label].astype(float)
    faces["identity"] = -1
    if "Identity" in table.columns:
        faces["identity"] = pd.factorize(table["Identity"])[0]
    _add_eyes(faces, table)
    videos = table["input"].dropna().astype(str).unique() if "input" in table else ()
    notes.append("Scores are as py-feat wrote them, not calibrated by jadfer.")
    return ForeignFaces("py-feat", labels, faces, tuple(videos), tuple(notes))


def _openface(table: pd.DataFrame, path: Path) -> ForeignFaces:
    points = {f"{axis}_{i}" for axis in "xy" for i in range(_POINTS)}
    if not points <= set(table.columns):
        raise ResultError(
            f"{path} has no landmarks, so it does not say where the faces are.",
            "Run OpenFace with -2Dfp, or with all its outputs.",
        )
    x = table[[f"x_{i}" for i in range(_POINTS)]].astype(float)
    y = table[[f"y_{i}" for i in range(_POINTS)]].astype(float)
    faces = pd.DataFrame({"frame": table["frame"].astype("int64") - 1})
    faces["time_s"] = table["timestamp"].astype(float)
    faces["detected"] = table["success"].astype(float) > 0
    faces["bbox_x1"], faces["bbox_y1"] = x.min(axis=1), y.min(axis=1)
    faces["bbox_x2"], faces["bbox_y2"] = x.max(axis=1), y.max(axis=1)
    faces["det_score"] = table["confidence"].astype(float)
    if {"pose_Rx", "pose_Ry", "pose_Rz"} <= set(table.columns):
        faces["pitch_deg"] = 0.0 - np.rad2deg(table["pose_Rx"])
        faces["yaw_deg"] = 0.0 - np.rad2deg(table["pose_Ry"])
        faces["roll_deg"] = np.rad2deg(table["pose_Rz"])
    faces["identity"] = table["face_id"].astype("int64") if "face_id" in table else 0
    _add_eyes(faces, table)
    return ForeignFaces(
        "OpenFace", (), faces, (),
        (
            "OpenFace does not score expressions: there are no labels and no probabilities. "
            "Action units and gaze are not taken over.",
            "Boxes enclose the 68 landmarks. usable is true where OpenFace reports success.",
        ),
    )  # fmt: skip


def _add_eyes(faces: pd.DataFrame, table: pd.DataFrame) -> None:
    """Add the distance between the centres of the eyes, if there are landmarks."""
    if f"x_{_POINTS - 1}" not in table:
        return
    centres = [
        [table[[f"{axis}_{i}" for i in eye]].astype(float).mean(axis=1) for axis in "xy"]
        for eye in (_LEFT_EYE, _RIGHT_EYE)
    ]
    (left_x, left_y), (right_x, right_y) = centres
    faces["interocular_px"] = np.hypot(right_x - left_x, right_y - left_y)
