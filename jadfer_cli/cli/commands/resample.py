"""`jadfer resample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note, print_warning
from jadfer_cli.cli.score_options import AllFacesOption, ScaleOption, ScoresOption
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.text import count_text

PANEL = RESULTS_PANEL
HELP = """Write scores on a regular grid of N values per second.

One row per track and grid cell, for programs that need equal steps. A value is the mean over the \
time for which frames were shown in its cell. So fast videos are averaged, and a variable frame \
rate does no harm. --method linear takes the straight line between two frames instead.

Nothing is filled in across gaps: a cell of which less than --min-share has a score is empty. \
seen_share says how much has one. time_s is the start of the cell, from the start of the video. \
All results go into one table; the columns video, result and track_id tell them apart. A JSON file \
beside it says what the columns mean and how they were computed.

Examples:

  jadfer resample results/ -r -o grid.csv --rate 10

  jadfer resample clip.parquet -o grid.parquet --rate 25 --method linear

  jadfer resample clip.parquet -o grid.csv --rate 10 --actions

  jadfer resample smooth/ -r -o grid.xlsx --rate 5 --scores smooth
"""

_OutOption = Annotated[
    Path,
    shared.out_option("The table: .csv, .tsv, .json, .jsonl, .parquet, .xlsx, .sav or .dta."),
]
_RateOption = Annotated[float, typer.Option(help="Values per second.")]
_MethodOption = Annotated[str, typer.Option(help="mean or linear.")]
_MinShareOption = Annotated[
    float, typer.Option(help="Part of a cell that must have a score, 0 to 1; for mean.")
]
_ActionsOption = Annotated[
    bool,
    typer.Option("--actions", help="Add the facial actions, from the file beside each result."),
]


def resample(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    rate: _RateOption,
    recursive: shared.RecursiveOption = False,
    method: _MethodOption = "mean",
    min_share: _MinShareOption = 0.5,
    scores: ScoresOption = "raw",
    scale: ScaleOption = None,
    all_faces: AllFacesOption = False,
    actions: _ActionsOption = False,
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write scores on a regular grid."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.described_table import check_described, write_described
        from jadfer_cli.analysis.provenance import mixed
        from jadfer_cli.analysis.resampling import GridRule, grid_table
        from jadfer_cli.analysis.score_columns import score_set
        from jadfer_cli.results.carried import has_actions

        rule = GridRule(rate, method, min_share, scores, scale, all_faces, actions)
        style = text_style(bom=bom, decimal=decimal)
        check_described(out, overwrite=overwrite)
        results = reading.opened(inputs, recursive=recursive)
        for result in results:
            score_set(result, scores, scale)
        for text in () if quiet else mixed(results):
            print_warning(text)
        if not (actions or quiet) and any(map(has_actions, results)):
            print_note("Note: Results have facial actions beside them; --actions adds these.")
        table, meaning = grid_table(reading.each(results, "resampling", quiet=quiet), rule)
        write_described(table, out, style, meaning, table.attrs["jadfer_grid"])
        reading.wrote(out, count_text(len(table), "row"), quiet=quiet)
