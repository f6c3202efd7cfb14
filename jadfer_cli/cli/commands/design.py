"""`jadfer design`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note, print_warning
from jadfer_cli.cli.event_options import (
    MergeGapOption,
    MinDurationOption,
    OffOption,
    OnOption,
)
from jadfer_cli.cli.formatting import names_text, share_text
from jadfer_cli.cli.score_options import AllFacesOption, ScaleOption, ScoresOption
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.cli.tables import figures, room, show
from jadfer_cli.options import EVENT_MERGE_GAP_S, EVENT_MIN_DURATION_S, EVENT_OFF, EVENT_ON
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jadfer_cli.analysis.design import Design
    from jadfer_cli.analysis.design_groups import GroupRow

PANEL = RESULTS_PANEL
HELP = """Make the table of a study: one row per participant, trial and measure.

--trials is a .csv or .tsv file with one row per trial: participant, trial, video, onset_s (when \
the stimulus begins, in seconds of the video). A column duration_s says how long it lasts. \
--participants has one row per participant. All other columns, such as condition, age or group, \
are carried on. Where several faces are in a video, track_id or person in either table says whose \
row it is. After `jadfer identify`, the participant's own name is enough.

--window is relative to the onset, and may be repeated with names. Without it, the window is the \
trial: from the onset until duration_s has passed. Each frame counts for its time in the window.

mean, peak and area are of the score; area is score times seconds. time_to_peak_s and latency_s \
are from the onset; latency is that of the first event. share is the part of the time with the \
expression on top. events is how many events begin in the window, as `jadfer events` finds them.

With --baseline, the median of each score in that span of the same trial is subtracted from mean, \
peak and area. For one baseline per person, use `jadfer baseline`, and here --scores change.

A cell with a usable face for less than --min-usable of its window is missing. missing_reason says \
why, and usable_share is there in any case. -o writes a JSON file beside the table, which says \
what the columns mean and how they were computed.

Examples:

  jadfer design results/ -r --trials trials.csv --participants people.csv -o table.csv

  jadfer design results/ -r --trials trials.csv --window 0,2 --baseline=-0.5,0 -o table.sav

  jadfer design results/ -r --trials trials.csv --window a=0,1 --window b=1,3 --wide -o t.xlsx

  jadfer design results/ -r --trials trials.csv --participants people.csv --by group
