"""Praat TextGrids, written with pympi-ling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pympi.Praat import TextGrid

from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.export.tiers import end_ms, tiers
from jadfer_cli.common import atomic_write
from jadfer_cli.text import one_line

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet


def write(event_sets: Sequence[EventSet], out: Path) -> None:
    """Write the events of one result as a TextGrid.

    Its interval tiers run from 0 to the end of the video without gaps: the time between events is
    an interval without text.

    Raises:
        OutputError: The file cannot be written.
    """
    (events,) = event_sets
    grid = TextGrid(xmin=0, xmax=end_ms(events) / 1000)
    for tier in tiers(events):
        written = grid.add_tier(_quotable(tier.name))
        for interval in tier.intervals:
            # unchecked: pympi compares each with all others, and tiers never overlap
            written.add_interval(
                interval.start_ms / 1000,
                interval.end_ms / 1000,
                _quotable(interval.label),
                check=False,
            )
    with atomic_write(out) as part:
        grid.to_file(part)


def _quotable(text: str) -> str:
    """The text as it stands between quotation marks, which pympi does not double itself."""
    return one_line(text).replace('"', '""')


EXPORTERS = (
    Exporter("textgrid", "Praat", (".TextGrid",), "tiers for Praat", write, in_player=True),
)
