"""Praat TextGrids, by pympi-ling."""

from __future__ import annotations

from pathlib import Path

from pympi.Praat import TextGrid

from jadfer_cli.analysis.events import EventSet
from jadfer_cli.analysis.export.tiers import end_ms, tiers
from jadfer_cli.common import atomic_write


def write(found: EventSet, out: Path) -> None:
    """Writes the events of one result as a TextGrid, whole or not at all.

    Interval tiers from 0 to the end of the video, without gaps: where there is no event stands
    an interval without text.

    Raises:
        OutputError: It cannot be written.
    """
    grid = TextGrid(xmin=0, xmax=end_ms(found) / 1000)
    for tier in tiers(found):
        made = grid.add_tier(tier.name)
        for span in tier.spans:
            # what pympi would check, each against all others, holds by how tiers are made
            made.add_interval(span.start_ms / 1000, span.end_ms / 1000, span.label, check=False)
    with atomic_write(out) as part:
        grid.to_file(part)
