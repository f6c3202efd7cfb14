"""CSV and TSV, plain or compressed with gzip."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jadfer_cli.analysis.formats.base import Meaning, TextStyle
from jadfer_cli.text import one_line, spreadsheet_safe

if TYPE_CHECKING:
    import pandas as pd

_BOM = "\ufeff"


def with_texts(
    table: pd.DataFrame, change: Callable[[str], str], *, logicals: bool = False
) -> pd.DataFrame:
    """Return the table with all its texts and column titles changed; equal ones only once.

    Args:
        table: The table.
        change: What makes a new text of one.
        logicals: Also make TRUE and FALSE of true and false, as R and spreadsheets write them: R
            takes the True of Python for a text, so that no row can be chosen by it.
    """
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    cached = functools.cache(change)

    def cell(value: Any) -> Any:
        if logicals and isinstance(value, bool | np.bool_):
            return "TRUE" if value else "FALSE"
        return cached(value) if isinstance(value, str) else value

    result = table.copy(deep=False)
    for i, kind in enumerate(table.dtypes):
        kept = is_numeric_dtype(kind) and not (logicals and is_bool_dtype(kind))
        if not (kept or is_datetime64_any_dtype(kind)):
            result.isetitem(i, table.iloc[:, i].astype(object).map(cell).array)
    return result.set_axis([cell(name) for name in table.columns], axis=1)


def write_csv(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write comma-separated values; missing values are empty."""
    with path.open("wb") as file:
        _write_csv(pieces, file, style)


def write_csv_gz(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write the same, compressed; equal tables give equal files."""
    with _gzip(path) as file:
        _write_csv(pieces, file, style)


def write_tsv(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write tab-separated values; missing values are n/a, as BIDS prescribes."""
    with path.open("wb") as file:
        _write_tsv(pieces, file, style)


def write_tsv_gz(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write the same, compressed."""
    with _gzip(path) as file:
        _write_tsv(pieces, file, style)


@contextlib.contextmanager
def _gzip(path: Path) -> Iterator[gzip.GzipFile]:
    # without name and time of the temporary file, which gzip would store
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        yield packed


@contextlib.contextmanager
def _text(file: Any, style: TextStyle) -> Iterator[TextIO]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    text.write(_BOM if style.bom else "")
    yield text
    text.flush()
    text.detach()


def _write_csv(pieces: Iterable[pd.DataFrame], file: Any, style: TextStyle) -> None:
    with _text(file, style) as text:
        for i, piece in enumerate(pieces):
            with_texts(piece, spreadsheet_safe, logicals=True).to_csv(
                text, index=False, header=i == 0, sep=style.separator, decimal=style.decimal,
                lineterminator="\n",
            )  # fmt: skip


def _write_tsv(pieces: Iterable[pd.DataFrame], file: Any, style: TextStyle) -> None:
    with _text(file, style) as text:
        for i, piece in enumerate(pieces):
            # many readers split at every tab and line break
            lines = with_texts(piece, lambda text: spreadsheet_safe(one_line(text)), logicals=True)
            lines.to_csv(
                text, index=False, header=i == 0, sep="\t", na_rep="n/a", decimal=style.decimal,
                lineterminator="\n",
            )  # fmt: skip
