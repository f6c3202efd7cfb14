"""Tables that people wrote: separators, names of columns, and cells that may be wrong."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jadfer_cli.common import parse_seconds
from jadfer_cli.errors import CodesError

Line = tuple[int, dict[str, str]]  # number in the file, and cells by column


def lines_of(text: str, first: int = 0) -> tuple[list[str], list[Line]]:
    """Return the columns of a table, and its lines without the empty ones.

    Args:
        text: The table, separated by commas, semicolons or tabs.
        first: Index of the line that holds the column names; what stands above is skipped.
    """
    rows = text.splitlines()[first:]
    head = rows[0] if rows else ""
    delimiter = max(",;\t", key=head.count)
    parsed = list(csv.reader(rows, delimiter=delimiter))
    header = [name.strip() for name in parsed[0]] if parsed else []
    return header, [
        (number, dict(zip(header, (cell.strip() for cell in row), strict=False)))
        for number, row in enumerate(parsed[1:], first + 2)
        if any(cell.strip() for cell in row)
    ]


def column(header: Sequence[str], names: Iterable[str]) -> str | None:
    """Return the first of the columns that has one of these names, whatever its case."""
    known = {name.lower(): name for name in header}
    return next((known[name] for name in names if name in known), None)


def seconds(line: Mapping[str, str], name: str, where: str) -> float:
    """Return a cell as seconds: 12.5, 12,5, 1:02.5 or 0:01:02.5.

    Raises:
        CodesError: It is not a time.
    """
    text = line.get(name, "")
    try:
        found = parse_seconds(text.replace(",", "."))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise CodesError(
            f"{where}: {name} is {text!r}, which is not a time.",
            "Times are seconds, such as 12.5, or minutes and seconds, such as 1:02.5.",
        )
    return found


def place(path: Path, number: int) -> str:
    """Return a place in a file, for messages."""
    return f"{path}, line {number}"
