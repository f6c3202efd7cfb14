"""`jadfer init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import ANNOTATE_PANEL
from jadfer_cli.cli.commands.annotate import annotate
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.cli.reading import wrote
from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError, OutputError

PANEL = ANNOTATE_PANEL
RUNS_WITHOUT_ARGUMENTS = True
HELP = """Write a study file: all options of annotate, with their defaults and what they mean.

Edit the file, keep it with your data, and run `jadfer annotate --config study.toml`. Options that \
are typed win over the file. Its text is stored in the metadata of every result. \
`jadfer methods --planned study.toml` turns it into the paragraph for a preregistration.

Examples:

  jadfer init

  jadfer init -o smiles.toml
"""

_OutOption = Annotated[Path, shared.out_option("The study file to write (.toml).")]


def init(
    out: _OutOption = Path("study.toml"),
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write a study file."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.cli.study_file import study_text

        if out.suffix != ".toml":
            raise OptionError(f"-o {out} does not end in .toml.")
        check_writable(out)
        if out.exists() and not overwrite:
            raise OptionError(
                f"{out} already exists.", "Add --overwrite to replace it, or choose another -o."
            )
        if out.exists() and not out.is_file():
            raise OutputError(f"{out} is not a file.", "Choose another -o.")
        with atomic_write(out) as part:
            part.write_text(study_text(annotate_command()), encoding="utf-8", newline="\n")
        wrote(out, f"edit it, then run: jadfer annotate --config {out}", quiet=quiet)


def annotate_command() -> Any:
    """Return `jadfer annotate` as typer builds it, with its parameters."""
    alone = typer.Typer(add_completion=False)
    alone.command("annotate")(annotate)
    return get_command(alone)
