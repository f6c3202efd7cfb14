"""`jadfer smooth`."""

from __future__ import annotations

from typing import Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_warning
from jadfer_cli.cli.formatting import names_text
from jadfer_cli.cli.score_options import AllFacesOption, NameOption, ScaleOption, ScoresOption
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text

PANEL = RESULTS_PANEL
HELP = """Smooth scores over time, as new columns of new results.

The window is in seconds, and each frame counts at its true time. So the result does not depend on \
the frame rate, even if it varies. Nothing is smoothed across a gap: where a track is missing or \
not usable, for one frame or more, smoothing begins again. Tracks and people are kept apart.

loess fits a straight line in each window, weighted by the tricube function. savgol fits a \
parabola with equal weights (Savitzky-Golay), which keeps the height of peaks. At a constant frame \
rate, both give what statsmodels and SciPy give.

-o writes results with all their columns, and p_happiness_smooth and so on beside them. The \
results that are read stay as they are. All commands read the new ones; use one set of them at a \
time. Smoothed probabilities are kept within 0 and 1. With --scale logit, log odds are smoothed, \
and the columns are called logit_happiness_smooth. The metadata, under "derived", say how it was \
done.

Examples:

  jadfer smooth clip.parquet -o smooth/clip.parquet

  jadfer smooth results/ -r -o smooth/ --seconds 0.3

  jadfer smooth results/ -r -o smooth/ --method savgol --scale logit
"""
_FEW_FRAMES = 5

_OutOption = Annotated[
    str,
    shared.out_option(
        "The new result (.parquet) of one result, or a folder for many.", metavar="FILE|FOLDER"
    ),
]
_MethodOption = Annotated[str, typer.Option(help="loess or savgol.")]
_SecondsOption = Annotated[float, typer.Option(help="Length of the whole window, seconds.")]
_DegreeOption = Annotated[
    int | None,
    typer.Option(help="Of the polynomial, 0 to 3.", show_default="loess 1, savgol 2"),
]


def smooth(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recursive: shared.RecursiveOption = False,
    method: _MethodOption = "loess",
    seconds: _SecondsOption = 0.5,
    degree: _DegreeOption = None,
    scores: ScoresOption = "raw",
    scale: ScaleOption = None,
    all_faces: AllFacesOption = False,
    name: NameOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Smooth scores over time."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.score_columns import score_set
        from jadfer_cli.analysis.smoothing import SmoothRule
        from jadfer_cli.analysis.smoothing import smooth as smoothed
        from jadfer_cli.results.derived import output_paths, write_derived

        rule = SmoothRule(method, seconds, degree, scores, scale, all_faces, name)
        results = reading.opened(inputs, recursive=recursive)
        for result in results:
            score_set(result, scores, scale)
        paths = output_paths(results, inputs, out, overwrite=overwrite)
        names = display_names(result.path for result in results)
        coarse = []
        for path, result in reading.each(list(paths.items()), "smoothing", quiet=quiet):
            found = smoothed(result, rule)
            write_derived(result, path, found.added)
            reading.wrote(
                path,
                f"{count_text(found.n_faces, 'face')} smoothed in "
                f"{count_text(found.n_runs, 'unbroken run')}",
                quiet=quiet,
            )
            if found.n_faces and found.typical_frames < _FEW_FRAMES:
                coarse.append(names[str(result.path)])
        if coarse:
            print_warning(
                f"{names_text(coarse)}: most windows of {seconds:g} s hold fewer than "
                f"{_FEW_FRAMES} frames, so little was smoothed. Try a longer --seconds."
            )
