"""Options of commands that write tables: how .csv and .tsv look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jadfer_cli.cli.options import OUTPUT_PANEL

if TYPE_CHECKING:
    from jadfer_cli.analysis.formats.base import TextStyle

BomOption = Annotated[
    bool,
    typer.Option(
        "--bom",
        help="Begin .csv and .tsv with a byte order mark, so that Excel shows ä and 你 right.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
DecimalOption = Annotated[
    str,
    typer.Option(
        "--decimal",
        metavar="[.|,]",
        help="Decimal separator of .csv and .tsv. With a comma, semicolons separate the columns of "
        ".csv, as Excel expects in many countries.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def text_style(*, bom: bool, decimal: str) -> TextStyle:
    """Return how .csv and .tsv are written.

    Raises:
        OptionError: The decimal separator is unknown.
    """
    from jadfer_cli.analysis.formats.base import TextStyle

    return TextStyle(bom, decimal)
