"""The commands, put together. Heavy packages load inside the commands, not here."""

from __future__ import annotations

from typing import Annotated

import typer

from jadfer_cli import __version__
from jadfer_cli.cli import annotate, bench, doctor, evaluate, models, overlay, plot, train

app = typer.Typer(
    name="jadfer",
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


app.command("annotate", help=annotate.HELP, no_args_is_help=True)(annotate.annotate)
app.command("evaluate", help=evaluate.HELP, no_args_is_help=True)(evaluate.evaluate)
app.command("train", help=train.HELP, no_args_is_help=True)(train.train)
app.command("plot", help=plot.HELP, no_args_is_help=True)(plot.plot)
app.command("overlay", help=overlay.HELP, no_args_is_help=True)(overlay.overlay)
app.add_typer(models.app, name="models")
app.command("bench", help=bench.HELP)(bench.bench)
app.command("doctor", help=doctor.HELP)(doctor.doctor)
