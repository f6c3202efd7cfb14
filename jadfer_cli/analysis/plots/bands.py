"""What a plot draws in a colour of its own: the legend names exactly this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jadfer_cli.analysis.frame_times import Floats, Ints
from jadfer_cli.analysis.plots.colours import OTHERS, colours_of
from jadfer_cli.analysis.plots.timelines import Chart
from jadfer_cli.text import one_line

MIN_PEAK = 0.02  # labels that stay below it everywhere are hardly wider than a line
_MIN_SUM = 0.001  # a band of the others below it is thinner than a pixel
OTHERS_NAME = "others, each below 2%"


@dataclass(frozen=True)
class Band:
    """A band of a stack, or a line.

    Attributes:
        name: A label, or `OTHERS_NAME`.
        colour: As #rrggbb.
        columns: int64 (k,), which probabilities it is the sum of; one, unless it is the others.
    """

    name: str
    colour: str
    columns: Ints

    def of(self, p: Floats) -> Floats:
        """Return its values, float64 (n,), from probabilities (n, K)."""
        total: Floats = p[:, self.columns].sum(axis=1)
        return total


def bands(chart: Chart, *, stacked: bool) -> list[Band]:
    """Return what is drawn and named, in the order of the labels, the others last.

    A label gets its own band if it reaches 2 % in a drawn track, or if the chart is of chosen
    labels. A stack shows the sum of the others, if there is anything to see; lines leave them out.

    Args:
        chart: What the plot shows.
        stacked: Whether the probabilities are stacked rather than drawn as a line each.
    """
    colours, minor = colours_of(chart.labels), _minor(chart)
    found = [
        Band(label, colours[label], np.array([k]))
        for k, label in enumerate(chart.labels)
        if k not in minor
    ]
    others = Band(OTHERS_NAME, OTHERS, np.array(minor, np.int64))
    sums = [others.of(track.probabilities) for track in chart.tracks]
    if stacked and minor and max((_peak(total) for total in sums), default=0.0) >= _MIN_SUM:
        found.append(others)
    return found


def left_out_note(chart: Chart, *, stacked: bool) -> str:
    """Return which labels have no line, in words; empty if all have one, or it is a stack."""
    names = [one_line(chart.labels[k]) for k in _minor(chart)]
    return "" if stacked or not names else f"Below 2%, not drawn: {', '.join(names)}."


def _minor(chart: Chart) -> Sequence[int]:
    """The labels without a band of their own: two or more that stay below 2 % everywhere."""
    if chart.chosen or not chart.tracks:
        return ()
    highest = [
        max(_peak(track.probabilities[:, k]) for track in chart.tracks)
        for k in range(len(chart.labels))
    ]
    minor = [k for k, p in enumerate(highest) if p < MIN_PEAK]
    return minor if len(minor) > 1 else ()


def _peak(values: Floats) -> float:
    """The highest value; 0 if there is none."""
    return float(np.fmax.reduce(values, initial=0.0))
