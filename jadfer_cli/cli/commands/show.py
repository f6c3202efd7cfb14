"""`jadfer show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading, tables
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_json, warning_text
from jadfer_cli.cli.formatting import (
    names_text,
    ratio_text,
    share_text,
    shares_text,
)
from jadfer_cli.cli.tables import Cell, figures, table, title
from jadfer_cli.cli.timeline import timeline
from jadfer_cli.common import atomic_write, short_time
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text, json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jadfer_cli.analysis.overview import Overview

PANEL = RESULTS_PANEL
HELP = """Inspect results: warnings, video, model, coverage, tracks, expressions, a timeline.

Up to three results are shown in detail, more of them as a table with one row per result. The \
percentage of an expression is its share of the time in which a face is usable. "usable" is the \
usable part of the time with a face, "of video" that of the analysed time. Each frame counts for \
the time that it is shown.

Results of `jadfer annotate --actions` also show when scores and actions contradict each other, \
such as happiness without a smile. --json lists the frames.

Examples:

  jadfer show demo.parquet

  jadfer show results/ -r

  jadfer show results/ -r -o overview.csv

  jadfer show demo.parquet --json | jq '.[0].expression_shares'
"""

_MAX_DETAILED = 3  # more results are shown as a table
_WIDE = 90  # columns of a terminal with room for two expressions per result
_MAX_TRACKS = 30  # listed for one result
_HEAD = ("result", "length", "frames", "face", "tracks", "usable", "of video", "most shown")

_OutOption = Annotated[
    Path | None,
    shared.out_option(
        "Write a .json file, or a table with one row per result: .csv, .tsv, .jsonl, .parquet."
    ),
]


def show(
    inputs: shared.ResultsArgument,
    recursive: shared.RecursiveOption = False,
    out: _OutOption = None,
    overwrite: shared.OverwriteOption = False,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Inspect results."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.overview import overview
        from jadfer_cli.analysis.provenance import mixed

        if out is not None:
            tabular.check_target(out, overwrite=overwrite, endings=tabular.table_endings())
        results = reading.opened(inputs, recursive=recursive)
        if out is None and not as_json and len(results) <= _MAX_DETAILED:
            tables.show(*map(warning_text, mixed(results)))
            for result in results:
                tables.show(*_details(overview(result)))
            return
        names = display_names(result.path for result in results)
        facts, rows, lines = [], [], []
        for result in reading.each(results, "reading", quiet=quiet):
            found = overview(result)
            facts.append(found.facts())
            rows.append(found.row())
            lines.append(_Line(found, names[str(result.path)]))
        if out is not None:
            _write(facts, rows, out)
            reading.wrote(out, count_text(len(rows), "result"), quiet=quiet)
        if as_json:
            print_json(facts)
        elif out is None:
            tables.show(*map(warning_text, mixed(results)), *_table(lines))


def _write(facts: list[dict[str, Any]], rows: list[dict[str, Any]], out: Path) -> None:
    import pandas as pd

    from jadfer_cli.analysis.tabular import write_table

    if out.suffix == ".json":  # nested, with the tracks
        with atomic_write(out) as part:
            part.write_text(json_text(facts, indent=2) + "\n", "utf-8", newline="\n")
    else:
        write_table(pd.DataFrame(rows), out)


def _details(found: Overview) -> list[Any]:
    """One result: its path, warnings, facts, tracks and timeline."""
    tracks = found.tracks[:_MAX_TRACKS]
    parts: list[Any] = [
        title(str(found.result.path)),
        *map(warning_text, found.warnings),
        table((), [((name, "bold"), text) for name, text in _facts(found)]),
    ]
    if tracks:
        people = found.people_of_tracks()
        rows = [
            [
                str(track.track_id),
                *([people.get(track.track_id or 0, "-")] if people else []),
                f"{short_time(track.first_seen_s or 0)} - {short_time(track.last_seen_s or 0)}",
                f"{track.seconds_seen:.2f}",
                share_text(track.usable_share),
                share_text(track.usable_share_of_video),
                shares_text(track.shares),
            ]
            for track in tracks
        ]
        head = ["track", *(["person"] if people else []), "seen", "seconds", "usable", "of video"]
        head += ["expressions (of usable time)"]
        right = [i for i in range(len(head) - 1) if head[i] != "person"]
        parts += [Text(""), figures(head, rows, right=right)]
    if len(tracks) < len(found.tracks):
        parts.append(Text(f"... and {count_text(len(found.tracks) - len(tracks), 'more track')}."))
    lines = timeline(found.annotated)
    return [*parts, *([Text("")] if lines else []), *lines, Text("")]


def _facts(found: Overview) -> list[tuple[str, str]]:
    from jadfer_cli.analysis.provenance import detector_text, model_text, options_text

    m, whole = found.result.metadata, found.whole
    video, n = m["video"], len(found.annotated.frame_start_s)
    rate = f"{video['nominal_fps']:.4g} frames/s"
    size = f"{video['width_px']}x{video['height_px']} px"
    facts = [
        ("Video", f"{found.annotated.video}"),
        (
            "",
            f"{size}, {short_time(video['duration_s'])}, {rate}"
            f"{' on average' if video['variable_frame_rate'] else ''}, {video['codec']}",
        ),
        ("Model", f"{model_text(m)}, {len(m['labels'])} expressions"),
        ("Detector", f"{detector_text(m)}, tracker {m['options']['faces']['tracker']}"),
        ("Options", options_text(m) or "the defaults"),
        ("Made by", f"jadfer {m['jadfer_version']}, {m['precision']} on {m['device_name']}"),
        ("Frames", f"{n:,} analysed, {whole.frames:,} with a face ({ratio_text(whole.frames, n)})"),
    ]
    if whole.face_s:
        facts += [
            (
                "Faces",
                f"{count_text(whole.tracks, 'track')}, {short_time(whole.face_s)}, "
                f"{short_time(whole.usable_s)} usable: "
                f"{share_text(whole.usable_share)} of face time, "
                f"{share_text(whole.usable_share_of_video)} of video",
            ),
            *_not_usable(found),
            ("Expressions", shares_text(whole.shares, most=8)),
        ]
    if found.people:
        facts.append(("People", ", ".join(found.people)))
    return facts


def _not_usable(found: Overview) -> list[tuple[str, str]]:
    """Why faces are not usable; nothing if all are."""
    shares = found.annotated.faces.unusable_shares()
    return [("Not usable", f"{shares_text(shares)} of face time")] if shares else []


class _Line:
    """What the table needs of one result, without its rows, which would fill the memory."""

    def __init__(self, found: Overview, name: str) -> None:
        self.name = name
        self.duration_s: float = found.result.metadata["video"]["duration_s"]
        self.n_frames = len(found.annotated.frame_start_s)
        self.whole = found.whole
        self.warnings = found.warnings
        self.people = found.people or ()


def _table(lines: Sequence[_Line]) -> list[Any]:
    """Warnings, then a table with one row per result and the totals."""
    warnings: dict[str, list[str]] = {}
    for line in lines:
        for text in line.warnings:
            warnings.setdefault(text, []).append(line.name)
    parts: list[Any] = [
        warning_text(f"{names_text(names)}: {text}") for text, names in warnings.items()
    ]
    rows: list[list[Cell]] = [
        [
            line.name,
            short_time(line.duration_s),
            f"{line.n_frames:,}",
            ratio_text(line.whole.frames, line.n_frames),
            str(line.whole.tracks),
            share_text(line.whole.usable_share),
            share_text(line.whole.usable_share_of_video),
            shares_text(line.whole.shares, most=_most()),
        ]
        for line in lines
    ]
    parts.append(figures(_HEAD, [*rows, _totals(lines)], right=(1, 2, 3, 4, 5, 6)))
    return [*parts, *_people(lines)]


def _people(lines: Sequence[_Line]) -> list[Any]:
    """Who appears in which results; nothing if `jadfer identify` named nobody."""
    seen: dict[str, list[str]] = {}
    for line in lines:
        for person in line.people:
            seen.setdefault(person, []).append(line.name)
    rows: list[list[Cell]] = [
        [person, str(len(names)), names_text(names)] for person, names in sorted(seen.items())
    ]
    return [Text(""), figures(("person", "results", "in"), rows, right=(1,))] if rows else []


def _most() -> int:
    """How many expressions a line of the table has room for."""
    return 2 if tables.room() >= _WIDE else 1


def _totals(lines: Sequence[_Line]) -> list[Cell]:
    n = sum(line.n_frames for line in lines)
    face_s = sum(line.whole.face_s for line in lines)
    analysed_s = sum(line.whole.analysed_s for line in lines)
    counted_s = sum(line.whole.counted_s for line in lines)
    shown_s: dict[str, float] = {}
    for line in lines:
        for label, seconds in zip(line.whole.labels, line.whole.shown_s.tolist(), strict=True):
            shown_s[label] = shown_s.get(label, 0.0) + seconds
    order = sorted(shown_s, key=lambda label: -shown_s[label])
    shares = {label: shown_s[label] / counted_s for label in order} if counted_s else {}
    cells = [
        f"all {len(lines)}",
        short_time(sum(line.duration_s for line in lines)),
        f"{n:,}",
        ratio_text(sum(line.whole.frames for line in lines), n),
        str(sum(line.whole.tracks for line in lines)),
        share_text(sum(line.whole.usable_s for line in lines) / face_s if face_s else None),
        share_text(
            sum(line.whole.usable_seen_s for line in lines) / analysed_s if analysed_s else None
        ),
        shares_text(shares, most=_most()),
    ]
    return [(cell, "bold") for cell in cells]
