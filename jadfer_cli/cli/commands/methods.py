"""`jadfer methods`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from jadfer_cli.cli import reading
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console, stdout_console
from jadfer_cli.common import atomic_write

HELP = """Write the paragraph for a methods section, and BibTeX, from the metadata of results.

Versions, model with its measured figures, detector, options that differ from the defaults, \
videos, frames, how many faces were usable. Read it before you publish it. Results that were not \
made alike are described in groups, with a warning.

Examples:

  jadfer methods results/ -r

  jadfer methods results/ -r -o methods.md

  jadfer methods demo.parquet -o jadfer.bib
"""

_ENDINGS = (".md", ".txt", ".bib")


def methods(
    inputs: reading.Inputs,
    recursive: reading.Recursive = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", show_default=False,
            help="Write to a file: .md, .txt, or .bib for the BibTeX alone.",
        ),
    ] = None,
    overwrite: reading.Overwrite = False,
    quiet: reading.Quiet = False,
    debug: reading.Debug = False,
) -> None:  # fmt: skip
    """Write the methods section."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.methods import describe
        from jadfer_cli.analysis.provenance import mixed
        from jadfer_cli.analysis.tabular import check_target

        if out is not None:
            check_target(out, overwrite=overwrite, endings=_ENDINGS)
        results = reading.opened(inputs, recursive=recursive)
        found = describe(results)
        if not quiet:
            for text in mixed(results):
                stderr_console().print(Text.assemble(("Warning: ", "bold yellow"), text))
        if out is None:
            console = stdout_console()
            for paragraph in found.paragraphs:
                # in a pipe a paragraph is one line
                console.print(Text(paragraph), soft_wrap=not console.is_terminal)
                console.print()
            console.print(Text(found.bib().rstrip()), soft_wrap=True)
            return
        text = {".md": found.markdown, ".txt": found.text, ".bib": found.bib}[out.suffix]()
        with atomic_write(out) as part:
            part.write_text(text, "utf-8")
        n = len(results)
        reading.wrote(out, f"from {n} result{'' if n == 1 else 's'}", quiet=quiet)
