"""Options that say which scores a command uses, and which faces count."""

from __future__ import annotations

from typing import Annotated

import typer

SCORES_PANEL = "Which scores"

ScoresOption = Annotated[
    str,
    typer.Option(
        help="raw, or the name of columns that smooth or baseline added: smooth, change, "
        "smooth_change.",
        rich_help_panel=SCORES_PANEL,
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        help="probability, or logit: log odds, of which differences mean the same everywhere.",
        show_default="probability, or that of the columns",
        rich_help_panel=SCORES_PANEL,
    ),
]
AllFacesOption = Annotated[
    bool,
    typer.Option(
        "--all-faces",
        help="Also use faces that are not usable.",
        rich_help_panel=SCORES_PANEL,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="Name of the new columns: p_happiness_NAME.",
        show_default="by the command",
        rich_help_panel="Output",
    ),
]
