"""What the commands that read results share: opening results, and progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jadfer_cli.cli.console import print_note, stderr_console

if TYPE_CHECKING:
    from jadfer_cli.results.load import Result

T = TypeVar("T")


def opened(inputs: Sequence[str], *, recursive: bool) -> list[Result]:
    """Find and open results; their rows are read later.

    Damaged files are reported on stderr, so that no video drops out of a study unnoticed.

    Raises:
        ResultError: A named file is missing, damaged or not a result; or nothing was found.
    """
    from jadfer_cli.analysis.find import SkipReason, find_results

    found = find_results(inputs, recursive=recursive)
    for file in found.skipped:
        if file.reason is SkipReason.DAMAGED:
            print_note(f"Warning: Skipped {file.path}: {file.reason.value}.")
    return list(found.results)


def each(items: Sequence[T], what: str, *, quiet: bool) -> Iterator[T]:
    """Yield the items, with a progress bar on stderr if there are several and a terminal.

    Args:
        items: E.g. results.
        what: The activity, e.g. "reading".
        quiet: Show no bar.
    """
    yield from tracked(items, what, total=len(items), quiet=quiet or len(items) < 2)


def tracked(items: Iterable[T], what: str, *, total: int | None, quiet: bool) -> Iterator[T]:
    """Yield the items; a terminal shows a progress bar until all are done."""
    from rich.progress import track

    console = stderr_console()
    if quiet or not console.is_terminal:
        yield from items
        return
    yield from track(items, what, total=total, console=console, transient=True)


def wrote(out: Path, text: str, *, quiet: bool) -> None:
    """Report on stderr what was written."""
    if not quiet:
        print_note(f"{out}: {text}")
