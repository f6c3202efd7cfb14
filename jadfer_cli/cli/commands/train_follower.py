"""`jadfer train-follower`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import DebugOption, QuietOption, ThreadsOption
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.cli.training_options import Cache, RunFolder
from jadfer_cli.cli.training_progress import ConsoleReporter

PANEL = TRAINING_PANEL
HELP = """Train the small network that follows faces between searches of the whole frame.

CenterFace finds the faces in your pictures and videos. The network learns to find their five \
landmarks again after movements, and to say whether the face is still there. The run's folder gets \
jadfer-follower.onnx, for `jadfer annotate --follower`, and report.json. To resume a stopped run, \
give the same command again.

Examples:

  jadfer train-follower --pictures photos/ --videos clips/a.mp4 --out runs/follower

  jadfer train-follower --pictures faces.zip --ferplus FERPlus/data --out runs/follower --steps 6000

Some people are held out for the report: by file name, without the number at its end.
"""


def _data(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Data", show_default=False)


def _training(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Training")


def train_follower(
    out: RunFolder,
    pictures: Annotated[
        list[Path] | None, _data("Folder or zip file of pictures with faces; may be repeated.")
    ] = None,
    videos: Annotated[
        list[Path] | None, _data("Video; every third frame is used. May be repeated.")
    ] = None,
    ferplus: Annotated[
        Path | None, _data("FER+, a folder or a zip file; its training images are used.")
    ] = None,
    every: Annotated[
        int, typer.Option(help="Use every Nth picture, and every 3Nth frame of videos.", min=1)
    ] = 1,
    cache: Cache = None,
    steps: Annotated[int, _training("Training steps, of 128 views each.")] = 6000,
    seed: Annotated[int, _training("Seeds weights and views.")] = 0,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train the network that follows faces."""
    interrupted = "Give the same command again to resume from the last saved step."
    with errors_as_exit_codes(debug=debug, interrupted=interrupted):
        from jadfer_cli.options import ModelOptions
        from jadfer_cli.runtime import settle_for_training
        from jadfer_cli.training.data import default_cache
        from jadfer_cli.training.follower_loop import FollowerOptions
        from jadfer_cli.training.follower_session import FollowerData, run

        settle_for_training(ModelOptions(device="cpu", threads=threads, engine="torch"))
        figures = run(
            FollowerData(tuple(pictures or ()), tuple(videos or ()), ferplus, every),
            out,
            FollowerOptions(steps=steps, seed=seed),
            cache or default_cache(),
            ConsoleReporter(stderr_console(), quiet=quiet),
        )
        if not quiet:
            show(title("Faces held out; errors in interocular distances"))
            names = max((list(found) for found in figures.values()), key=len)
            rows = [
                [condition, *(f"{found[name]:.3f}" if name in found else "" for name in names)]
                for condition, found in figures.items()
            ]
            show(table(("", *(name.replace("_", " ") for name in names)), rows))
