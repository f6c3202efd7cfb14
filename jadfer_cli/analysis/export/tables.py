"""Events as a table with one row per event, in every format of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.formats.base import TextStyle
from jadfer_cli.analysis.tabular import table_endings, write_table

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet


def write(
    event_sets: Sequence[EventSet],
    out: Path,
    style: TextStyle = TextStyle(),  # noqa: B008 - frozen
) -> None:
    """Write the events of all results into one table.

    Args:
        event_sets: The events of each result.
        out: The file.
        style: Of .csv and .tsv.

    Raises:
        OutputError: The file cannot be written.
    """
    from jadfer_cli.analysis.events import joined

    write_table(joined(event_sets), out, style)


def _exporter(suffix: str) -> Exporter:
    name = suffix.removeprefix(".")
    return Exporter(
        name=name,
        title=name.upper(),
        suffixes=(suffix,),
        help="one row per event",
        write=write,
        many_results=True,
        # clip.json is the sidecar of clip.parquet, so the table is called clip.events.json
        file_name=lambda result: f"{result}.events{suffix}",
    )


def styled(exporter: Exporter, style: TextStyle) -> Exporter:
    """Return an exporter that writes its .csv and .tsv in this style; others are unchanged."""
    return (
        replace(exporter, write=partial(write, style=style)) if exporter in EXPORTERS else exporter
    )


EXPORTERS = tuple(map(_exporter, table_endings()))
