"""Tables for other programs: the format follows from the file's ending."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from jadfer_cli.analysis.find import TABLE_KEY, is_result
from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.results.paths import is_sidecar


def _csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _tsv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, sep="\t", na_rep="n/a")  # as BIDS wants it


def _json(table: pd.DataFrame, path: Path) -> None:
    table.to_json(path, orient="records", indent=2, force_ascii=False)


def _jsonl(table: pd.DataFrame, path: Path) -> None:
    table.to_json(path, orient="records", lines=True, force_ascii=False)


def _parquet(table: pd.DataFrame, path: Path) -> None:
    marked = table.copy(deep=False)
    marked.attrs = {**table.attrs, TABLE_KEY: True}  # so that it is not taken for a damaged result
    marked.to_parquet(path, index=False)


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def check_target(out: Path, *, overwrite: bool, endings: tuple[str, ...]) -> None:
    """Checks early that a file may be written: its ending, its place, what is there already.

    A result of `jadfer annotate` and its JSON sidecar are never replaced, not with `overwrite`
    either: rows are hours of work, and a slip of the shell's history would cost them.

    Args:
        out: The file.
        overwrite: Replace what is there.
        endings: The endings that the command knows.

    Raises:
        OptionError: The ending is unknown, or the file exists.
        OutputError: It is a result, or cannot be written.
    """
    if not out.name.endswith(endings):
        raise OptionError(
            f"-o {out}: the format follows from the ending, and {out.suffix or 'none'} is unknown.",
            f"Known are {', '.join(endings)}.",
        )
    check_writable(out)
    if is_result(out) or is_sidecar(out):
        raise OutputError(
            f"{out} is a result of jadfer annotate, so it is not replaced.",
            "Choose another name with -o.",
        )
    if not overwrite and os.path.lexists(out):
        raise OptionError(
            f"{out} exists already.", "Add --overwrite to replace it, or choose another -o."
        )


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Writes a table, whole or not at all; check it with `check_target` before the work.

    Args:
        table: Its columns; its index is left out.
        out: Ends in one of `table_endings()`.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_write(out) as part:
        _WRITERS[out.suffix](table, part)


def table_endings() -> tuple[str, ...]:
    """The endings that `write_table` knows."""
    return tuple(_WRITERS)
