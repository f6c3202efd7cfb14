"""Consoles and messages: data to stdout, everything else to stderr; errors become exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console as _RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from jadfer_cli import stopping
from jadfer_cli.errors import JadferError
from jadfer_cli.explain import explain
from jadfer_cli.flags import worded
from jadfer_cli.text import json_for, json_text, one_line, printable

if TYPE_CHECKING:
    import pandas as pd

NOTHING_LEFT = "No incomplete file was left behind; run the command again."


class Console(_RichConsole):
    """A console on which no name, label or message can control the terminal.

    Everything that rich draws passes through `render`: text, tables, progress bars. Only the
    control codes of rich itself stay.
    """

    def print(self, *objects: Any, **settings: Any) -> None:
        """Prints objects; a str is one line of markup, whatever a file name in it contains."""
        super().print(*(one_line(o) if isinstance(o, str) else o for o in objects), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Draws an object, with control characters in its text shown as escapes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def stdout_console() -> Console:
    """For data and tables."""
    return Console()


# The console of the bar on screen, if any: only it can print above the bar.
_with_bar: list[Console] = []


@contextlib.contextmanager
def messages_above_bar(console: Console) -> Iterator[None]:
    """Makes `stderr_console` return the console that draws a bar, until the bar is gone."""
    _with_bar.append(console)
    try:
        yield
    finally:
        _with_bar.remove(console)


def stderr_console() -> Console:
    """For progress and messages, which wrap on a terminal only: in a log each is one line."""
    if _with_bar:
        return _with_bar[-1]
    console = Console(stderr=True, highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


@contextlib.contextmanager
def errors_as_exit_codes(
    *, debug: bool, log_json: bool = False, interrupted: str = NOTHING_LEFT
) -> Iterator[None]:
    """Turns an exception of a command into one message on stderr and an exit code.

    Args:
        debug: Also show the traceback.
        log_json: Write the message as a JSON line, event "error".
        interrupted: The hint after Ctrl-C, unless the exception carries a note of its own.

    Raises:
        typer.Exit: With the exit code; 130 after Ctrl-C.
    """
    stopping.install()

    def say(error: JadferError, exit_code: int) -> None:
        if log_json:
            from jadfer_cli.cli.json_log import write_error

            write_error(error, exit_code)
        else:
            say_error(error)

    try:
        yield
    except typer.Exit:
        raise
    except JadferError as error:
        if debug:
            _print_traceback()
        say(error, error.exit_code)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        what = "Interrupted." if number == signal.SIGINT else "Stopped by a signal."
        say(JadferError(what, _notes(error) or interrupted), 128 + number)
        raise typer.Exit(128 + number) from None
    except BrokenPipeError:  # `jadfer ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except Exception as error:
        explained = explain(error)
        if debug:
            _print_traceback()
        hint = f"{explained.hint or ''} {_notes(error)}".strip()
        say(JadferError(explained.message, hint or None), 1)
        raise typer.Exit(1) from None


def _notes(error: BaseException) -> str:
    """Text for the user that was added to an exception on its way up."""
    return " ".join(getattr(error, "__notes__", []))


@contextlib.contextmanager
def printable_usage_errors() -> Iterator[None]:
    """Makes the messages of typer's usage errors printable, which repeat what a user typed."""
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = one_line(message)  # type: ignore[attr-defined]
        raise


def _print_traceback() -> None:
    print(printable(traceback.format_exc()), end="", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Prints a value as indented JSON on stdout."""
    print(json_for(sys.stdout, json_text(value, indent=2)))


def print_csv(table: pd.DataFrame) -> None:
    """Prints a table as CSV on stdout."""
    from jadfer_cli.analysis.tabular import spreadsheet_table

    # by default, pandas ends lines as the system does, and so does print
    print(printable(spreadsheet_table(table).to_csv(index=False, lineterminator="\n")), end="")


def print_line(text: object) -> None:
    """Prints a line on stdout for programs, such as a path: never wrapped, without colour."""
    print(one_line(str(text)))


def _shown(text: str) -> str:
    """A message on one line, with options as flags; what the user typed stays as it is."""
    return one_line(worded(text, *sys.argv))


def say_error(error: JadferError) -> None:
    """Prints an error and its hint on stderr."""
    console = stderr_console()
    console.print(Text.assemble(("Error: ", "bold red"), _shown(error.message)))
    if error.hint:
        console.print(Text.assemble(("Hint:  ", "bold"), _shown(error.hint)))


def warning_text(text: str) -> Text:
    """A warning as it is printed, on stdout beside tables as on stderr."""
    return Text.assemble(("Warning: ", "bold yellow"), _shown(text))


def print_warning(text: str) -> None:
    """Prints a warning on stderr."""
    stderr_console().print(warning_text(text))


def print_note(text: str) -> None:
    """Prints a sentence on stderr as it is, without markup."""
    stderr_console().print(Text(one_line(text)))
