"""`jadfer events`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from jadfer_cli.analysis import export
from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_csv, print_note, stdout_console
from jadfer_cli.cli.event_options import (
    MergeGapOption,
    MinDurationOption,
    OffOption,
    OnOption,
    event_option,
    warn_of_coarse_frames,
)
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.cli.tables import Cell, show, table, title
from jadfer_cli.errors import OptionError
from jadfer_cli.options import EVENT_MERGE_GAP_S, EVENT_MIN_DURATION_S, EVENT_OFF, EVENT_ON
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text, people_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.blinks import BlinkRule
    from jadfer_cli.analysis.event_rule import Rule
    from jadfer_cli.analysis.events import EventSet
    from jadfer_cli.analysis.export.base import Exporter
    from jadfer_cli.results.load import Result

PANEL = RESULTS_PANEL
HELP = """Find events: when an expression or action begins (onset), peaks (apex) and ends (offset).

An event begins with the first frame in which the probability of the expression reaches --on. It \
ends before the first frame in which the probability falls below --off. Interruptions up to \
--merge-gap are bridged, including frames in which the face is missing or unusable, or the frame \
is corrupt. Events that are then shorter than --min-duration are dropped.

The default of --on is half of the raters. Results of jadfer 0.5 and earlier, or of \
`annotate --scores majority`, have higher probabilities: --on 0.6 finds about the \
same events in them.

With --action, the coefficient of a facial action takes the place of the probability. With \
--blinks, blinks are found by a rule of their own: both eyes close, relative to how far they are \
open before and after, for at most 0.5 s. Incomplete ones have the name blink_incomplete. Both \
need results of `jadfer annotate --actions`.

With --by person, the tracks of each person of `jadfer identify` count as one, so an event may \
bridge a change of the track. There is then a column person, and tiers are named after people.

Events of different expressions may overlap where gaps are bridged, or if --on and --off add up \
to less than 1. Without -o, events are printed as a table on a terminal, and as CSV in a pipe.

Examples:

  jadfer events clip.parquet

  jadfer events results/ -r -o smiles.csv --expression happy --on 0.8

  jadfer events results/ -r -o smiles.xlsx

  jadfer events clip.parquet --action jaw_open --on 0.5

  jadfer events results/ -r -o blinks.csv --blinks

  jadfer events named/ -r -o people.csv --by person

  jadfer events clip.parquet -o clip.eaf

  jadfer events results/ -r -o praat/ --format textgrid

  jadfer events results/ -o boris.csv --format boris

  jadfer events sub-01_task-talk_beh.parquet -o derivatives/jadfer/ --format bids
