"""The expressions, what data sets and people call them, and the facial actions."""

from __future__ import annotations

import re

# The order of FER+'s vote columns, and of the probability columns of every result.
LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_SYNONYMS = {
    "neutral": ("neutrality", "ne"),
    "happiness": ("happy", "joy", "ha"),
    "surprise": ("surprised", "su"),
    "sadness": ("sad", "sa"),
    "anger": ("angry", "an"),
    "disgust": ("disgusted", "di"),
    "fear": ("fearful", "afraid", "scared", "fe", "af"),
    "contempt": ("contemptuous", "co"),
}
# each known name in lower case, with its expression: happy is happiness
BY_NAME = {
    name: expression for expression, names in _SYNONYMS.items() for name in (expression, *names)
}

# Names of the blendshapes, as in ARKit; "left" is the person's own left. `_neutral` is unused.
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip


def snake_case(blendshape: str) -> str:
    """The name of a blendshape in snake case: `mouth_smile_left` of "mouthSmileLeft"."""
    return re.sub(r"(?=[A-Z])", "_", blendshape).lower().lstrip("_")


# Columns of the actions of a face: its blendshapes, 0 to 1, then measures of its mesh.
ACTION_COLUMNS = tuple(f"a_{snake_case(name)}" for name in BLENDSHAPES)
MEASURE_COLUMNS = (
    "ear_left", "ear_right", "gaze_yaw_left_deg", "gaze_yaw_right_deg", "gaze_pitch_left_deg",
    "gaze_pitch_right_deg", "mouth_opening", "mesh_yaw_deg", "mesh_pitch_deg", "mesh_roll_deg",
    "mesh_presence",
)  # fmt: skip
