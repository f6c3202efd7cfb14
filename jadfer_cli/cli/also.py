"""The further format in which `jadfer annotate` writes its results, beside the Parquet files.

The Parquet file stays the result: it alone decides what is kept, resumed and redone. The other
file is made from it as soon as the run has ended, and again whenever it is missing or older.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jadfer_cli.batch.plan import SUFFIX, Task
from jadfer_cli.cli.console import say_error
from jadfer_cli.cli.reading import wrote
from jadfer_cli.errors import JadferError, OptionError
from jadfer_cli.options import IfExists
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.formats.base import TextStyle


@dataclass(frozen=True)
class AlsoWrite:
    """A further format.

    Attributes:
        ending: Its suffix, such as .csv.gz.
        style: Of .csv and .tsv.
        if_exists: What to do about existing files.
        actions: Whether the results will have facial actions, which get a file of their own.
    """

    ending: str
    style: TextStyle
    if_exists: IfExists
    actions: bool = False

    def check(self, tasks: Sequence[Task]) -> None:
        """Check before the work that the files may be written.

        Raises:
            OptionError: One exists and must not be replaced.
            OutputError: The package for the format is missing.
        """
        from jadfer_cli.analysis.tabular import check_package

        check_package(Path(f"x{self.ending}"))
        existing = [path for task in tasks for path in self._files(task) if path.exists()]
        if existing and self.if_exists == IfExists.REFUSE:
            raise OptionError(
                f"{existing[0]} exists already.",
                "--overwrite replaces it; --skip-existing keeps it unless its result is newer.",
            )

    def write(self, tasks: Sequence[Task], *, quiet: bool) -> None:
        """Convert the results that exist; a failure is reported and does not stop the others.

        Raises:
            typer.Exit: With code 1, if a file could not be written.
        """
        from jadfer_cli.analysis.convert import Conversion, is_current

        failed = False
        for task in tasks:
            files = self._files(task)
            current = all(is_current(task.target, path) for path in files)
            kept = self.if_exists == IfExists.SKIP and current
            if kept or not task.target.exists():
                continue
            out = files[0]
            try:
                n_rows = Conversion(task.target, out, style=self.style).run()
            except JadferError as error:
                say_error(error)
                failed = True
            else:
                wrote(out, count_text(n_rows, "row"), quiet=quiet)
        if failed:
            raise typer.Exit(1)

    def _files(self, task: Task) -> list[Path]:
        """What is written beside a result: its rows, then its facial actions."""
        from jadfer_cli.analysis.convert import beside
        from jadfer_cli.results.companions import ACTIONS

        names = ("", f".{ACTIONS}") if self.actions else ("",)
        return [beside(task.target, f"{name}{self.ending}") for name in names]


@contextlib.contextmanager
def converted(
    also: AlsoWrite | None, tasks: Sequence[Task], *, quiet: bool, dry_run: bool
) -> Iterator[None]:
    """Check the further format before a run, and write it afterwards, also if some videos failed.

    Raises:
        JadferError, typer.Exit: As the methods of `AlsoWrite` do.
    """
    if also is None or dry_run:
        yield
        return
    also.check(tasks)
    try:
        yield
    except typer.Exit:  # some videos failed; the others have results
        also.write(tasks, quiet=quiet)
        raise
    also.write(tasks, quiet=quiet)


def parquet_and_ending(out: str, format_name: str | None) -> tuple[str, str | None]:
    """Return the -o of the Parquet results, and the suffix of the further format, if any.

    Raises:
        OptionError: --format is unknown, or does not fit -o.
    """
    from jadfer_cli.analysis.tabular import FORMATS, ending_named, ending_of

    wanted = None if format_name is None else ending_named(format_name)
    path = Path(out)
    ending = ending_of(path)
    if out.endswith(("/", "\\")) or path.is_dir() or ending not in FORMATS:
        return out, wanted
    if wanted not in (None, ending):
        raise OptionError(f"-o {out} does not end in {wanted}, but --format is {format_name}.")
    return str(path.with_name(path.name.removesuffix(ending) + SUFFIX)), ending
