"""`jadfer collect`."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.also import parquet_and_ending
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note
from jadfer_cli.cli.formatting import names_text
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jadfer_cli.analysis.convert import Conversion
    from jadfer_cli.analysis.dataset.check import Dataset, Source
    from jadfer_cli.analysis.find import FoundResults, SkippedFile
    from jadfer_cli.analysis.formats.base import TextStyle

PANEL = RESULTS_PANEL
HELP = """Collect the results of many videos into one dataset.

The dataset is one Parquet file, or a folder with one file per video, in the subfolders of the \
results. pandas, polars, DuckDB and R read either as one table; show, summary, events, plot, \
methods and diff read it as if it were the results. Memory does not grow with their number.

Results of different models are refused, unless --mixed is given, and several results of one \
video, unless --allow-duplicates is given. Other differing settings, and skipped Parquet files, \
are reported. If two videos have the same name, the column video holds the path of the result \
below the input folder instead, like day1/clip.mp4.

Facial actions are collected into a file beside it, all.actions.parquet, with the key video, frame \
and track_id.

Examples:

  jadfer collect results/ -o all.parquet

  jadfer collect results/ -o dataset/ --relative

  jadfer collect results/ -o dataset/ --hive day

  jadfer collect results/ -o all.csv.gz

  jadfer summary all.parquet -o summary.csv

  jadfer collect a.parquet b.parquet -o both.parquet --overwrite

Then in Python:  pandas.read_parquet("all.parquet")
"""
_MAX_NAMED = 10  # skipped files listed by name

_OutOption = Annotated[
    str,
    shared.out_option(
        "A .parquet file for all rows, or a folder for one file per video. With .csv, .csv.gz, "
        ".tsv, .tsv.gz, .xlsx, .sav or .dta, that file is written beside the .parquet file.",
        metavar="FILE|FOLDER",
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
_DuplicatesOption = Annotated[
    bool,
    typer.Option("--allow-duplicates", help="Accept several results of the same video (sha256)."),
]
_HiveOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="In a folder: name a level of subfolders, so that day1/ becomes NAME=day1/, which "
        "readers take for a column; repeat it for deeper levels.",
        show_default=False,
    ),
]


def collect(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recursive: _RecursiveOption = True,
    relative: _RelativeOption = False,
    mixed: _MixedOption = False,
    allow_duplicates: _DuplicatesOption = False,
    hive: _HiveOption = None,
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Collect the results of many videos into one dataset."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.dataset import write as datasets
        from jadfer_cli.analysis.dataset.actions import write_actions
        from jadfer_cli.analysis.find import find_results
        from jadfer_cli.analysis.tabular import check_rows

        style = text_style(bom=bom, decimal=decimal)
        target, also = _targets(out, style, hive, overwrite=overwrite)
        folder = datasets.is_folder(str(target))
        found = find_results(inputs, recursive=recursive, strict=False, datasets=False)
        n_warnings = _report_skipped(found.skipped, quiet=quiet) + reading.report_failures(found)
        dataset = _checked(found, mixed=mixed, relative=relative, allow_duplicates=allow_duplicates)
        for warning in dataset.warnings:
            print_note(f"Warning: {warning}")
        n_warnings += len(dataset.warnings)
        if also:
            check_rows(also.out, sum(source.result.n_rows for source in dataset.sources))

        def progress(sources: Sequence[Source]) -> Iterator[Source]:
            return reading.each(sources, "collecting", quiet=quiet)

        actions = write_actions(dataset, target)  # first: readers look for it beside the dataset
        if folder:
            n_rows = datasets.write_folder(dataset, target, progress, hive=hive or ())
        else:
            n_rows = datasets.write_file(dataset, target, progress)
        written = f"{count_text(len(dataset.sources), 'video')}, {count_text(n_rows, 'row')}"
        if n_warnings:
            written += f"; {count_text(n_warnings, 'warning')}"
        reading.wrote(target, written, quiet=quiet)
        if actions:
            path, n_videos, n_rows = actions
            written = f"actions of {count_text(n_videos, 'video')}, {count_text(n_rows, 'row')}"
            reading.wrote(path, written, quiet=quiet)
        if also:
            reading.wrote(also.out, count_text(also.run(), "row"), quiet=quiet)
        if any(file.is_damaged for file in found.skipped):
            raise typer.Exit(1)


def _targets(
    out: str, style: TextStyle, hive: list[str] | None, *, overwrite: bool
) -> tuple[Path, Conversion | None]:
    """The dataset to write, and what it is converted to afterwards; both may be written.

    Raises:
        OptionError: -o or --hive does not fit, or a file exists.
        OutputError: A file cannot be written.
    """
    from jadfer_cli.analysis.convert import Conversion
    from jadfer_cli.analysis.dataset import write as datasets
    from jadfer_cli.analysis.dataset.actions import check_actions_out
    from jadfer_cli.analysis.tabular import FORMATS

    named, ending = parquet_and_ending(out, None)
    target, folder = Path(named), datasets.is_folder(named)
    if folder and target.suffix and not (out.endswith(("/", os.sep)) or target.is_dir()):
        raise OptionError(  # otherwise -o all.doc would make a folder of Parquet files
            f"-o {out} does not end in .parquet or in the ending of another format.",
            f"Name a file that ends in .parquet, {', '.join(FORMATS)}, or a folder with / at its "
            "end.",
        )
    if hive and not folder:
        raise OptionError(
            f"--hive makes folders, but -o {out} is a file.", "Name a folder with / at its end."
        )
    datasets.check_out(target, folder=folder, overwrite=overwrite)
    check_actions_out(target, overwrite=overwrite)
    if ending is None:
        return target, None
    also = Conversion(target, Path(out), style=style)
    also.check(overwrite=overwrite, endings=(ending,), with_actions=True)
    return target, also


def _checked(found: FoundResults, **settings: bool) -> Dataset:
    """Checks the results, and names the option that accepts what would be refused."""
    from jadfer_cli.analysis.dataset.check import DuplicateVideos, MixedModels, check_dataset

    try:
        return check_dataset(found, **settings)
    except MixedModels as error:
        raise ResultError(error.message, f"{error.hint} --mixed accepts them all.") from None
    except DuplicateVideos as error:
        hint = f"{error.hint} --allow-duplicates keeps them all."
        raise ResultError(error.message, hint) from None


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
