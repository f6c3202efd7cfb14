"""`jadfer summary`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_warning
from jadfer_cli.cli.event_options import (
    MergeGapOption,
    MinDurationOption,
    OffOption,
    OnOption,
    event_option,
    warn_of_coarse_frames,
)
from jadfer_cli.cli.formatting import share_text, shares_text
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.cli.tables import figures, room, show
from jadfer_cli.common import short_time
from jadfer_cli.errors import OptionError
from jadfer_cli.options import EVENT_MERGE_GAP_S, EVENT_MIN_DURATION_S, EVENT_OFF, EVENT_ON
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jadfer_cli.analysis.summary import Summary

PANEL = RESULTS_PANEL
HELP = """Summarise results: one row per video and track, for statistics.

A row states how long a track was seen and how much of that time is usable. For each expression \
it gives mean and SD of the probability, share of time, number of episodes and their mean \
duration. Only usable faces in intact frames count. Each frame counts for the time that it is \
shown, so a variable frame rate does not bias means and shares. A video without any face also has \
a row, with seconds_seen 0.

SD: sqrt(sum(w (p - mean)^2) / (V1 - V2/V1)); w is the duration of a frame, V1 the sum of w, V2 \
the sum of w^2. Angles are averaged as directions (circular mean and SD).

An episode is an event, as `jadfer events` finds it with the same options, neutral included. A \
transition is an episode followed by one of another expression, with no gap longer than \
--merge-gap in which the face does not count. With frames 0.2 s apart or more (5 per second), \
both depend on the frame rate; a warning says so. With --raw-changes, an episode is an unbroken \
run of frames with the same top expression; these counts depend on frame rate and flicker.

Results of `jadfer annotate --actions` have more columns with -o. asymmetry_NAME_mean and _sd are \
left - right of each paired action, of the person's own sides. blinks are those of `jadfer events \
--blinks`. actions_s is the time in which actions were measured.

usable_share is the usable part of the time with a face; usable_share_of_video is that of the \
analysed time. face_share is the part of the analysed time with a face.

seconds_seen is the time in which the track is seen. face_s is the sum of the times of all faces, \
so it exceeds seconds_seen if the tracks of a video are pooled. counted_s is the part of \
face_s on which means and shares are based.

Examples:

  jadfer summary results/ -r

  jadfer summary results/ -r -o summary.csv --transitions transitions.csv

  jadfer summary day1/*.parquet --by video --all-faces -o videos.parquet

  jadfer summary results/ -r -o summary.csv --min-duration 0.5

  jadfer summary results/ -r -o summary.sav
"""

_WIDE = 100  # columns with room for three expressions, and for when a face appears

_OutOption = Annotated[
    Path | None,
    shared.out_option(
        "Write all columns: .csv, .csv.gz, .tsv, .tsv.gz, .json, .jsonl, .parquet, .xlsx, .sav or "
        ".dta."
    ),
]
_TransitionsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write how often each expression follows each other one, one row per pair; formats "
        "as for -o.",
        show_default=False,
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]
_ByOption = Annotated[
    str,
    typer.Option(
        help="One row per 'track', per 'person' of `jadfer identify`, or per 'video' with its "
        "tracks pooled."
    ),
]
_AllFacesOption = Annotated[
    bool, typer.Option("--all-faces", help="Also count faces that are not usable.")
]
_RawOption = Annotated[
    bool,
    event_option(
        "Count every change of the top expression, even for one frame; ignores the options above.",
        "--raw-changes",
    ),
]


def summary(
    inputs: shared.ResultsArgument,
    recursive: shared.RecursiveOption = False,
    by: _ByOption = "track",
    all_faces: _AllFacesOption = False,
    on: OnOption = EVENT_ON,
    off: OffOption = EVENT_OFF,
    min_duration: MinDurationOption = EVENT_MIN_DURATION_S,
    merge_gap: MergeGapOption = EVENT_MERGE_GAP_S,
    raw_changes: _RawOption = False,
    out: _OutOption = None,
    transitions: _TransitionsOption = None,
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Summarise results."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import summary as summing
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.event_rule import Rule
        from jadfer_cli.analysis.people.by_person import summarise_people
        from jadfer_cli.analysis.provenance import mixed

        kinds = (*summing.BY, "person")
        if by not in kinds:
            raise OptionError(f"--by must be one of {', '.join(kinds)}, not {by}.")
        rule = Rule(on, off, min_duration, merge_gap, all_faces)
        style = text_style(bom=bom, decimal=decimal)
        targets = [path for path in (out, transitions) if path is not None]
        for path in targets:
            tabular.check_target(path, overwrite=overwrite, endings=tabular.table_endings())
        if len({os.path.abspath(path) for path in targets}) < len(targets):
            raise OptionError("-o and --transitions name the same file; give two different files.")
        results = reading.opened(inputs, recursive=recursive)
        for text in () if quiet else mixed(results):
            print_warning(text)
        items: list[Summary] = []
        for result in reading.each(results, "reading", quiet=quiet):
            if by == "person":
                items += summarise_people(result, rule, raw_changes=raw_changes)
            else:
                items += summing.summarise(result, by=by, rule=rule, raw_changes=raw_changes)
        names = display_names(result.path for result in results)
        if not (quiet or raw_changes):
            warn_of_coarse_frames(rule, [(names[item.result], item.frame_step_s) for item in items])
        if out is not None:
            tabular.write_table(summing.table(items), out, style)
            reading.wrote(out, count_text(len(items), "row"), quiet=quiet)
        if transitions is not None:
            pairs = summing.transition_table(items)
            tabular.write_table(pairs, transitions, style)
            reading.wrote(transitions, count_text(len(pairs), "row"), quiet=quiet)
        if out is None:
            show(_table(items, names, by))


def _first_seen(item: Summary) -> str:
    return "-" if item.first_seen_s is None else short_time(item.first_seen_s)


def _table(items: Sequence[Summary], names: Mapping[str, str], by: str) -> Any:
    """The most important columns, as many as fit a terminal."""
    pooled, named = by != "track", by == "person"
    wide = room() >= _WIDE
    rows = [
        [
            names[item.result],
            *([item.person or "-"] if named else []),
            str(item.tracks) if pooled else "-" if item.track_id is None else str(item.track_id),
            *([_first_seen(item)] if wide else []),
            f"{item.seconds_seen:.2f}",
            share_text(item.usable_share),
            *([] if named and not wide else [share_text(item.usable_share_of_video)]),
            str(int(item.transitions.sum())),
            shares_text(item.shares, most=3 if wide else 1),
        ]
        for item in items
    ]
    head = (
        "result", *(["person"] if named else []),
        "tracks" if pooled else "track", *(["from"] if wide else []), "seconds", "usable",
        *([] if named and not wide else ["of video"]), "changes",
        "expressions" if wide else "most shown",
    )  # fmt: skip
    table = figures(head, rows, right=range(2 if named else 1, len(head) - 1))
    if named:
        table.columns[1].no_wrap = True
    return table
