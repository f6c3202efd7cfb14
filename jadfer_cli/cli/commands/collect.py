"""`jadfer collect`."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note
from jadfer_cli.cli.formatting import count_text, names_text
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from jadfer_cli.analysis.find import SkippedFile

PANEL = RESULTS_PANEL
HELP = """Collect the results of many videos into one dataset.

The dataset is one Parquet file, or a folder with one file per video that pandas, polars, DuckDB \
and R read as one table. Memory does not grow with the number of results.

Results of different models are refused, unless --mixed is given. Other differing settings, and \
skipped Parquet files, are reported. If two videos have the same name, the column video holds the \
path of the result below the input folder instead, like day1/clip.mp4.

Examples:

  jadfer collect results/ -o all.parquet

  jadfer collect results/ -o dataset/ --relative

  jadfer collect a.parquet b.parquet -o both.parquet --overwrite

Then in Python:  pandas.read_parquet("all.parquet")
"""
_MAX_NAMED = 10  # skipped files listed by name

_OutOption = Annotated[
    str,
    shared.out_option(
        "A .parquet file for all rows, or a folder for one file per video.", metavar="FILE|FOLDER"
    ),
]
_RecursiveOption = Annotated[
    bool, typer.Option("--recursive/--no-recursive", "-r/-R", help="Include subfolders.")
]
_RelativeOption = Annotated[
    bool,
    typer.Option(
        "--relative", help="Name every video by the path of its result, like day1/clip.mp4."
    ),
]
_MixedOption = Annotated[
    bool,
    typer.Option("--mixed", help="Accept several models; the column model tells them apart."),
]


def collect(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recursive: _RecursiveOption = True,
    relative: _RelativeOption = False,
    mixed: _MixedOption = False,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Collect the results of many videos into one dataset."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.dataset import write as datasets
        from jadfer_cli.analysis.dataset.check import check_dataset
        from jadfer_cli.analysis.find import find_results

        target, folder = Path(out), datasets.is_folder(out)
        if folder and target.suffix and not (out.endswith(("/", os.sep)) or target.is_dir()):
            raise OptionError(  # otherwise -o all.csv would make a folder of Parquet files
                f"-o {out} does not end in .parquet.",
                "Name a .parquet file, or a folder with / at its end. For CSV: "
                "pandas.read_parquet(...).to_csv(...).",
            )
        datasets.check_out(target, folder=folder, overwrite=overwrite)
        found = find_results(inputs, recursive=recursive, strict=False)
        n_warnings = _report_skipped(found.skipped, quiet=quiet)
        dataset = check_dataset(found, mixed=mixed, relative=relative)
        for warning in dataset.warnings:
            print_note(f"Warning: {warning}")
        n_warnings += len(dataset.warnings)
        write = datasets.write_folder if folder else datasets.write_file
        n_rows = write(dataset, target, lambda s: reading.each(s, "collecting", quiet=quiet))
        written = f"{count_text(len(dataset.sources), 'video')}, {count_text(n_rows, 'row')}"
        if n_warnings:
            written += f"; {count_text(n_warnings, 'warning')}"
        reading.wrote(target, written, quiet=quiet)
        if any(file.is_damaged for file in found.skipped):
            raise typer.Exit(1)


def _report_skipped(skipped: tuple[SkippedFile, ...], *, quiet: bool) -> int:
    """Names the skipped files, one line per reason; returns the number of warnings."""
    from jadfer_cli.analysis.find import SkipReason

    texts = {
        SkipReason.DAMAGED: "Warning: Skipped damaged files",
        SkipReason.CHANGED: "Warning: Skipped results that are damaged or were changed",
        SkipReason.FOREIGN: "Warning: Skipped files that are not results of jadfer annotate",
        SkipReason.UNFINISHED: "Warning: Skipped unfinished results",
        # no warning: they are expected when a folder is collected again
        SkipReason.COLLECTED: "Skipped datasets of an earlier jadfer collect",
    }
    paths = defaultdict(list)
    for file in skipped:
        if file.reason is not SkipReason.COLLECTED or not quiet:
            paths[file.reason].append(str(file.path))
    for reason, names in paths.items():
        print_note(f"{texts[reason]}: {names_text(names, _MAX_NAMED)}.")
    return len(set(paths) - {SkipReason.COLLECTED})
