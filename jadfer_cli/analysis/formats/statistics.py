"""SPSS and Stata files, with variable labels and value labels.

Truth values are stored as 0 and 1, and categories as codes, both with value labels: this is how
these programs expect them. Missing numbers are system-missing; a missing text is an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.analysis.formats.base import Meaning, TextStyle, check_columns, check_exact, office
from jadfer_cli.errors import OutputError

if TYPE_CHECKING:
    import pandas as pd

SPSS, STATA = ".sav", ".dta"
MAX_ROWS = 2_147_483_647  # cases of SPSS, observations of Stata
_MAX_STATA_LONG = 2_147_483_620  # larger ones are codes of missing values


@dataclass(frozen=True)
class _Limits:
    """What names and labels of a program may look like, with lengths in bytes of UTF-8.

    Attributes:
        name: Longest name of a variable.
        variable: Longest variable label.
        value: Longest value label.
        text: Longest text.
        columns: How many variables a file can hold.
        reserved: Names in lower case that the program keeps for itself.
    """

    name: int
    variable: int
    value: int
    text: int
    columns: int
    reserved: frozenset[str]


# IBM SPSS Statistics, Command Syntax Reference: Variable names; Stata, Data Management: limits
_SPSS_LIMITS = _Limits(64, 256, 120, 32_767, 2_147_483_647, frozenset(
    "all and by eq ge gt le lt ne not or to with".split()
))  # fmt: skip
_STATA_LIMITS = _Limits(32, 80, 32_000, 2_000_000_000, 32_767, frozenset(
    "byte double float if in int long str strl using with".split()
))  # fmt: skip


def write_sav(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write an SPSS file.

    Raises:
        OutputError: A whole number would be rounded, or a text is too long, or there are too many
            columns.
    """
    pyreadstat = office("pyreadstat", SPSS)
    made = _Prepared(pieces, meaning, _SPSS_LIMITS)
    measures = dict.fromkeys(made.value_labels, "nominal")
    _write(
        pyreadstat.write_sav, made, path, file_label=_cut(meaning.title, 64),
        variable_measure=measures,
    )  # fmt: skip


def write_dta(
    pieces: Iterable[pd.DataFrame], path: Path, style: TextStyle, meaning: Meaning
) -> None:
    """Write a file that Stata 14 and later read.

    Raises:
        OutputError: A whole number would be rounded, or there are too many columns.
    """
    pyreadstat = office("pyreadstat", STATA)
    made = _Prepared(pieces, meaning, _STATA_LIMITS)
    _write(pyreadstat.write_dta, made, path, file_label=_cut(meaning.title, 80), version=14)


def _write(write: Callable[..., None], made: _Prepared, path: Path, **settings: Any) -> None:
    pyreadstat = office("pyreadstat", path.suffix)
    try:
        write(
            made.table, path, column_labels=made.labels,
            variable_value_labels=made.value_labels, **settings,
        )  # fmt: skip
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError) as error:
        raise OutputError(
            f"The table cannot be written: {error}.", "Is the disk full? Otherwise write .csv."
        ) from error


class _Prepared:
    """A table with the names, types and codes that a statistics program can store.

    Attributes:
        table: The table.
        labels: The variable label of each column, in their order.
        value_labels: By column, the label of each code.
    """

    def __init__(self, pieces: Iterable[pd.DataFrame], meaning: Meaning, limits: _Limits) -> None:
        import pandas as pd

        whole = [piece.astype(_as_text(piece)) for piece in pieces]  # categories may differ
        table = whole[0] if len(whole) == 1 else pd.concat(whole, ignore_index=True)
        check_columns(len(table.columns), limits.columns)
        names = _names([str(name) for name in table.columns], limits)
        self.labels: list[str] = []
        self.value_labels: dict[str, dict[int, str]] = {}
        columns: dict[str, Any] = {}
        for i, (old, new) in enumerate(zip(map(str, table.columns), names, strict=True)):
            description = meaning.descriptions.get(old, "")
            parts = [*([old] if old != new else []), *([description] if description else [])]
            self.labels.append(_cut(": ".join(parts) or old, limits.variable))
            codes = meaning.categories.get(old)
            columns[new], labels = _column(old, table.iloc[:, i], codes, limits)
            if labels:
                self.value_labels[new] = {k: _cut(v, limits.value) for k, v in labels.items()}
        self.table = pd.DataFrame(columns)


def _as_text(piece: pd.DataFrame) -> dict[Any, Any]:
    import pandas as pd

    return {n: object for n, k in piece.dtypes.items() if isinstance(k, pd.CategoricalDtype)}


def _column(
    name: str, column: pd.Series[Any], codes: Any, limits: _Limits
) -> tuple[Any, dict[int, str]]:
    """The values to store, and the labels of their codes."""
    import numpy as np
    import pandas as pd
    from pandas.api import types

    if types.is_bool_dtype(column.dtype):
        return _whole(column.astype("Int8")), {0: "false", 1: "true"}
    if types.is_integer_dtype(column.dtype):
        check_exact(name, column)
        return _whole(column), {}
    if types.is_float_dtype(column.dtype):
        values = column.to_numpy(dtype=None, na_value=np.nan)
        if values.dtype == np.float32:  # by its shortest digits
            values = np.array([float(str(v)) for v in values], np.float64)
        if np.isinf(values).any():
            raise OutputError(f"The column {name} has infinite numbers.", "Write .csv.")
        return values, {}
    texts = column.astype(object)
    if codes is not None and set(texts.dropna().unique()) <= set(codes):
        numbers = {text: code for code, text in enumerate(codes)}
        return _whole(texts.map(numbers).astype("Int32")), dict(enumerate(codes))
    texts = texts.map(lambda v: "" if pd.isna(v) else str(v))
    longest = max((len(text.encode()) for text in texts.unique()), default=0)
    if longest > limits.text:
        raise OutputError(
            f"The column {name} has a text of {longest:,} bytes; this format holds "
            f"{limits.text:,}.",
            "Write .csv or .parquet.",
        )
    return texts.to_numpy(object), {}


def _whole(column: pd.Series[Any]) -> Any:
    """Whole numbers: int32 where all are present and fit, otherwise float64 with NaN."""
    import numpy as np

    if column.isna().any():
        return column.to_numpy(np.float64, na_value=np.nan)
    # not `abs`: that of the lowest integer is negative
    fits = not len(column) or max(int(column.max()), -int(column.min())) <= _MAX_STATA_LONG
    return column.to_numpy(np.int32 if fits else np.float64)


def _names(names: list[str], limits: _Limits) -> list[str]:
    """Names that the program accepts; upper and lower case do not tell two of them apart."""
    found: list[str] = []
    for name in names:
        new = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not new[:1].isalpha() or new.lower() in limits.reserved:
            new = f"v_{new}"
        new, n = new[: limits.name], 2
        while new.lower() in {other.lower() for other in found}:
            suffix = f"_{n}"
            new, n = f"{new[: limits.name - len(suffix)]}{suffix}", n + 1
        found.append(new)
    return found


def _cut(text: str, n_bytes: int) -> str:
    """The text, shortened to so many bytes of UTF-8."""
    if len(text.encode()) <= n_bytes:
        return text
    return text.encode()[: n_bytes - 3].decode("utf-8", "ignore") + "…"
