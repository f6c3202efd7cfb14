"""Events as a table with one row per event: CSV, TSV, JSON, JSON Lines and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.tabular import table_endings, write_table

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet


def write(event_sets: Sequence[EventSet], out: Path) -> None:
    """Write the events of all results into one table.

    Raises:
        OutputError: The file cannot be written.
    """
    from jadfer_cli.analysis.events import joined

    write_table(joined(event_sets), out)


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


EXPORTERS = tuple(map(_exporter, table_endings()))
