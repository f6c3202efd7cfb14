"""Rows under the names, in the units and with the signs of py-feat and OpenFace.

Sources, for the columns, units and signs in `TOOLS`:

- py-feat 0.6: names from `feat/utils/__init__.py` (FEAT_FACEBOX_COLUMNS, FEAT_EMOTION_COLUMNS,
  FEAT_FACEPOSE_COLUMNS_3D); degrees and signs from `convert_to_euler` in
  `feat/facepose_detectors/utils.py`: the camera's x axis points right, y down and z away, so yaw is
  positive towards the left edge of the image, pitch upwards, and roll clockwise in the image.
  py-feat 0.7 stores radians instead (github.com/cosanlab/py-feat/issues/248).
- OpenFace 2.2: names from its wiki, page Output-Format. Rotations are in radians around the same
  axes, R = Rx Ry Rz (`Euler2RotationMatrix`): positive pose_Rx looks down, pose_Ry turns towards
  the left edge of the image, pose_Rz tilts clockwise in the image. A user measured the first two:
  github.com/TadasBaltrusaitis/OpenFace/issues/966.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

# py-feat's order of the labels, which have the same names here
PYFEAT_LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
PYFEAT_BOX = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")


@dataclass(frozen=True)
class Tool:
    """Another tool that annotates faces.

    Attributes:
        name: What --columns takes.
        title: Its name and the version whose columns are written.
        rows: Converts rows of a result, given the model's labels.
        descriptions: What each column holds.
        lacks: What its files have and these do not, as a sentence.
    """

    name: str
    title: str
    rows: Callable[[pd.DataFrame, Sequence[str]], pd.DataFrame]
    descriptions: dict[str, str]
    lacks: str


def _pyfeat_rows(rows: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    columns = {
        "frame": rows["frame"],
        "FaceRectX": rows["bbox_x1"],
        "FaceRectY": rows["bbox_y1"],
        "FaceRectWidth": rows["bbox_x2"] - rows["bbox_x1"],
        "FaceRectHeight": rows["bbox_y2"] - rows["bbox_y1"],
        "FaceScore": rows["det_score"],
        "Pitch": rows["pitch_deg"],
        "Roll": rows["roll_deg"],
        "Yaw": 0.0 - rows["yaw_deg"],
    }
    for label in PYFEAT_LABELS:
        # a label that the model does not have was not measured
        columns[label] = rows[f"p_{label}"] if label in labels else pd.Series(np.nan, rows.index)
    return pd.DataFrame(columns | {"input": rows["video"]})


def _openface_rows(rows: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    has_face = rows["face_detected"].to_numpy(bool)
    # without a face, OpenFace writes success 0 and zeros
    return pd.DataFrame(
        {
            "frame": rows["frame"] + 1,
            "face_id": rows["track_id"].fillna(0).astype("int32"),
            "timestamp": rows["time_s"],
            "confidence": rows["det_score"].fillna(0),
            "success": has_face.astype(np.int8),
            "pose_Rx": np.deg2rad(0.0 - rows["pitch_deg"]).fillna(0),
            "pose_Ry": np.deg2rad(0.0 - rows["yaw_deg"]).fillna(0),
            "pose_Rz": np.deg2rad(rows["roll_deg"]).fillna(0),
        }
    )


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "pyfeat",
            "py-feat 0.6",
            _pyfeat_rows,
            {
                "frame": "0-based index of the frame",
                "FaceRectX": "Left edge of the face's box, px",
                "FaceRectY": "Top edge of the face's box, px",
                "FaceRectWidth": "Width of the face's box, px",
                "FaceRectHeight": "Height of the face's box, px",
                "FaceScore": "Confidence of jadfer's detector, 0 to 1",
                "Pitch": "Head nod, degrees: positive upwards",
                "Roll": "Head tilt, degrees: positive clockwise as seen in the image",
                "Yaw": "Head turn, degrees: positive towards the image's left edge",
                **{name: f"Probability of {name} by jadfer's model" for name in PYFEAT_LABELS},
                "input": "Path of the video",
            },
            "The columns of py-feat have no contempt, so the seven emotions need not sum to 1. "
            "Action units and 68 landmarks are missing: jadfer does not measure them.",
        ),
        Tool(
            "openface",
            "OpenFace 2.2",
            _openface_rows,
            {
                "frame": "1-based number of the frame",
                "face_id": "ID of the face track",
                "timestamp": "Presentation time, s",
                "confidence": "Confidence of jadfer's detector, 0 to 1; 0 without a face",
                "success": "1 with a face, otherwise 0",
                "pose_Rx": "Pitch, radians: positive downwards",
                "pose_Ry": "Yaw, radians: positive towards the image's left edge",
                "pose_Rz": "Roll, radians: positive clockwise as seen in the image",
            },
            "OpenFace has no columns for expressions, so these are left out. Action units, gaze, "
            "landmarks and pose_T are missing: jadfer does not measure them.",
        ),
    )
}


def tool_named(name: str) -> Tool:
    """Return the tool that --columns names.

    Raises:
        OptionError: There is no such tool.
    """
    if name not in TOOLS:
        raise OptionError(f"`columns` must be jadfer, {' or '.join(TOOLS)}, not {name}.")
    return TOOLS[name]