"""

_HEAD = ("track", "expression", "onset s", "apex s", "offset s", "lasts s", "p apex", "truncated")


_OutOption = Annotated[
    Path | None,
    shared.out_option(export.suffix_help(), metavar="FILE|FOLDER"),
]
_FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help=f"{export.format_help()}.",
        show_default="by the ending of -o",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]
_ExpressionOption = Annotated[
    list[str] | None,
    event_option("Find only this one; may be repeated.", show_default="all but neutral"),
]
_ActionOption = Annotated[
    list[str] | None,
    event_option("Find this facial action, such as jaw_open; may be repeated.", metavar="NAME"),
]
_BlinksOption = Annotated[bool, event_option("Find blinks instead.", "--blinks")]
_ByOption = Annotated[
    Literal["track", "person"],
    event_option("Join the tracks of each 'person' of `jadfer identify`, or search each 'track'."),
]
_AllFacesOption = Annotated[
    bool, event_option("Also use faces that are not usable.", "--all-faces")
]


def events(
    inputs: shared.ResultsArgument,
    recursive: shared.RecursiveOption = False,
    expression: _ExpressionOption = None,
    action: _ActionOption = None,
    blinks: _BlinksOption = False,
    by: _ByOption = "track",
    on: OnOption = EVENT_ON,
    off: OffOption = EVENT_OFF,
    min_duration: MinDurationOption = EVENT_MIN_DURATION_S,
    merge_gap: MergeGapOption = EVENT_MERGE_GAP_S,
    all_faces: _AllFacesOption = False,
    out: _OutOption = None,
    format_name: _FormatOption = None,
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Find events."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.actions import resolve_actions
        from jadfer_cli.analysis.blinks import BlinkRule
        from jadfer_cli.analysis.event_rule import Rule
        from jadfer_cli.analysis.events import select_expressions
        from jadfer_cli.analysis.export.paths import check_output, output_paths
        from jadfer_cli.analysis.export.tables import styled

        style = text_style(bom=bom, decimal=decimal)
        if blinks and (expression or action):
            raise OptionError("--blinks excludes --expression and --action.")
        search = _Search(
            Rule(on, off, min_duration, merge_gap, all_faces), expression or [],
            resolve_actions(action or []), BlinkRule(all_faces=all_faces) if blinks else None,
            by == "person",
        )  # fmt: skip
        exporter = _exporter(format_name, out)
        results = reading.opened(inputs, recursive=recursive)
        for result in results:
            select_expressions(search.names, result)
        if exporter is None or out is None:
            _print(_found(results, search, quiet=quiet), search, quiet=quiet)
            return
        paths = output_paths(results, inputs, out, exporter)
        for path in paths:
            check_output(path, exporter, overwrite=overwrite)
        _write(paths, styled(exporter, style), search, quiet=quiet)
        if export.is_folder(out) and (description := exporter.describe_folder(out, list(paths))):
            reading.wrote(description, "the description of the data set", quiet=quiet)


@dataclass(frozen=True)
class _Search:
    """What is searched: expressions and actions by the rule, or blinks by their own; in whom."""

    rule: Rule
    names: Sequence[str]
    actions: Sequence[str]
    blinks: BlinkRule | None
    of_people: bool

    def find(self, result: Result) -> EventSet:
        from jadfer_cli.analysis.blinks import find_blinks
        from jadfer_cli.analysis.events import find_events
        from jadfer_cli.analysis.person_rows import read_people

        people = read_people(result) if self.of_people else None
        if self.blinks is not None:
            return find_blinks(result, self.blinks, people=people)
        return find_events(result, self.rule, self.names, self.actions, people=people)

    def counted(self, found: Sequence[EventSet]) -> str:
        """The number of events in words, and the rate of blinks."""
        from jadfer_cli.analysis.blinks import rates_text

        return _counted(found) if self.blinks is None else rates_text(found, self.blinks)


def _exporter(format_name: str | None, out: Path | None) -> Exporter | None:
    """The format to write; None to print.

    Raises:
        OptionError: A format without a place for its file, or an unknown one.
    """
    if format_name is not None:
        if out is None:
            export.exporter_named(format_name)
            raise OptionError(f"--format {format_name} needs -o FILE or -o FOLDER.")
        return export.exporter_named(format_name)
    return None if out is None else export.exporter_for(out)


def _write(
    paths: Mapping[Path, Sequence[Result]],
    exporter: Exporter,
    search: _Search,
    *,
    quiet: bool,
) -> None:
    """Finds and writes the events of each output file."""
    from jadfer_cli.analysis.export.tiers import late_starts

    written: list[EventSet] = []
    several = len(paths) > 1  # then the progress bar counts files, otherwise results
    for path, results in reading.each(list(paths.items()), "finding events", quiet=quiet):
        found = _found(results, search, quiet=quiet or several)
        exporter.write(found, path)
        reading.wrote(path, search.counted(found), quiet=quiet)
        written += found
    if not quiet:
        _warn_of_coarse_frames(written)
    notes = [exporter.note(list(paths)), late_starts(written) if exporter.in_player else None]
    for note in filter(None, () if quiet else notes):
        print_note(f"Note: {note}")


def _found(results: Sequence[Result], search: _Search, *, quiet: bool) -> list[EventSet]:
    return [search.find(result) for result in reading.each(results, "finding events", quiet=quiet)]


def _counted(found: Sequence[EventSet]) -> str:
    """The number of events in words, or why there may be none."""
    n = sum(len(each.events) for each in found)
    subjects = sum(len(each.subjects) for each in found)
    of_tracks = all("person" not in each.events for each in found)
    if not of_tracks:  # one person may be in many results
        subjects = len({name for each in found for name in each.people})
    many = f" in {len(found)} results" if len(found) > 1 else ""
    if n:
        who = count_text(subjects, "track") if of_tracks else people_text(subjects)
        return f"{count_text(n, 'event')} of {who}{many}."
    if not subjects:
        return f"no event: no face was found{many}."
    return (
        f"no event: {found[0].rule.nothing_text()}{many} (see --on, --min-duration, --all-faces)."
    )


def _print(found: Sequence[EventSet], search: _Search, *, quiet: bool) -> None:
    """Prints a table on a terminal, CSV in a pipe; then the number of events on stderr."""
    from jadfer_cli.analysis.events import joined

    if stdout_console().is_terminal:
        names = display_names(each.result.path for each in found)
        for each in found:
            body = _table(each) if len(each.events) else Text("no event")
            show(title(names[str(each.result.path)]), body)
    else:
        print_csv(joined(found))
    if not quiet:
        _warn_of_coarse_frames(found)
        print_note(search.counted(found).capitalize())


def _warn_of_coarse_frames(found: Sequence[EventSet]) -> None:
    if found:
        names = display_names(each.result.path for each in found)
        steps = [(names[str(each.result.path)], each.frame_step_s) for each in found]
        warn_of_coarse_frames(found[0].rule, steps)


def _table(found: EventSet) -> Table:
    people = "person" in found.events
    lines: list[list[Cell]] = [
        [
            found.subjects[number] if people else str(event.track_id),
            event.expression,
            *(f"{value:.2f}" for value in (event.onset_s, event.apex_s, event.offset_s)),
            f"{event.duration_s:.2f}",
            f"{event.p_apex:.2f}",
            event.truncated,
        ]
        for event, number in zip(found.records(), found.subject.tolist(), strict=True)
    ]
    return table(("person", *_HEAD[1:]) if people else _HEAD, lines)
