"""Consoles and messages: data to stdout, everything else to stderr; errors become exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.text import Text

from jadfer_cli import stopping
from jadfer_cli.errors import JadferError
from jadfer_cli.explain import explain

NOTHING_LEFT = "No incomplete file was left behind; run the command again."


def stdout_console() -> Console:
    """For data and tables."""
    return Console()


def stderr_console() -> Console:
    """For progress and messages, which wrap on a terminal only: in a log each is one line."""
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
            traceback.print_exc()
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
            raise
        hint = f"{explained.hint or ''} {_notes(error)}".strip()
        say(JadferError(explained.message, hint or None), 1)
        raise typer.Exit(1) from None


def _notes(error: BaseException) -> str:
    """Text for the user that was added to an exception on its way up."""
    return " ".join(getattr(error, "__notes__", []))


def say_error(error: JadferError) -> None:
    """Prints an error and its hint on stderr."""
    console = stderr_console()
    console.print(Text.assemble(("Error: ", "bold red"), error.message))
    if error.hint:
        console.print(Text.assemble(("Hint:  ", "bold"), error.hint))


def warning_text(text: str) -> Text:
    """A warning as it is printed, on stdout beside tables as on stderr."""
    return Text.assemble(("Warning: ", "bold yellow"), text)


def print_warning(text: str) -> None:
    """Prints a warning on stderr."""
    stderr_console().print(warning_text(text))


def print_note(text: str) -> None:
    """Prints a sentence on stderr as it is, without markup."""
    stderr_console().print(Text(text))
