"""`jadfer guide`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import INSTALLATION_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stdout_console
from jadfer_cli.cli.tables import Cell, show, table, title
from jadfer_cli.installation.guides import guide_text, guides

PANEL = INSTALLATION_PANEL
RUNS_WITHOUT_ARGUMENTS = True
HELP = """Read a guide in the terminal, or list the guides.

The guides are part of the installation and need no network. In a pipe, a guide is Markdown.

Examples:

  jadfer guide

  jadfer guide first-study

  jadfer guide columns | less
"""


def guide(
    name: Annotated[
        str | None,
        typer.Argument(help="The guide to print.", show_default=False),
    ] = None,
    debug: shared.DebugOption = False,
) -> None:
    """Read a guide."""
    with errors_as_exit_codes(debug=debug):
        if name is None:
            rows: list[list[Cell]] = [
                [(known, "bold"), answers.replace("`", "")] for known, answers in guides().items()
            ]
            show(title("Guides"), table((), rows), Text(), Text("Read one: jadfer guide NAME"))
            return
        text = guide_text(name)
        console = stdout_console()
        if console.is_terminal:
            console.print(Markdown(text, code_theme="bw", hyperlinks=False))
        else:
            console.print(Text(text), soft_wrap=True, end="")
