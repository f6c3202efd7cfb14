"""What the commands that read results share: opening results, and progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jadfer_cli.cli.console import messages_above_bar, print_note, print_warning, stderr_console
from jadfer_cli.text import count_text, without_subject

if TYPE_CHECKING:
    from jadfer_cli.analysis.failures import Failure
    from jadfer_cli.analysis.find import FoundResults
    from jadfer_cli.results.load import Result

T = TypeVar("T")
_MAX_FAILED = 3  # named with their reason


def opened(inputs: Sequence[str], *, recursive: bool) -> list[Result]:
    """Find and open results; their rows are read later.

    Damaged files, and videos that failed in the same batch, are reported on stderr, so that no
    video drops out of a study unnoticed.

    Raises:
        ResultError: A named file is missing, damaged or not a result; or nothing was found.
    """
    return list(found(inputs, recursive=recursive).results)


def found(inputs: Sequence[str], *, recursive: bool, datasets: bool = True) -> FoundResults:
    """The same with everything else that was found: failed videos and skipped files.

    Args:
        inputs: Files, folders, patterns.
        recursive: Search subfolders.
        datasets: Also open the results in files of `jadfer collect`.

    Raises:
        ResultError: As of `opened`.
    """
    from jadfer_cli.analysis.find import find_results

    found = find_results(inputs, recursive=recursive, datasets=datasets)
    for file in found.skipped:
        if file.is_damaged:
            why = file.error.message.removeprefix(f"{file.path} ")
            print_note(f"Warning: Skipped {file.path}, which {why}")
    report_failures(found)
    return found


def report_failures(found: FoundResults) -> bool:
    """Warn of videos that failed in the same batch; returns whether there are any."""
    if found.failures:
        print_warning(_failed_text(len(found.results), found.failures))
    return bool(found.failures)


def _failed_text(n_annotated: int, failures: Sequence[Failure]) -> str:
    """How many videos were given, annotated and failed, and the first few with their reasons."""
    named = "; ".join(
        f"{each.path} ({without_subject(each.reason, each.path).rstrip('.')})"
        for each in failures[:_MAX_FAILED]
    )
    more = f"; and {len(failures) - _MAX_FAILED:,} more" if len(failures) > _MAX_FAILED else ""
    return (
        f"{count_text(n_annotated + len(failures), 'video')} given, {n_annotated:,} annotated, "
        f"{len(failures):,} failed: {named}{more}."
    )


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
    with messages_above_bar(console):
        yield from track(items, what, total=total, console=console, transient=True)


def wrote(out: Path, text: str, *, quiet: bool) -> None:
    """Report on stderr what was written."""
    if not quiet:
        print_note(f"{out}: {text}")
