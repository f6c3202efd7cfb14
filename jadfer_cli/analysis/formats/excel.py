"""Excel workbooks, in which every cell has a type: numbers, texts and truth values stay apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.analysis.formats.base import Meaning, TextStyle, check_columns, check_exact, office
from jadfer_cli.errors import OutputError
from jadfer_cli.text import shortened, spreadsheet_safe, xml_safe

if TYPE_CHECKING:
    import pandas as pd

ENDING = ".xlsx"
# https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3
MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384  # of a sheet, with the titles
_MAX_CELL = 32_767  # characters


def write_xlsx(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write one sheet; missing values are empty cells.

    A text that looks like a formula is stored as a text, with the mark that Excel calls quote
    prefix, so it stays one when a user edits the cell.

    Raises:
        OutputError: The table has more rows or columns than a sheet, a whole number that Excel
            would round, or an infinite number.
    """
    openpyxl = office("openpyxl", ENDING)
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    sheet.freeze_panes = "A2"

    @functools.cache
    def text_cell(text: str) -> Any:
        safe = shortened(xml_safe(text).replace("\r", "\\r"), _MAX_CELL)
        if spreadsheet_safe(safe) == safe and not safe.startswith("#"):
            return safe
        cell = WriteOnlyCell(sheet, safe)
        cell.data_type, cell.quotePrefix = "s", True  # neither a formula nor an error like #N/A
        return cell

    def number_cell(value: float) -> Any:
        if float(f"{value:.16g}") == value:
            return value
        # openpyxl writes 16 digits of a number, and a float64 may need 17
        cell = WriteOnlyCell(sheet, value)
        cell._value = repr(value)
        return cell

    try:
        _fill(sheet, pieces, text_cell, number_cell)
    except BaseException:
        sheet.close()
        raise
    book.save(path)


def _fill(
    sheet: Any,
    pieces: Iterable[pd.DataFrame],
    text_cell: Callable[[str], Any],
    number_cell: Callable[[float], Any],
) -> None:
    """Write titles and rows into a sheet."""
    n_rows = 1
    for i, piece in enumerate(pieces):
        if i == 0:
            check_columns(len(piece.columns), MAX_COLUMNS)
            sheet.append([text_cell(str(name)) for name in piece.columns])
        n_rows += len(piece)
        if n_rows > MAX_ROWS:
            raise OutputError(
                f"There are more than {MAX_ROWS - 1:,} rows, which is the most that a sheet of "
                "Excel can hold.",
                "Write .csv or .parquet.",
            )
        columns = [
            _cells(str(name), piece.iloc[:, k], text_cell, number_cell)
            for k, name in enumerate(piece.columns)
        ]
        for row in zip(*columns, strict=True):
            sheet.append(row)


def _cells(
    name: str,
    column: pd.Series[Any],
    text_cell: Callable[[str], Any],
    number_cell: Callable[[float], Any],
) -> list[Any]:
    """The cells of a column; None where the value is missing."""
    from pandas.api import types

    values: list[Any]
    missing = column.isna().tolist()
    kind = column.dtype
    if types.is_bool_dtype(kind):
        values = [None if gone else bool(v) for v, gone in zip(column, missing, strict=True)]
    elif types.is_integer_dtype(kind):
        check_exact(name, column)
        values = [None if gone else int(v) for v, gone in zip(column, missing, strict=True)]
    elif types.is_float_dtype(kind):
        values = [v if v is None else number_cell(v) for v in _floats(name, column, missing)]
    else:
        values = [
            None if gone else text_cell(v) if isinstance(v, str) else v
            for v, gone in zip(column.astype(object), missing, strict=True)
        ]
    return values


def _floats(name: str, column: pd.Series[Any], missing: list[bool]) -> list[Any]:
    import numpy as np

    values = column.to_numpy(dtype=None, na_value=np.nan)
    if np.isinf(values).any():
        raise OutputError(
            f"The column {name} has infinite numbers, which Excel cannot store.", "Write .csv."
        )
    # float32 by its shortest digits: 0.1 rather than 0.10000000149011612
    numbers = [float(str(v)) for v in values] if values.dtype == np.float32 else values.tolist()
    return [None if gone else v for v, gone in zip(numbers, missing, strict=True)]
