"""Events in the columns of BORIS: what its "Export aggregated events" writes as CSV.

That is the table that BORIS's users analyse in R or pandas: a row a state event with start and
stop. BORIS itself reads observations from its own projects and spreadsheets only, no CSV.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from jadfer_cli.analysis.events import EventSet
from jadfer_cli.analysis.export.tiers import subject_name
from jadfer_cli.analysis.tabular import write_table

# BORIS 8 and 9, boris/export_events.py; modifiers and independent variables come only where
# a project has some
COLUMNS = (
    "Observation id", "Observation date", "Description", "Observation type", "Source",
    "Time offset (s)", "Coding duration", "Media duration (s)", "FPS (frame/s)", "Subject",
    "Observation duration by subject by observation", "Behavior", "Behavioral category",
    "Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name",
    "Image index start", "Image index stop", "Image file path start", "Image file path stop",
    "Comment start", "Comment stop",
)  # fmt: skip
_MISSING = "NA"  # as BORIS writes it, and R reads it


def write(found: Sequence[EventSet], out: Path) -> None:
    """Writes the events of all results into one CSV, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    named = Counter(each.result.name for each in found)
    rows = []
    for each in found:
        # R and pandas group by it: two results must not share one
        alone = named[each.result.name] == 1
        name = each.result.name if alone else str(each.result.path.with_suffix(""))
        rows += _rows(each, name)
    write_table(pd.DataFrame(rows, columns=list(COLUMNS)), out)


def _rows(found: EventSet, name: str) -> list[tuple[object, ...]]:
    """A result's rows under its name, in BORIS's order: by subject, behaviour and start."""
    metadata = found.result.metadata
    source = metadata["video"]
    duration = f"{found.end_s:.3f}"
    fps = source.get("nominal_fps")
    observation = (
        name,
        str(metadata.get("created", _MISSING)).replace("T", " ")[:19],
        "",
        "Media file",
        f"player #1:{found.video}",
        0,
        duration,
        duration,
        _MISSING if fps is None else f"{fps:.3f}",
    )
    order = {label: i for i, label in enumerate(found.expressions)}
    events = sorted(found.records(), key=lambda e: (e.track_id, order[e.expression], e.onset_s))
    total_s = found.events.groupby("track_id")["duration_s"].sum()  # as BORIS counts it
    return [
        (
            *observation,
            subject_name(event.track_id),
            f"{total_s[event.track_id]:.3f}",
            event.expression,
            "Facial expression",
            "STATE",
            f"{event.onset_s:.3f}",
            f"{event.offset_s:.3f}",
            f"{event.duration_s:.3f}",
            found.video,
            event.onset_frame,
            event.offset_frame,
            _MISSING,
            _MISSING,
            f"apex {event.apex_s:.3f} s, p {event.p_apex:.3f}",
            f"truncated: {event.truncated}" if event.truncated else "",
        )
        for event in events
    ]
