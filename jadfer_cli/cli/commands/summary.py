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
from jadfer_cli.cli.formatting import share_text, shares_text
from jadfer_cli.cli.tables import figures, room, show
from jadfer_cli.common import short_time
from jadfer_cli.errors import OptionError
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jadfer_cli.analysis.summary import Summary
    from jadfer_cli.results.load import Result

PANEL = RESULTS_PANEL
HELP = """Summarise results: one row per video and track, for statistics.

A row states how long a track was seen and how much of that time is usable. For each expression \
it gives mean and SD of the probability, share of time, number of episodes and their mean \
duration. Only usable faces count. Each frame counts for the time that it is shown, so a variable \
frame rate causes no bias. A video without any face also has a row, with seconds_seen 0.

SD: sqrt(sum(w (p - mean)^2) / (V1 - V2/V1)); w is the duration of a frame, V1 the sum of w, V2 \
the sum of w^2. An episode is an unbroken run of analysed frames in \
which the track is seen, counts, and keeps the same top expression. A transition is an episode \
that is directly followed by another.

seconds_seen is the time in which the track is seen. face_s is the sum of the times of all faces, \
so it exceeds seconds_seen if the tracks of a video are pooled. counted_s is the part of \
face_s on which means and shares are based.

Examples:

  jadfer summary results/ -r

  jadfer summary results/ -r -o summary.csv --transitions transitions.csv

  jadfer summary day1/*.parquet --by video --all-faces -o videos.parquet
"""

_WIDE = 100  # columns of a terminal with room for three expressions

_OutOption = Annotated[
    Path | None,
    shared.out_option("Write all columns: .csv, .tsv, .json, .jsonl or .parquet."),
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
    str, typer.Option(help="One row per 'track', or per 'video' with its tracks pooled.")
]
_AllFacesOption = Annotated[
    bool, typer.Option("--all-faces", help="Also count faces that are not usable.")
]


def summary(
    inputs: shared.ResultsArgument,
    recursive: shared.RecursiveOption = False,
    by: _ByOption = "track",
    all_faces: _AllFacesOption = False,
    out: _OutOption = None,
    transitions: _TransitionsOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Summarise results."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import summary as summing
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.provenance import mixed

        if by not in summing.BY:
            raise OptionError(f"--by must be one of {', '.join(summing.BY)}, not {by}.")
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
            items += summing.summarise(result, by=by, all_faces=all_faces)
        if out is not None:
            tabular.write_table(summing.table(items), out)
            reading.wrote(out, count_text(len(items), "row"), quiet=quiet)
        if transitions is not None:
            pairs = summing.transition_table(items)
            tabular.write_table(pairs, transitions)
            reading.wrote(transitions, count_text(len(pairs), "row"), quiet=quiet)
        if out is None:
            show(_table(items, results, by))


def _table(items: Sequence[Summary], results: Sequence[Result], by: str) -> Any:
    """The most important columns, as many as fit a terminal."""
    names = display_names(result.path for result in results)
    pooled = by == "video"
    most = 2 if room() < _WIDE else 3
    rows = [
        [
            names[item.result],
            str(item.tracks) if pooled else "-" if item.track_id is None else str(item.track_id),
            "-" if item.first_seen_s is None else short_time(item.first_seen_s),
            f"{item.seconds_seen:.2f}",
            share_text(item.usable_share),
            str(int(item.transitions.sum())),
            shares_text(item.shares, most=most),
        ]
        for item in items
    ]
    head = (
        "result", "tracks" if pooled else "track", "from", "seconds", "usable", "changes",
        "expressions",
    )  # fmt: skip
    return figures(head, rows, right=(1, 2, 3, 4, 5))