"""
_WIDE = 100

_TrialsOption = Annotated[
    Path, typer.Option(metavar="FILE", help="The trials, .csv or .tsv.", show_default=False)
]
_ParticipantsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The participants, .csv or .tsv.", show_default=False),
]
_OutOption = Annotated[
    Path | None,
    shared.out_option("The table: .csv, .tsv, .json, .jsonl, .parquet, .xlsx, .sav or .dta."),
]
_WindowOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]START,END",
        help="A window, seconds from the onset; may be repeated.",
        show_default="the trial",
    ),
]
_BaselineOption = Annotated[
    str | None,
    typer.Option(
        metavar="START,END",
        help="The baseline of each trial, seconds from the onset.",
        show_default="none",
    ),
]
_MeasureOption = Annotated[
    list[str] | None,
    typer.Option(help="Write only this one; may be repeated.", show_default="all"),
]
_ExpressionOption = Annotated[
    list[str] | None,
    typer.Option(help="Write only this one; may be repeated.", show_default="all"),
]
_MinUsableOption = Annotated[
    float, typer.Option(help="Part of a window that needs a usable face, 0 to 1.")
]
_WideOption = Annotated[
    bool,
    typer.Option(
        "--wide",
        help="One row per participant and trial, with a column per expression and measure.",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]
_ByOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Print by this column what was shown, with standard errors (SE) over people, and what "
        "is missing.",
        show_default=False,
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def design(
    inputs: shared.ResultsArgument,
    trials: _TrialsOption,
    participants: _ParticipantsOption = None,
    recursive: shared.RecursiveOption = False,
    window: _WindowOption = None,
    baseline: _BaselineOption = None,
    measure: _MeasureOption = None,
    expression: _ExpressionOption = None,
    min_usable: _MinUsableOption = 0.7,
    scores: ScoresOption = "raw",
    scale: ScaleOption = None,
    all_faces: AllFacesOption = False,
    on: OnOption = EVENT_ON,
    off: OffOption = EVENT_OFF,
    min_duration: MinDurationOption = EVENT_MIN_DURATION_S,
    merge_gap: MergeGapOption = EVENT_MERGE_GAP_S,
    out: _OutOption = None,
    wide: _WideOption = False,
    by: _ByOption = None,
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Make the table of a study."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import design as designing
        from jadfer_cli.analysis.described_table import check_described, write_described
        from jadfer_cli.analysis.design_groups import by_group
        from jadfer_cli.analysis.design_options import design_rule, measures_named
        from jadfer_cli.analysis.event_rule import Rule
        from jadfer_cli.analysis.provenance import mixed
        from jadfer_cli.analysis.trials import read_study

        events = Rule(on, off, min_duration, merge_gap, all_faces)
        rule = design_rule(window or (), baseline, min_usable, scores, scale, events)
        measures = measures_named(measure or ())
        style = text_style(bom=bom, decimal=decimal)
        if out is not None:
            check_described(out, overwrite=overwrite)
        results = reading.opened(inputs, recursive=recursive)
        study = read_study(trials, participants, results, reserved=designing.RESERVED)
        expressions = results[0].resolve_labels(expression or ())
        for text in () if quiet else mixed(results):
            print_warning(text)
        made = designing.compute(
            study, results, rule, lambda items: reading.each(items, "reading", quiet=quiet)
        )
        groups = by_group(made, by) if by is not None else []
        if out is not None:
            shape = designing.wide_table if wide else designing.long_table
            table = shape(made, measures, expressions)
            write_described(table, out, style, designing.meaning(made, table), made.settings())
            reading.wrote(out, count_text(len(table), "row"), quiet=quiet)
        _report(made, quiet=quiet)
        if groups or out is None:
            show(_groups(groups, by or "") if groups else _trials(made))


def _report(made: Design, *, quiet: bool) -> None:
    """Says what is missing, on stderr: the reasons, most frequent first."""
    from jadfer_cli.analysis.trial_windows import NOT_AMONG

    study = made.study
    if study.without_trials:
        print_warning(
            f"{count_text(len(study.without_trials), 'participant')} without a trial: "
            f"{names_text(study.without_trials)}."
        )
    if made.missing:
        reasons = Counter(cell.reason for cell in made.missing)
        first = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
        more = f"; and {len(reasons) - 3} more reasons" if len(reasons) > 3 else ""
        print_warning(
            f"{len(made.missing)} of {count_text(len(made.cells), 'cell')} missing: {first}{more}."
        )
        if any(reason.startswith(NOT_AMONG) for reason in reasons):
            print_note(
                "To say who a participant is in the results, add a column person to either table, "
                "or name folders of `jadfer identify --references` like the participants."
            )
    elif not quiet:
        print_note(f"{count_text(len(made.cells), 'cell')}, none missing.")


def _trials(made: Design) -> Any:
    """What each cell shows, for a terminal."""
    from jadfer_cli.analysis.trial_windows import MEASURES

    share = list(MEASURES).index("share")
    rows = []
    for cell in made.cells:
        shown = cell.reason
        if not cell.reason and cell.trial.result is not None:
            top = int(cell.values[share].argmax())
            label = cell.trial.result.labels[top]
            shown = f"{label} {share_text(float(cell.values[share, top]))}"
        usable = None if cell.usable_share != cell.usable_share else cell.usable_share
        rows.append(
            [cell.trial.participant, cell.trial.trial, cell.window.name, share_text(usable), shown]
        )
    head = ("participant", "trial", "window", "usable", "most shown, or why missing")
    return figures(head, rows, right=(3,))


def _groups(groups: Sequence[GroupRow], by: str) -> Any:
    """One line per group and window: the expressions with their standard errors."""
    several = len({row.window for row in groups}) > 1
    most = 3 if room() >= _WIDE else 1 if several else 2
    rows = []
    for row in groups:
        named = [
            f"{label} {share_text(share)} ± {_percent(row.errors[label])}"
            for label, share in list(row.shares.items())[:most]
            if share >= 0.005
        ]
        usable = None if row.usable_share != row.usable_share else row.usable_share
        rows.append(
            [
                row.group,
                *([row.window] if several else []),
                str(row.participants),
                str(row.cells),
                share_text(row.missing / row.cells),
                share_text(usable),
                ", ".join(named) or "-",
            ]
        )
    head = (by, *(["window"] if several else []), "people", "cells", "missing", "usable",
            "shares of time ± SE")  # fmt: skip
    first = 2 if several else 1
    return figures(head, rows, right=range(first, first + 4))


def _percent(error: float) -> str:
    return "?" if error != error else f"{100 * error:.0f}"
