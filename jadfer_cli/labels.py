"""What expressions are called in data sets and by people."""

from __future__ import annotations

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
