"""`jadfer import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note
from jadfer_cli.cli.reading import wrote
from jadfer_cli.errors import OptionError
from jadfer_cli.text import count_text

PANEL = RESULTS_PANEL
HELP = """Import a CSV file of py-feat or OpenFace, so that other commands can read it.

The rows have jadfer's names, units and signs. What the other tool did not measure stays empty, \
and the metadata name that tool. Nothing is invented: OpenFace scores no expressions, so events, \
summary and plot refuse its results; show, diff and convert read them.

Times come from --video, else from the file, else from --fps. py-feat does not store exact times.

Examples:

  jadfer import fex.csv -o fex.parquet --video clip.mp4

  jadfer import fex.csv -o fex.parquet --fps 25

  jadfer import processed/clip.csv -o openface.parquet
"""

_FileArgument = Annotated[
    Path, typer.Argument(metavar="CSV", help="The file of py-feat or OpenFace.")
]
_OutOption = Annotated[Path, shared.out_option("The result to write (.parquet).")]
_VideoOption = Annotated[
    Path | None,
    typer.Option(
        "--video",
        metavar="FILE",
        help="The video: its time stamps are used, and its SHA-256 is recorded.",
        show_default=False,
    ),
]
_FpsOption = Annotated[
    float | None, typer.Option(help="Frame rate of the video, if nothing else gives times.")
]


def import_(
    file: _FileArgument,
    out: _OutOption,
    video: _VideoOption = None,
    fps: _FpsOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Import a file of another tool."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.import_result import import_csv
        from jadfer_cli.common import check_writable
        from jadfer_cli.results.paths import sidecar_path
        from jadfer_cli.results.targets import refuse_existing
        from jadfer_cli.video.timeline import probe

        if out.suffix != ".parquet":
            raise OptionError(f"-o {out} does not end in .parquet.")
        if fps is not None and not 0 < fps < 10_000:
            raise OptionError(f"`fps` must be a positive number, not {fps}.")
        check_writable(out)
        refuse_existing([out, sidecar_path(out)], overwrite=overwrite)
        info = None if video is None else probe(str(video))
        n_rows, notes = import_csv(file, out, video=info, fps=fps)
        wrote(out, count_text(n_rows, "row"), quiet=quiet)
        for note in () if quiet else notes:
            print_note(f"Note: {note}")
