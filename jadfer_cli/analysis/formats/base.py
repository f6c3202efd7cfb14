"""What all formats of tables share: how numbers are written, and what columns mean."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from jadfer_cli.errors import OptionError, OutputError

DECIMALS = (".", ",")
_MAX_EXACT_INT = 1 << 53  # of a float64, which is what Excel, SPSS and Stata store


@dataclass(frozen=True)
class TextStyle:
    """How .csv and .tsv are written.

    Attributes:
        bom: Begin with a byte order mark, so that Excel reads the file as UTF-8.
        decimal: The decimal separator; with a comma, a semicolon separates the columns of .csv.

    Raises:
        OptionError: The decimal separator is neither a point nor a comma.
    """

    bom: bool = False
    decimal: str = "."

    def __post_init__(self) -> None:
        if self.decimal not in DECIMALS:
            raise OptionError(f"`decimal` must be a point or a comma, not {self.decimal}.")

    @property
    def separator(self) -> str:
        """What separates the columns of .csv."""
        return ";" if self.decimal == "," else ","


@dataclass(frozen=True)
class Meaning:
    """What the columns of a table mean, for formats that can store it.

    Attributes:
        descriptions: By column.
        categories: By column, the texts that are stored as codes 0, 1, ... with value labels.
        title: What the table is.
    """

    descriptions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    categories: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    title: str = "Table of jadfer"


def office(module: str, ending: str) -> Any:
    """Import a package of the extra [office].

    Raises:
        OutputError: It is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OutputError(
            f"Files that end in {ending} need the package {module}, which cannot be loaded: "
            f"{error}.",
            "Install it: pip install 'jadfer-cli[office]' (from a copy of the sources: "
            "pip install '.[office]').",
        ) from error


def check_columns(n_columns: int, most: int) -> None:
    """Check that a format can hold so many columns.

    Raises:
        OutputError: There are too many.
    """
    if n_columns > most:
        raise OutputError(
            f"The table has {n_columns:,} columns; this format holds {most:,}.",
            "Write .csv or .parquet.",
        )


def check_exact(name: str, values: Any) -> None:
    """Check that whole numbers survive as float64.

    Args:
        name: Of the column.
        values: A pandas Series of whole numbers, possibly with missing ones.

    Raises:
        OutputError: One is too large.
    """
    present = values.dropna()
    if len(present) and max(abs(int(present.min())), abs(int(present.max()))) > _MAX_EXACT_INT:
        raise OutputError(
            f"The column {name} has whole numbers above 2^53, which this format would round.",
            "Write .csv or .parquet.",
        )
