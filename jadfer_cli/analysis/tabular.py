"""Write tables for other programs; the suffix of the file decides the format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.analysis.formats import excel, statistics, text_table
from jadfer_cli.analysis.formats.base import Meaning, TextStyle, office
from jadfer_cli.analysis.formats.text_table import with_texts
from jadfer_cli.common import already_exists, atomic_write, check_writable
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.results.paths import is_sidecar
from jadfer_cli.text import encodable, escaped_json, spreadsheet_safe

if TYPE_CHECKING:
    import pandas as pd

Writer = Callable[["Iterable[pd.DataFrame]", Path, TextStyle, Meaning], None]


@dataclass(frozen=True)
class Format:
    """A format in which rows and tables can be written.

    Attributes:
        write: Writes the pieces of one table, in order, to a file.
        package: What it needs of the extra [office]; None for nothing.
        max_rows: How many rows a file can hold, without the titles; None for any number.
    """

    write: Writer
    package: str | None = None
    max_rows: int | None = None


# What rows can be converted to.
FORMATS = {
    ".csv": Format(text_table.write_csv),
    ".csv.gz": Format(text_table.write_csv_gz),
    ".tsv": Format(text_table.write_tsv),
    ".tsv.gz": Format(text_table.write_tsv_gz),
    excel.ENDING: Format(excel.write_xlsx, "openpyxl", excel.MAX_ROWS - 1),
    statistics.SPSS: Format(statistics.write_sav, "pyreadstat", statistics.MAX_ROWS),
    statistics.STATA: Format(statistics.write_dta, "pyreadstat", statistics.MAX_ROWS),
}


def ending_of(path: Path) -> str:
    """Return the suffix that decides the format: .csv.gz for x.csv.gz, else the last one."""
    double = "".join(path.suffixes[-2:])
    return double if double in FORMATS else path.suffix


def ending_named(format_name: str) -> str:
    """Return the suffix of a format that a user named: .csv.gz for csv.gz.

    Raises:
        OptionError: There is no such format.
    """
    ending = f".{format_name.removeprefix('.').lower()}"
    if ending not in FORMATS:
        known = ", ".join(each[1:] for each in FORMATS)
        raise OptionError(f"`format` must be one of {known}, not {format_name}.")
    return ending


def spreadsheet_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which no cell or title is a formula; numbers stay numbers."""
    return with_texts(table, spreadsheet_safe, logicals=True)


def _json(pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning) -> None:
    text = _whole(pieces).to_json(orient="records", indent=2, force_ascii=False)
    path.write_text(escaped_json(text), "utf-8", newline="\n")


def _jsonl(pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning) -> None:
    text = _whole(pieces).to_json(orient="records", lines=True, force_ascii=False)
    path.write_text(escaped_json(text), "utf-8", newline="\n")


def _parquet(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    from jadfer_cli.analysis.find import TABLE_KEY

    table = _whole(pieces)
    marked = table.copy(deep=False)
    marked.attrs = {**table.attrs, TABLE_KEY: True}  # lets `find_results` skip it
    marked.to_parquet(path, index=False)


def _whole(pieces: Iterable[pd.DataFrame]) -> pd.DataFrame:
    (table,) = pieces  # tables are written in one piece
    return table


_TABLES = {
    ".csv": FORMATS[".csv"],
    ".tsv": FORMATS[".tsv"],
    ".json": Format(_json),
    ".jsonl": Format(_jsonl),
    ".parquet": Format(_parquet),
    **FORMATS,
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
    check_package(out)
    check_writable(out)
    if is_result(out) or is_sidecar(out):
        raise OutputError(
            f"{out} is a result of jadfer annotate, so it is not replaced.",
            "Choose another name with `out`.",
        )
    if not overwrite and os.path.lexists(out):
        raise already_exists(out)


def check_package(out: Path) -> None:
    """Check early that the package which a format needs is installed.

    Raises:
        OutputError: It is not.
    """
    ending = ending_of(out)
    if (found := FORMATS.get(ending)) and found.package:
        office(found.package, ending)


def check_rows(out: Path, n_rows: int, source: Path | None = None) -> None:
    """Check early that a file can hold so many rows.

    Args:
        out: The file; its suffix decides the format.
        n_rows: Without the titles.
        source: The file that holds the rows, for the message.

    Raises:
        OutputError: There are too many.
    """
    found = FORMATS.get(ending_of(out))
    if found and found.max_rows is not None and n_rows > found.max_rows:
        which = "The table" if source is None else str(source)
        raise OutputError(
            f"{which} has {n_rows:,} rows, but a {ending_of(out)} file holds {found.max_rows:,} at "
            f"most, so {out} was not written.",
            "Write .csv or .parquet, or several files with fewer videos in each.",
        )


def write_table(
    table: pd.DataFrame,
    out: Path,
    style: TextStyle = TextStyle(),  # noqa: B008 - frozen
    meaning: Meaning = Meaning(),  # noqa: B008 - frozen
) -> None:
    """Write a table atomically; call `check_target` before the work starts.

    Args:
        table: Its columns are written, its index is not.
        out: Ends in one of `table_endings()`.
        style: Of .csv and .tsv.
        meaning: Of its columns.

    Raises:
        OutputError: The file cannot be written.
    """
    write_pieces([table], out, style, meaning)


def write_pieces(
    pieces: Iterable[pd.DataFrame], out: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write a table that comes in pieces, as `write_table` does.

    Args:
        pieces: At least one, with equal columns; only .csv, .tsv and .xlsx hold one at a time.
        out: Ends in one of `FORMATS`; a table in one piece may also end otherwise.
        style: Of .csv and .tsv.
        meaning: Of the columns.

    Raises:
        OutputError: The file cannot be written.
    """
    encoded = (with_texts(piece, encodable) for piece in pieces)
    with atomic_write(out) as part:
        _TABLES[ending_of(out)].write(encoded, part, style, meaning)


def table_endings() -> tuple[str, ...]:
    """Return the suffixes that `write_table` accepts."""
    return tuple(_TABLES)
