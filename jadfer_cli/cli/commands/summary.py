"""`jadfer summary`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli import reading
from jadfer_cli.cli.commands.show import share_text, shares_text, short_name
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.tables import figures, room, show
from jadfer_cli.common import short_time
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jadfer_cli.analysis.summary import Summary
    from jadfer_cli.results.load import Result

HELP = """Sum results up: a row a video and track, for statistics.

How long a track was seen and how much of that is usable; mean and SD of each probability, share \
of time, episodes and their mean duration for each expression; transitions. Only usable faces \
count, and each frame counts by the time it stands for, so that a variable frame rate does no \
harm. A video without any face has a row, too, with seconds_seen 0.

SD: sqrt(sum(w (p - mean)^2) / (V1 - V2/V1)), w the frames' times, V1 their sum, V2 the sum of \
their squares. An episode is an unbroken run of analysed frames in which the track is there, \
counts, and has the same top expression; a transition is an episode followed at once by another.

Of the columns, seconds_seen is the time with the track in the picture, face_s the same with each \
face counted by itself (more where a video's tracks are pooled), counted_s the part of it from \
which means and shares are taken.

Examples:

  jadfer summary results/ -r

  jadfer summary results/ -r -o summary.csv --transitions transitions.csv

  jadfer summary day1/*.parquet --by video --all-faces -o videos.parquet
"""

_WIDE = 100  # columns of a terminal with room for three expressions


def summary(
    inputs: reading.Inputs,
    recursive: reading.Recursive = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", show_default=False,
            help="Write all columns: .csv, .tsv, .json, .jsonl or .parquet.",
        ),
    ] = None,
    transitions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", show_default=False,
            help="Write how often each expression follows each, a row a pair; endings as -o.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="A row a 'track', or a row a 'video' with all its tracks pooled.")
    ] = "track",
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Count faces that are not usable, too.")
    ] = False,
    overwrite: reading.Overwrite = False,
    quiet: reading.Quiet = False,
    debug: reading.Debug = False,
) -> None:  # fmt: skip
    """Sum results up."""
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
            raise OptionError("-o and --transitions name the same file; give them two.")
        results = reading.opened(inputs, recursive=recursive)
        if not quiet:
            for text in mixed(results):
                stderr_console().print(Text.assemble(("Warning: ", "bold yellow"), text))
        items: list[Summary] = []
        for result in reading.each(results, "reading", quiet=quiet):
            items += summing.summarise(result, by=by, all_faces=all_faces)
        if out is not None:
            tabular.write_table(summing.table(items), out)
            reading.wrote(out, _counted(len(items), "row"), quiet=quiet)
        if transitions is not None:
            pairs = summing.transition_table(items)
            tabular.write_table(pairs, transitions)
            reading.wrote(transitions, _counted(len(pairs), "row"), quiet=quiet)
        if out is None:
            show(_table(items, results, by))


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _table(items: Sequence[Summary], results: Sequence[Result], by: str) -> Any:
    """The columns that fit a terminal."""
    names = {str(result.path): short_name(result, results) for result in results}
    whole = by == "video"
    most = 2 if room() < _WIDE else 3
    rows = [
        [
            names[item.result],
            str(item.tracks) if whole else "-" if item.track_id is None else str(item.track_id),
            "-" if item.first_seen_s is None else short_time(item.first_seen_s),
            f"{item.seconds_seen:.2f}",
            share_text(item.usable_share),
            str(int(item.transitions.sum())),
            shares_text(item.shares, most=most),
        ]
        for item in items
    ]
    head = (
        "result", "tracks" if whole else "track", "from", "seconds", "usable", "changes",
        "expressions",
    )  # fmt: skip
    return figures(head, rows, right=(1, 2, 3, 4, 5))
