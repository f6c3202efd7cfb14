"""The commands, put together. A command's module loads when the command is used."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from jadfer_cli._version import __version__

_MAIN, _ROWS = "From video to rows", "From rows to findings"
_TRAIN, _HERE = "Train and measure", "This installation"
# name: panel, and the first line of its help. The module cli/NAME.py holds HELP and a function
# NAME, or a group of commands, `app`.
COMMANDS = {
    "annotate": (_MAIN, "Annotate the facial expressions in videos, frame by frame, into Parquet."),
    "collect": (_ROWS, "Collect the results of many videos into one dataset."),
    "show": (
        _ROWS,
        "Look at results: warnings, video, model, coverage, tracks, expressions, a timeline.",
    ),
    "summary": (_ROWS, "Sum results up: a row a video and track, for statistics."),
    "events": (
        _ROWS,
        "Find events: when an expression begins (onset), is strongest (apex) and ends (offset).",
    ),
    "methods": (
        _ROWS,
        "Write the paragraph for a methods section, and BibTeX, from the metadata of results.",
    ),
    "diff": (
        _ROWS,
        "Compare two results: do frames, times, faces, ids, boxes and probabilities agree?",
    ),
    "plot": (_ROWS, "Draw a timeline a track: the probabilities of all expressions over time."),
    "overlay": (
        _ROWS,
        "Draw a result over its video: boxes, ids and the top expressions as bars.",
    ),
    "evaluate": (_TRAIN, "Measure a model on labelled faces: accuracy, recall, calibration."),
    "train": (_TRAIN, "Train a model, or fine-tune the shipped one on faces of your own."),
    "models": (
        _HERE,
        "Show, verify and fetch the networks: expression weights and face detectors.",
    ),
    "bench": (_HERE, "Measure how fast this machine annotates a video."),
    "doctor": (_HERE, "Check this installation, with a short test of every stage."),
}


_FUNCTIONS = {"show": "show_results"}  # where the command's name says something else there


def load(name: str) -> Any:
    """A command, complete; imports its module."""
    module = importlib.import_module(f"jadfer_cli.cli.commands.{name}")
    if hasattr(module, "app"):
        command = get_command(module.app)
    else:
        one = typer.Typer(add_completion=False, rich_markup_mode="rich")
        one.command(name, help=module.HELP, no_args_is_help=name not in ("bench", "doctor"))(
            getattr(module, _FUNCTIONS.get(name, name))
        )
        command = get_command(one)
    command.name = name
    return command


class _Commands(TyperGroup):
    """Commands by name: light ones for the list of all, the whole one where it is used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=line, rich_help_panel=panel)
            for name, (panel, line) in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, complete."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, None if found is None or name is None else load(name), rest


app = typer.Typer(
    name="jadfer",
    cls=_Commands,
    help="Annotate facial expressions in video: one command from a clip to tidy Parquet.\n\n"
    "Exit codes: 0 all good, 1 a file or the machine failed, 2 wrong usage, 130 interrupted.",
    epilog="Start with:  jadfer annotate clip.mp4 -o clip.parquet",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jadfer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Annotate facial expressions in video."""
