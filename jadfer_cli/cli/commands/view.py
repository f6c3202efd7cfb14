"""`jadfer view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note
from jadfer_cli.errors import OptionError
from jadfer_cli.text import count_text

PANEL = RESULTS_PANEL
HELP = """Write a page that plays a video beside its curves, for your browser.

Click a curve to jump there. The left and right arrow keys step by one frame, with Shift by ten; \
Space plays. Boxes are drawn over the video, and parts that are not usable are hatched. The page \
lists doubtful moments: low probabilities, faces that are not usable, track changes, damaged frames.

The page works offline, without a server. It plays the video from where that is now: keep both in \
place, or move them together. --embed stores the video inside the page, up to 100 MB. Such a page \
shows the people in the video to everyone who gets it.

Browsers do not play every format, for example HEVC, .mkv and .mpg. Such a video is converted to \
H.264, into the folder PAGE_files beside the page or, with --embed, into the page. The original \
stays as it is.

Examples:

  jadfer view clip.mp4 clip.parquet

  jadfer view clip.mp4 clip.parquet -o clip-page.html --embed
"""

_VideoArgument = Annotated[
    Path, typer.Argument(metavar="VIDEO", help="The video.", show_default=False)
]
_ResultArgument = Annotated[
    Path,
    typer.Argument(metavar="RESULT", help="Its result, a .parquet file.", show_default=False),
]
_OutOption = Annotated[
    Path | None,
    shared.out_option("The page, an .html file; by default beside the result."),
]
_EmbedOption = Annotated[
    bool,
    typer.Option(
        "--embed", help="Store the video inside the page.", rich_help_panel=shared.OUTPUT_PANEL
    ),
]
_ConvertOption = Annotated[
    bool,
    typer.Option(
        "--convert",
        help="Play an H.264 copy in any case; use it if your browser does not play the video.",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]
_ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Accept a file other than the annotated one. Times and boxes are checked in any case.",
    ),
]


def view(
    video: _VideoArgument,
    result: _ResultArgument,
    out: _OutOption = None,
    embed: _EmbedOption = False,
    convert: _ConvertOption = False,
    force: _ForceOption = False,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Write a page with a video beside its curves."""
    with errors_as_exit_codes(debug=debug):
        if video.suffix == ".parquet":
            order = f"{result} {video}" if result.suffix != ".parquet" else "VIDEO RESULT"
            raise OptionError(
                f"{video} is not a video: the video comes first, then its result.",
                f"jadfer view {order}",
            )
        from jadfer_cli.common import require_opencv
        from jadfer_cli.overlay.view import ViewOptions, default_page, write_view
        from jadfer_cli.results import load

        require_opencv()
        page = default_page(result) if out is None else out
        written = write_view(
            video, load.load(result), page, ViewOptions(embed, convert, force, overwrite),
            lambda frames, n: reading.tracked(frames, "converting", total=n, quiet=quiet),
        )  # fmt: skip
        for note in () if quiet else written.notes:
            print_note(f"Note: {note}")
        if written.copy:
            reading.wrote(written.copy, "the video for the page", quiet=quiet)
        text = f"{count_text(written.n_frames, 'frame')}; open it in a browser"
        reading.wrote(page, text, quiet=quiet)
