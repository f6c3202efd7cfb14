"""Tables on stdout that read well on a terminal, in a pipe, and without colour."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from jadfer_cli.cli.console import stdout_console
from jadfer_cli.text import one_line, shortened

# Nothing is wrapped in a pipe, so that grep and logs see complete lines.
PIPE_WIDTH = 4000

Cell = str | tuple[str, str] | Text  # plain text, text with a style, or styled text


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """Aligned columns without rules; text is wrapped if necessary, never truncated.

    Args:
        head: Column titles; empty for none.
        rows: The cells of each row.
    """
    lines = [tuple(_text(cell) for cell in row) for row in rows]
    result = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(head), header_style="bold"
    )
    for i in range(len(lines[0]) if lines else len(head)):
        result.add_column(_text(head[i]) if head else "", overflow="fold")
    for line in lines:
        result.add_row(*line)
    return result


def figures(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Sequence[int]) -> Table:
    """As `table`, but the columns numbered in `right` are right-aligned and never wrapped.

    Names in the first column are not wrapped either: long ones are shortened in the middle, if
    they stay different.
    """
    lines = [list(row) for row in rows]
    if 0 not in right and all(isinstance(row[0], str) for row in lines[:-1]):
        names = {row[0] for row in lines if isinstance(row[0], str)}
        short = {name: shortened(one_line(name), max(room() // 4, 16)) for name in names}
        if len(set(short.values())) == len(names):
            for row in lines:
                row[0] = short[row[0]] if isinstance(row[0], str) else row[0]
    result = table(head, lines)
    if 0 not in right and result.columns:
        result.columns[0].no_wrap = True
    for i in right:
        result.columns[i].justify, result.columns[i].no_wrap = "right", True
    return result


def title(text: str) -> Text:
    """A heading."""
    return Text(one_line(text), style="bold cyan")


def room() -> int:
    """Width available to a table: that of the terminal; in a pipe as much as it needs."""
    console = stdout_console()
    return console.width if console.is_terminal or "COLUMNS" in os.environ else PIPE_WIDTH


def show(*parts: Table | Text) -> None:
    """Prints the parts on stdout.

    A text with `no_wrap`, such as a command, is left to the terminal to wrap, so that it can be
    copied in one piece.
    """
    console = stdout_console()
    if console.is_terminal:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
        return
    console.width = room()
    with console.capture() as captured:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
    for line in captured.get().splitlines():
        console.file.write(line.rstrip() + "\n")


def flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as pairs of a dotted name and a text: ("config.width", "256")."""
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            if value:
                yield prefix + key, ", ".join(map(str, value))
        elif value not in (None, ""):
            yield prefix + key, str(value)


def _text(cell: Cell) -> Text:
    if isinstance(cell, Text):
        return cell
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(one_line(text), style=style)  # here already, so that the widths are right
