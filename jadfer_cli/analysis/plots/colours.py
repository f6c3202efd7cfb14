"""One colour per expression, the same in every plot and overlay."""

from __future__ import annotations

from collections.abc import Sequence

# The palette of Okabe and Ito (2008), which colour-blind people can distinguish, except for
# neutral (light slate: it fills most of a chart, and grey means "unusable") and fear (wine, from
# the palette of Paul Tol).
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
# for labels that are not in COLOURS, in order
FURTHER = ("#CC79A7", "#332288", "#999933", "#000000", "#44AA99", "#AA4499", "#DDCC77", "#661100")
# Behind a line in a colour that white paper hides; a darker yellow would look like the green to
# people with a red-green deficiency.
CASING, _MIN_CONTRAST = "#5C5300", 2.0
UNUSABLE, ABSENT = "#8C8C8C", "#E9E9E9"
OTHERS = "#222222"  # the sum of the expressions that have no band of their own


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """Return the colour of each label as #rrggbb; unknown labels get those of FURTHER."""
    unknown = [label for label in labels if label not in COLOURS]
    return {
        label: COLOURS.get(label) or FURTHER[unknown.index(label) % len(FURTHER)]
        for label in labels
    }


def needs_casing(colour: str) -> bool:
    """Whether a line of this colour, #rrggbb, needs a darker one behind it on white paper."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    # relative luminance and contrast as WCAG 2.2 defines them
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05) < _MIN_CONTRAST
