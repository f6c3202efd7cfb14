"""Options of `jadfer compare-recipes`, one declaration each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_PANEL = "What is compared"


def _what(help_text: str, *flags: str, default: str | bool = False) -> Any:
    return typer.Option(*flags, help=help_text, rich_help_panel=_PANEL, show_default=default)


Folder = Annotated[Path, _what("Folder of the comparison.", "--out", "-o")]
Recipes = Annotated[
    list[str] | None,
    _what(
        "A recipe; may be repeated. `jadfer recipes` lists them.",
        "--recipe",
        default="plain and jadfer",
    ),
]
Labellings = Annotated[
    list[str] | None,
    _what("A labelling; may be repeated.", "--labelling", default="ferplus:majority"),
]
Seeds = Annotated[int | None, _what("Trainings of each recipe on each labelling.", default="3")]
Fer2013 = Annotated[
    Path | None,
    _what(
        "FER2013's own labels: fer2013.csv, or a CSV with image_name and fer2013_label.",
        default="searched for beside FER+",
    ),
]
Start = Annotated[
    str | None,
    _what(
        "Model whose stem all recipes start from; scratch with --end-to-end only.",
        default="default",
    ),
]
EndToEnd = Annotated[
    bool | None,
    _what("Train the whole network.", "--end-to-end/--stored-maps", default="stored maps"),
]
Views = Annotated[int | None, _what("Stored views per training image.", default="2")]
Maps = Annotated[
    Path | None,
    _what("Folder of stored maps, which comparisons may share.", default="maps in --out"),
]
Epochs = Annotated[int | None, _what("Epochs of each training.", default="30")]
LearningRates = Annotated[
    list[float] | None,
    _what(
        "Learning rate; if repeated, validation chooses one for each recipe and labelling.",
        "--lr",
        default="each recipe's own",
    ),
]
