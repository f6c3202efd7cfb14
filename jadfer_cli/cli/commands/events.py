"""`jadfer events`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from jadfer_cli.analysis import export
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands.show import short_name
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console, stdout_console
from jadfer_cli.cli.tables import Cell, show, table, title
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet, Rule
    from jadfer_cli.results.load import Result

HELP = """Find events: when an expression begins (onset), is strongest (apex) and ends (offset).

An event begins with the first frame in which the expression's probability reaches --on and ends \
before the first one in which it falls below --off. Interruptions up to --merge-gap are bridged \
(also by frames without the face, unusable or corrupt ones); what is then shorter than \
--min-duration is left out. Where --on and --off sum to less than 1, and over bridged gaps, events \
of different expressions may overlap.

Without -o a table on the terminal, CSV in a pipe.

Examples:

  jadfer events clip.parquet

  jadfer events results/ -r -o smiles.csv --expression happy --on 0.8

  jadfer events clip.parquet -o clip.eaf

  jadfer events results/ -r -o praat/ --format textgrid

  jadfer events results/ -o boris.csv --format boris

  jadfer events sub-01_task-talk_beh.parquet -o bids/ --format bids
"""

_RULE, _OUTPUT = "What an event is", "Output"


def events(
    inputs: reading.Inputs,
    recursive: reading.Recursive = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|FOLDER",
            help=export.suffix_help(),
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"{export.format_help()}.",
            show_default="by the ending of -o",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    expression: Annotated[
        list[str] | None,
        typer.Option(
            help="Look for this one; may be repeated.",
            show_default="all but neutral",
            rich_help_panel=_RULE,
        ),
    ] = None,
    on: Annotated[
        float, typer.Option(help="Probability that begins an event.", rich_help_panel=_RULE)
    ] = 0.6,
    off: Annotated[
        float, typer.Option(help="Below this probability it ends.", rich_help_panel=_RULE)
    ] = 0.4,
    min_duration: Annotated[
        float, typer.Option(help="Leave out shorter events, seconds.", rich_help_panel=_RULE)
    ] = 0.2,
    merge_gap: Annotated[
        float, typer.Option(help="Bridge gaps up to this long, seconds.", rich_help_panel=_RULE)
    ] = 0.1,
    all_faces: Annotated[
        bool,
        typer.Option(
            "--all-faces", help="Take faces that are not usable, too.", rich_help_panel=_RULE
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=_OUTPUT),
    ] = False,
    quiet: reading.Quiet = False,
    debug: reading.Debug = False,
) -> None:
    """Find events."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.events import Rule, select_expressions
        from jadfer_cli.analysis.export.paths import check_output, output_paths
        from jadfer_cli.analysis.export.tiers import late_starts

        rule = Rule(on, off, min_duration, merge_gap, all_faces)
        exporter = None
        if form is not None:
            exporter = export.exporter_named(form)
            if out is None:
                raise OptionError(f"--format {form} needs -o FILE or -o FOLDER.")
        elif out is not None:
            exporter = export.exporter_for(out)
        results = reading.opened(inputs, recursive=recursive)
        names = expression or []
        for result in results:
            select_expressions(names, result)
        if exporter is None or out is None:
            _print(_found(results, rule, names, quiet=quiet), quiet=quiet)
            return
        paths = output_paths(results, inputs, out, exporter)
        for path in paths:
            check_output(path, exporter, overwrite=overwrite)
        written: list[EventSet] = []
        several = len(paths) > 1  # else the bar counts the results
        for path, those in reading.each(list(paths.items()), "finding events", quiet=quiet):
            found = _found(those, rule, names, quiet=quiet or several)
            exporter.write(found, path)
            reading.wrote(path, _counted(found), quiet=quiet)
            written += found
        note = late_starts(written) if exporter.in_player else None
        if note and not quiet:
            stderr_console().print(f"Note: {note}", markup=False)


def _found(
    results: Sequence[Result], rule: Rule, names: Sequence[str], *, quiet: bool
) -> list[EventSet]:
    from jadfer_cli.analysis.events import find_events

    return [
        find_events(result, rule, names)
        for result in reading.each(results, "finding events", quiet=quiet)
    ]


def _counted(found: Sequence[EventSet]) -> str:
    """How many events there are, in words; why there may be none."""
    n = sum(len(each.events) for each in found)
    tracks = sum(len(each.tracks) for each in found)
    many = f" in {len(found)} results" if len(found) > 1 else ""
    if n:
        return f"{_number(n, 'event')} of {_number(tracks, 'track')}{many}."
    if not tracks:
        return f"no event: no face was found{many}."
    rule = found[0].rule
    return (
        f"no event: nothing reached {rule.on:g} for {rule.min_duration_s:g} s{many} "
        "(see --on, --min-duration, --all-faces)."
    )


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _print(found: Sequence[EventSet], *, quiet: bool) -> None:
    """The table on a terminal, CSV in a pipe; then how many on stderr."""
    from jadfer_cli.analysis.events import joined

    if stdout_console().is_terminal:
        results = [each.result for each in found]
        for each in found:
            body = _table(each) if len(each.events) else Text("no event")
            show(title(short_name(each.result, results)), body)
    else:
        joined(found).to_csv(sys.stdout, index=False)
    if not quiet:
        stderr_console().print(Text(_counted(found).capitalize()))


def _table(found: EventSet) -> Table:
    head = (
        "track",
        "expression",
        "onset s",
        "apex s",
        "offset s",
        "lasts s",
        "p apex",
        "truncated",
    )
    lines: list[list[Cell]] = [
        [
            str(event.track_id),
            event.expression,
            *(f"{value:.2f}" for value in (event.onset_s, event.apex_s, event.offset_s)),
            f"{event.duration_s:.2f}",
            f"{event.p_apex:.2f}",
            event.truncated,
        ]
        for event in found.records()
    ]
    return table(head, lines)
