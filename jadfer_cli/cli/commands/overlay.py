"""`jadfer overlay`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note, print_warning
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.options import OverlayOptions
from jadfer_cli.text import count_text

PANEL = RESULTS_PANEL
HELP = """Draw a result over its video: boxes, track IDs and the top expressions as bars.

Every frame of the source is written at its own time, with the sound, as H.264 in .mp4, .mov or \
.mkv. Boxes and bars have the colours of `jadfer plot`. Faces that are not usable are dashed in \
grey.

--blur makes faces unrecognisable, with a margin, in all frames. It also blurs 0.5 s before and \
after a face is seen, and gaps of up to 1 s. Place, date and title of the source are left out. \
Voices are kept, and they also identify people.

The blurred video is decoded again and checked. At least 75 % of each face that CenterFace finds \
must be covered, and no box may show detail. Otherwise nothing is written, and the exit code is 1. \
Faces that no detector finds are not blurred: check the intervals that the command lists, and \
watch the video before you share it.

A result whose times are not those of the video is refused, with or without --blur.

Unlike `jadfer annotate --stall`, nothing limits the time without progress. If a damaged video \
makes the command hang, end it, with `kill` if Ctrl-C has no effect.

Examples:

  jadfer overlay clip.mp4 clip.parquet -o clip-overlay.mp4

  jadfer overlay clip.mp4 clip.parquet -o clip-blurred.mp4 --blur

  jadfer overlay clip.mp4 clip.parquet -o anonymous.mp4 --blur --no-boxes
"""

_O = OverlayOptions()

_VideoArgument = Annotated[
    Path, typer.Argument(metavar="VIDEO", help="The video.", show_default=False)
]
_ResultArgument = Annotated[
    Path,
    typer.Argument(metavar="RESULT", help="Its result, a .parquet file.", show_default=False),
]
_OutOption = Annotated[Path, shared.out_option("The new video: .mp4, .mov or .mkv.")]
_BlurOption = Annotated[bool, typer.Option("--blur", help="Make all faces unrecognisable.")]
_BoxesOption = Annotated[
    bool, typer.Option("--boxes/--no-boxes", help="Draw boxes, track IDs and bars.")
]
_MeshOption = Annotated[
    bool,
    typer.Option(
        "--mesh", help="Draw the mesh of each face, of a result of `annotate --actions --mesh`."
    ),
]
_LabelsOption = Annotated[
    int, typer.Option(metavar="N", help="Number of bars per face; 0 for none.")
]
_UnusableOption = Annotated[
    bool, typer.Option("--unusable", help="Also draw bars for faces that are not usable.")
]
_CrfOption = Annotated[
    int, typer.Option("--crf", help="Image quality, from 0 (lossless) to 51 (worst).")
]
_ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Draw even if the result belongs to another file or leaves faces out. Times, boxes "
        "and the blurred video are checked in any case.",
    ),
]


def overlay(
    video: _VideoArgument,
    result: _ResultArgument,
    out: _OutOption,
    blur: _BlurOption = _O.blur,
    boxes: _BoxesOption = _O.boxes,
    mesh: _MeshOption = _O.mesh,
    labels: _LabelsOption = _O.labels,
    unusable: _UnusableOption = _O.unusable,
    crf: _CrfOption = _O.crf,
    force: _ForceOption = _O.force,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Draw a result over its video."""
    with errors_as_exit_codes(debug=debug):
        options = OverlayOptions(
            blur=blur,
            boxes=boxes,
            mesh=mesh,
            labels=labels,
            unusable=unusable,
            crf=crf,
            force=force,
        )
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
            raise OutputError(
                f"{out} is the source video and is not replaced.", "Choose another -o."
            )
        found = render_overlay(
            video, opened, out, options,
            lambda frames, n, what: reading.tracked(frames, what, total=n, quiet=quiet),
        )  # fmt: skip
        for note in () if quiet else found.notes:
            print_note(f"Note: {note}")
        for warning in found.warnings:
            print_warning(warning)
        reading.wrote(out, count_text(found.n_frames, "frame"), quiet=quiet)


def _check_order(video: Path, result: Path) -> None:
    """Refuses a result in the place of the video.

    Raises:
        OptionError: The first argument is a result.
    """
    if video.suffix == ".parquet" and result.suffix != ".parquet":
        raise OptionError(
            f"{video} is not a video: the video comes first, then its result.",
            f"jadfer overlay {result} {video} -o ...",
        )
    if video.suffix == ".parquet":
        raise OptionError(f"{video} is not a video.", "jadfer overlay VIDEO RESULT -o out.mp4")
