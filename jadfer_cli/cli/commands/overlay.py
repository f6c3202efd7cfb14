"""`jadfer overlay`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from jadfer_cli.cli import reading
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.options import OverlayOptions

HELP = """Draw a result over its video: boxes, ids and the top expressions as bars.

Every frame of the source is written at its own time, with its sound, as H.264 in .mp4, .mov \
or .mkv. Box and bars have the colours of `jadfer plot`; faces that are not usable are dashed \
in grey.

--blur makes faces unrecognisable, with a margin, in all frames: where a face is missed for up \
to 1 s, and 0.5 s before and after it is seen. It covers what the detector found, so look at \
the stretches that it names, and at the video, before you share it. Place, date and title are \
left out then. Voices are kept: they tell people, too.

Examples:

  jadfer overlay clip.mp4 clip.parquet -o clip-overlay.mp4

  jadfer overlay clip.mp4 clip.parquet -o clip-blurred.mp4 --blur

  jadfer overlay clip.mp4 clip.parquet -o anonymous.mp4 --blur --no-boxes
"""

_O = OverlayOptions()


def overlay(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video.", show_default=False)],
    result: Annotated[
        Path,
        typer.Argument(metavar="RESULT", help="Its result, a .parquet file.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The new video: .mp4, .mov or .mkv.",
            show_default=False,
        ),
    ],
    blur: Annotated[bool, typer.Option("--blur", help="Make all faces unrecognisable.")] = _O.blur,
    boxes: Annotated[
        bool, typer.Option("--boxes/--no-boxes", help="Draw boxes, ids and bars.")
    ] = _O.boxes,
    labels: Annotated[int, typer.Option(metavar="N", help="Bars a face; 0 for none.")] = _O.labels,
    unusable: Annotated[
        bool, typer.Option("--unusable", help="Draw bars of faces that are not usable, too.")
    ] = _O.unusable,
    crf: Annotated[
        int, typer.Option("--crf", help="Quality of the pictures, 0 lossless to 51 worst.")
    ] = _O.crf,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Draw although the result is of another file, or leaves faces out (--blur).",
        ),
    ] = _O.force,
    overwrite: reading.Overwrite = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")
    ] = False,
    debug: reading.Debug = False,
) -> None:
    """Draw a result over its video."""
    with errors_as_exit_codes(debug=debug):
        options = OverlayOptions(blur, boxes, labels, unusable, crf, force)
        _check_order(video, result)
        from jadfer_cli.analysis import tabular
        from jadfer_cli.common import require_opencv
        from jadfer_cli.overlay.render import render_overlay
        from jadfer_cli.results import load
        from jadfer_cli.video.writer import ENDINGS

        require_opencv()
        opened = load.load(result)
        tabular.check_target(out, overwrite=overwrite, endings=tuple(ENDINGS))
        if out.exists() and video.exists() and os.path.samefile(out, video):
            raise OutputError(f"{out} is the source, so it is not replaced.", "Choose another -o.")
        found = render_overlay(
            video, opened, out, options,
            lambda frames, n: reading.tracked(frames, "drawing", total=n, quiet=quiet),
        )  # fmt: skip
        for note in () if quiet else found.notes:
            stderr_console().print(Text(f"Note: {note}"))
        for warning in found.warnings:
            stderr_console().print(Text.assemble(("Warning: ", "bold yellow"), warning))
        reading.wrote(out, f"{found.n_frames} frames", quiet=quiet)


def _check_order(video: Path, result: Path) -> None:
    """A result named first is a slip of the hand."""
    if video.suffix == ".parquet" and result.suffix != ".parquet":
        raise OptionError(
            f"{video} is no video: the video comes first, then its result.",
            f"jadfer overlay {result} {video} -o ...",
        )
    if video.suffix == ".parquet":
        raise OptionError(f"{video} is no video.", "jadfer overlay VIDEO RESULT -o out.mp4")
