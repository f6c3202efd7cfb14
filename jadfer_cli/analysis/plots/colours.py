"""One colour an expression, the same in every picture."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito's set (2008), which colour-blind people tell apart, but for neutral (a light
# slate: it fills most charts, and greys mean "unusable") and fear (Paul Tol's wine).
COLOURS = {
    "neutral": "#A7B7C9",
    "happiness": "#E69F00",
    "surprise": "#F0E442",
    "sadness": "#0072B2",
    "anger": "#D55E00",
    "disgust": "#009E73",
    "fear": "#882255",
    "contempt": "#56B4E9",
}
# for labels of other models, in turn
FURTHER = ("#CC79A7", "#332288", "#999933", "#000000", "#44AA99", "#AA4499", "#DDCC77", "#661100")
UNUSABLE, ABSENT = "#8C8C8C", "#E9E9E9"


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """The colour of each label as #rrggbb; unknown labels get further colours, in their order."""
    unknown = [label for label in labels if label not in COLOURS]
    return {
        label: COLOURS.get(label) or FURTHER[unknown.index(label) % len(FURTHER)]
        for label in labels
    }
