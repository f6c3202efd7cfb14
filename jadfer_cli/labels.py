"""The expressions, and what data sets and people call them."""

from __future__ import annotations

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
