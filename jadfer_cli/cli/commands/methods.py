"""`jadfer methods`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_warning, stdout_console
from jadfer_cli.common import atomic_write
from jadfer_cli.text import count_text, printable

PANEL = RESULTS_PANEL
HELP = """Write the paragraph for a methods section, and BibTeX, from the metadata of results.

Describes versions, the model with its history, terms and accuracy, the detector, changed options, \
videos that were annotated or failed, and usable faces. The rule of events comes from Parquet \
tables of `jadfer events` and `jadfer summary` among the inputs, else it is the default. Results \
made in different ways are described in groups, with a warning. Read the text before you publish it.

Examples:

  jadfer methods results/ -r

  jadfer methods results/ -r -o methods.md

  jadfer methods demo.parquet -o jadfer.bib
"""

_ENDINGS = (".md", ".txt", ".bib")

_OutOption = Annotated[
    Path | None, shared.out_option("Write a file: .md, .txt, or .bib for only the BibTeX.")
]


def methods(
    inputs: shared.ResultsArgument,
    recursive: shared.RecursiveOption = False,
    out: _OutOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write the methods section."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.methods import describe
        from jadfer_cli.analysis.provenance import mixed
        from jadfer_cli.analysis.tabular import check_target

        if out is not None:
            check_target(out, overwrite=overwrite, endings=_ENDINGS)
        opened = reading.found(inputs, recursive=recursive)
        results = opened.results
        found = describe(results, opened.failures, [file.path for file in opened.skipped])
        for text in () if quiet else mixed(results):
            print_warning(text)
        if out is None:
            console = stdout_console()
            for paragraph in found.paragraphs:
                # in a pipe, each paragraph is one line
                console.print(Text(paragraph), soft_wrap=not console.is_terminal)
                console.print()
            console.print(Text(found.bib().rstrip()), soft_wrap=True)
            return
        text = {".md": found.markdown, ".txt": found.text, ".bib": found.bib}[out.suffix]()
        with atomic_write(out) as part:
            part.write_text(printable(text), "utf-8")
        reading.wrote(out, f"from {count_text(len(results), 'result')}", quiet=quiet)
