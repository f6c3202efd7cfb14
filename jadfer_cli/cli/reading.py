"""What the commands that read results share: opening them, and progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jadfer_cli.cli.console import stderr_console

if TYPE_CHECKING:
    from jadfer_cli.results.load import Result

T = TypeVar("T")


def opened(inputs: Sequence[str], *, recursive: bool) -> list[Result]:
    """The results that the inputs mean, opened; their rows are read later.

    Damaged files in folders are named on stderr: nobody is left out of a study unnoticed.

    Raises:
        ResultError: One is missing, damaged or no result.
    """
    from jadfer_cli.results import load

    results = [load.load(path) for path in load.find(inputs, recursive=recursive)]
    for path in load.damaged(inputs, recursive=recursive):
        text = f"Warning: {path} is no readable Parquet file; it is left out."
        stderr_console().print(text, markup=False)
    return results


def each(items: Sequence[T], what: str, *, quiet: bool) -> Iterator[T]:
    """The items, under a progress bar on stderr where there are several and a terminal.

    Args:
        items: E.g. results.
        what: What is done, e.g. "reading".
        quiet: Show nothing.
    """
    yield from tracked(items, what, total=len(items), quiet=quiet or len(items) < 2)


def tracked(items: Iterable[T], what: str, *, total: int | None, quiet: bool) -> Iterator[T]:
    """Items under a progress bar on stderr, on a terminal; it goes when all are done."""
    from rich.progress import track

    console = stderr_console()
    if quiet or not console.is_terminal:
        yield from items
        return
    yield from track(items, what, total=total, console=console, transient=True)


def wrote(out: Path, text: str, *, quiet: bool) -> None:
    """Says on stderr what was written."""
    if not quiet:
        stderr_console().print(f"{out}: {text}", markup=False)
