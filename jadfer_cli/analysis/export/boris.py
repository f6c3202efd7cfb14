"""Events in the columns that BORIS writes with "Export aggregated events" as CSV.

This is the table that users of BORIS analyse in R or pandas: one row per state event, with start
and stop. BORIS itself cannot open it: it reads observations only from projects and spreadsheets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.tabular import write_table
from jadfer_cli.results.paths import display_names

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet

# BORIS 8 and 9, boris/export_events.py; it adds modifiers and independent variables only if a
# project has some
COLUMNS = (
    "Observation id", "Observation date", "Description", "Observation type", "Source",
    "Time offset (s)", "Coding duration", "Media duration (s)", "FPS (frame/s)", "Subject",
    "Observation duration by subject by observation", "Behavior", "Behavioral category",
    "Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name",
    "Image index start", "Image index stop", "Image file path start", "Image file path stop",
    "Comment start", "Comment stop",
)  # fmt: skip
_MISSING = "NA"  # as BORIS writes it, and R reads it


def write(event_sets: Sequence[EventSet], out: Path) -> None:
    """Write the events of all results into one CSV file.

    Raises:
        OutputError: The file cannot be written.
    """
    import pandas as pd

    # analyses group by observation id, so two results must not share one
    names = display_names(events.result.path for events in event_sets)
    rows = []
    for events in event_sets:
        rows += _rows(events, names[str(events.result.path)])
    write_table(pd.DataFrame(rows, columns=list(COLUMNS)), out)


def _rows(event_set: EventSet, observation_id: str) -> list[tuple[object, ...]]:
    """The rows of one result in the order of BORIS: by subject, behaviour and start."""
    metadata = event_set.result.metadata
    duration = f"{event_set.end_s:.3f}"
    fps = metadata["video"].get("nominal_fps")
    observation = (
        observation_id,
        str(metadata.get("created", _MISSING)).replace("T", " ")[:19],
        "",
        "Media file",
        f"player #1:{event_set.video}",
        0,
        duration,
        duration,
        _MISSING if fps is None else f"{fps:.3f}",
    )
    order = {label: i for i, label in enumerate(event_set.expressions)}
    events = sorted(
        zip(event_set.subject.tolist(), event_set.records(), strict=True),
        key=lambda each: (each[0], order[each[1].expression], each[1].onset_s),
    )
    total_s = event_set.events["duration_s"].groupby(event_set.subject).sum()  # as BORIS sums it
    return [
        (
            *observation,
            event_set.subjects[number],
            f"{total_s[number]:.3f}",
            event.expression,
            "Facial expression",
            "STATE",
            f"{event.onset_s:.3f}",
            f"{event.offset_s:.3f}",
            f"{event.duration_s:.3f}",
            event_set.video,
            event.onset_frame,
            event.offset_frame,
            _MISSING,
            _MISSING,
            f"apex {event.apex_s:.3f} s, p {event.p_apex:.3f}",
            f"truncated: {event.truncated}" if event.truncated else "",
        )
        for number, event in events
    ]


EXPORTERS = (
    Exporter(
        name="boris",
        title="BORIS",
        suffixes=(".csv",),
        help="aggregated events as BORIS exports them",
        write=write,
        many_results=True,
        chosen_by_suffix=False,  # .csv is a plain table
        in_player=True,
        file_name=lambda result: f"{result}_boris.csv",
    ),
)
