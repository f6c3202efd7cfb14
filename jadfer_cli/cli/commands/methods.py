"""`jadfer methods`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_warning, stdout_console
from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError
from jadfer_cli.text import count_text, printable

if TYPE_CHECKING:
    from jadfer_cli.analysis.methods import Methods

PANEL = RESULTS_PANEL
HELP = """Write the paragraph for a methods section, and BibTeX, from the metadata of results.

Describes versions, the model with its history, terms and accuracy, the detector, changed options, \
videos that were annotated or failed, and usable faces. The rule of events comes from Parquet \
tables of `jadfer events` and `jadfer summary` among the inputs, else it is the default. A table \
of `jadfer design` and the steps of smooth and baseline are described, too. Results made in \
different ways are described in groups, with a warning. Read the text before you publish it.

--planned describes a study that is still to be run, from its study file, for a preregistration.

Examples:

  jadfer methods results/ -r

  jadfer methods results/ -r -o methods.md

  jadfer methods demo.parquet -o jadfer.bib

  jadfer methods --planned study.toml
"""

_ENDINGS = (".md", ".txt", ".bib")

_OutOption = Annotated[
    Path | None, shared.out_option("Write a file: .md, .txt, or .bib for only the BibTeX.")
]

_ResultsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RESULT...",
        help="Results of `jadfer annotate`: .parquet files, folders, patterns.",
        show_default=False,
    ),
]
_PlannedOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Describe the run that this study file plans, instead of results.",
        show_default=False,
    ),
]


def methods(
    inputs: _ResultsArgument = None,
    planned: _PlannedOption = None,
    recursive: shared.RecursiveOption = False,
    out: _OutOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write the methods section."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.tabular import check_target

        if out is not None:
            check_target(out, overwrite=overwrite, endings=_ENDINGS)
        if (planned is None) == (not inputs):
            raise OptionError(
                "Name either results or a study file.",
                "E.g. jadfer methods results/ -r, or jadfer methods --planned study.toml",
            )
        if planned is not None:
            found, source = _of_study(planned), str(planned)
        else:
            found, source = _of_results(inputs or [], recursive=recursive, quiet=quiet)
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
            part.write_text(printable(text), "utf-8", newline="\n")
        reading.wrote(out, f"from {source}", quiet=quiet)


def _of_results(inputs: list[str], *, recursive: bool, quiet: bool) -> tuple[Methods, str]:
    from jadfer_cli.analysis.methods import describe
    from jadfer_cli.analysis.provenance import mixed

    opened = reading.found(inputs, recursive=recursive)
    results = opened.results
    found = describe(results, opened.failures, [file.path for file in opened.skipped])
    for text in () if quiet else mixed(results):
        print_warning(text)
    return found, count_text(len(results), "result")


def _of_study(path: Path) -> Methods:
    """The methods of a planned run; the study file is checked as `jadfer annotate` does."""
    from jadfer_cli.analysis.methods_planned import planned
    from jadfer_cli.cli.commands.annotate import options_of
    from jadfer_cli.cli.commands.init import annotate_command

    # inputs and -o are required, but do not matter here
    arguments = ["--config", str(path), "-o", "results/", "clips/"]
    try:
        given = annotate_command().make_context("annotate", arguments).params
    except typer.BadParameter as error:
        raise OptionError(str(error)) from None
    options = options_of(given)
    if options.faces.detector == "auto":
        print_warning(
            'With detector = "auto", the detector depends on the machine; the text names that of '
            'this one. Name it in the study file, such as detector = "centerface".'
        )
    return planned(options)
