"""Write tables for other programs; the suffix of the file decides the format."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.results.paths import is_sidecar
from jadfer_cli.text import encodable, escaped_json, one_line, spreadsheet_safe

if TYPE_CHECKING:
    import pandas as pd


def spreadsheet_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which no cell or title is a formula; numbers stay numbers."""
    return _with_texts(table, spreadsheet_safe)


def _with_texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The table with all its texts and column titles changed; equal texts are changed once."""
    from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

    cached = functools.cache(change)

    def cell(value: Any) -> Any:
        return cached(value) if isinstance(value, str) else value

    result = table.copy(deep=False)
    for i, kind in enumerate(table.dtypes):
        if not (is_numeric_dtype(kind) or is_datetime64_any_dtype(kind)):
            result.isetitem(i, table.iloc[:, i].astype(object).map(cell).array)
    return result.set_axis([cell(name) for name in table.columns], axis=1)


def _csv(table: pd.DataFrame, path: Path) -> None:
    spreadsheet_table(table).to_csv(path, index=False)


def _tsv(table: pd.DataFrame, path: Path) -> None:
    # many readers split at every tab and line break; n/a is what BIDS prescribes
    lines = _with_texts(table, lambda text: spreadsheet_safe(one_line(text)))
    lines.to_csv(path, index=False, sep="\t", na_rep="n/a")


def _json(table: pd.DataFrame, path: Path) -> None:
    text = table.to_json(orient="records", indent=2, force_ascii=False)
    path.write_text(escaped_json(text), "utf-8")


def _jsonl(table: pd.DataFrame, path: Path) -> None:
    text = table.to_json(orient="records", lines=True, force_ascii=False)
    path.write_text(escaped_json(text), "utf-8")


def _parquet(table: pd.DataFrame, path: Path) -> None:
    from jadfer_cli.analysis.find import TABLE_KEY

    marked = table.copy(deep=False)
    marked.attrs = {**table.attrs, TABLE_KEY: True}  # lets `find_results` skip it
    marked.to_parquet(path, index=False)


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def check_target(out: Path, *, overwrite: bool, endings: tuple[str, ...]) -> None:
    """Check early that a file may be written: its suffix, its folder, and what exists already.

    A result of `jadfer annotate` and its JSON sidecar are never replaced, even with `overwrite`:
    a result is hours of work, and one slip in a command line would destroy it.

    Args:
        out: The file.
        overwrite: Replace an existing file.
        endings: The suffixes that the command accepts.

    Raises:
        OptionError: The suffix is unknown, or the file exists.
        OutputError: The file belongs to a result, or cannot be written.
    """
    from jadfer_cli.analysis.find import is_result

    if not out.name.endswith(endings):
        raise OptionError(
            f"`out` {out}: the suffix decides the format, and {out.suffix or 'none'} is unknown.",
            f"Known are {', '.join(endings)}.",
        )
    check_writable(out)
    if is_result(out) or is_sidecar(out):
        raise OutputError(
            f"{out} is a result of jadfer annotate, so it is not replaced.",
            "Choose another name with `out`.",
        )
    if not overwrite and os.path.lexists(out):
        raise OptionError(
            f"{out} already exists.",
            "Add `if_exists='overwrite'` to replace it, or choose another `out`.",
        )


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table atomically; call `check_target` before the work starts.

    Args:
        table: Its columns are written, its index is not.
        out: Ends in one of `table_endings()`.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(out) as part:
        _WRITERS[out.suffix](_with_texts(table, encodable), part)


def table_endings() -> tuple[str, ...]:
    """Return the suffixes that `write_table` accepts."""
    return tuple(_WRITERS)
