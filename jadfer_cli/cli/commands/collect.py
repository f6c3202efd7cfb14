"""`jadfer collect`."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jadfer_cli.cli import reading
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from jadfer_cli.analysis.find import SkippedFile

HELP = """Collect the results of many videos into one dataset.

All rows go into one Parquet file, or into a folder with a file a video, which pandas, polars, \
DuckDB and R read as one table. Memory does not grow with the number of results. Results of \
different models are refused (--mixed takes them); other settings that differ are told, and so \
is every Parquet file that is left out. In the column video no two results have the same name: \
where they would, it has the place of the result, like day1/clip.mp4.

Examples:

  jadfer collect results/ -o all.parquet

  jadfer collect results/ -o dataset/ --relative

  jadfer collect a.parquet b.parquet -o both.parquet --overwrite

Then in Python:  pandas.read_parquet("all.parquet")
"""
_SHOWN = 10  # files that are left out, by name


def collect(
    inputs: reading.Inputs,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="A .parquet file for all rows, or a folder for a file a video.",
            show_default=False,
        ),
    ],
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive/--no-recursive", "-r/-R", help="Take folders with all below them."
        ),
    ] = True,
    relative: Annotated[
        bool,
        typer.Option(
            "--relative",
            help="Name all videos by the place of their results, like day1/clip.mp4.",
        ),
    ] = False,
    mixed: Annotated[
        bool,
        typer.Option("--mixed", help="Take results of several models; a column model tells which."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier dataset.")
    ] = False,
    quiet: reading.Quiet = False,
    debug: reading.Debug = False,
) -> None:
    """Collect the results of many videos into one dataset."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.dataset import write as datasets
        from jadfer_cli.analysis.dataset.check import agree
        from jadfer_cli.analysis.find import SkipReason, find_results

        target, folder = Path(out), datasets.is_folder(out)
        if folder and target.suffix and not (out.endswith(("/", os.sep)) or target.is_dir()):
            raise OptionError(  # else "all.csv" became a folder of Parquet files
                f"-o {out} does not end in .parquet.",
                "Name a .parquet file, or a folder with / at its end. For CSV: "
                "pandas.read_parquet(...).to_csv(...).",
            )
        datasets.check_out(target, folder=folder, overwrite=overwrite)
        found = find_results(inputs, recursive=recursive, strict=False)
        warned = _tell_left_out(found.skipped, quiet=quiet)
        agreed = agree(found, mixed=mixed, relative=relative)
        for warning in agreed.warnings:
            _say(f"Warning: {warning}")
        write = datasets.write_folder if folder else datasets.write_file
        n_rows = write(agreed, target, lambda s: reading.each(s, "collecting", quiet=quiet))
        warned += len(agreed.warnings)
        told = f"{_number(len(agreed.sources), 'video')}, {_number(n_rows, 'row')}"
        reading.wrote(target, told + _counted(warned), quiet=quiet)
        if any(each.reason is SkipReason.DAMAGED for each in found.skipped):
            raise typer.Exit(1)


def _tell_left_out(left_out: tuple[SkippedFile, ...], *, quiet: bool) -> int:
    """Names the files that are left out, a line a kind; gives the number of warnings."""
    from jadfer_cli.analysis.find import SkipReason

    said = {
        SkipReason.DAMAGED: "Warning: Left out as damaged",
        SkipReason.FOREIGN: "Warning: Left out, as they are no results of jadfer annotate",
        SkipReason.UNFINISHED: "Warning: Left out as not finished",
        # expected when the results are collected again
        SkipReason.COLLECTED: "Left out, as they were collected before",
    }
    paths = defaultdict(list)
    for each in left_out:
        if each.reason is not SkipReason.COLLECTED or not quiet:
            paths[each.reason].append(str(each.path))
    for reason, named in paths.items():
        more = f" and {len(named) - _SHOWN:,} more" if len(named) > _SHOWN else ""
        _say(f"{said[reason]}: {', '.join(named[:_SHOWN])}{more}.")
    return len(set(paths) - {SkipReason.COLLECTED})


def _say(text: str) -> None:
    stderr_console().print(text, markup=False)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _counted(warned: int) -> str:
    return f"; {warned} warning{'s' if warned > 1 else ''}" if warned else ""
