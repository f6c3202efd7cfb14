"""`jadfer plot`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.errors import OptionError
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.plots.timelines import Chart
    from jadfer_cli.results.load import Result

PANEL = RESULTS_PANEL
HELP = """Draw one timeline per track: the probabilities of all expressions over time.

Each frame is drawn at its true time. Time in which a track is not seen is grey, and time in \
which its face is not usable is hatched. Nothing is drawn across gaps.

The ending of -o sets the format: .png, .svg and .pdf for papers, .html for a browser. The HTML \
page has zoom and hover, and needs no network. Long results are reduced to the resolution of \
the figure: lines keep minima and maxima, stacks show means, and a note in the figure says so.

Examples:

  jadfer plot clip.parquet -o clip.png

  jadfer plot clip.parquet -o clip.html --kind lines

  jadfer plot clip.parquet -o smile.pdf --track 0 --expression happiness --kind lines --smooth 0.5

  jadfer plot clip.parquet -o column.pdf --size 89x60 --title "Participant 1"

  jadfer plot results/ -r -o figures/ --format svg

  jadfer plot clip.parquet -o actions.png --actions

  jadfer plot results/ -o all.html

  jadfer plot named/clip.parquet -o people.png --by person

With --actions, the figure has one small panel per facial action that reaches 0.1, for one track: \
the one given by --track, or the one seen longest. It needs results of `jadfer annotate --actions`.

Several results go into a folder with one figure each, or into one .html page.
"""

_OutOption = Annotated[
    Path,
    shared.out_option(".png, .svg, .pdf or .html file; or a folder.", metavar="FILE|FOLDER"),
]
_KindOption = Annotated[
    Literal["stacked", "lines"],
    typer.Option(help="Stack the probabilities, or draw one line each."),
]
_TrackOption = Annotated[
    list[int] | None,
    typer.Option(metavar="ID", help="Draw only this track; may be repeated.", show_default="all"),
]
_ExpressionOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Draw only this one; may be repeated.", show_default="all"),
]
_ActionsOption = Annotated[
    bool, typer.Option("--actions", help="Draw facial actions as small multiples.")
]
_ActionOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Draw only this action, such as jaw_open; may be repeated.",
        show_default=False,
    ),
]
_ByOption = Annotated[
    Literal["track", "person"],
    typer.Option(help="One timeline per track, or per 'person' of `jadfer identify`."),
]
_SmoothOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="Draw the moving mean over this time.", show_default=False
    ),
]
_TitleOption = Annotated[
    str | None,
    typer.Option(help="Heading.", show_default="the name of each video"),
]
_SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT",
        help="Size of figures in mm, such as 89x60.",
        show_default="183 wide, as high as the tracks need",
    ),
]
_FormatOption = Annotated[
    Literal["png", "svg", "pdf", "html"],
    typer.Option(
        "--format", help="Format of figures in a folder.", rich_help_panel=shared.OUTPUT_PANEL
    ),
]


def plot(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recursive: shared.RecursiveOption = False,
    kind: _KindOption = "stacked",
    track: _TrackOption = None,
    expression: _ExpressionOption = None,
    actions: _ActionsOption = False,
    action: _ActionOption = None,
    smooth: _SmoothOption = None,
    by: _ByOption = "track",
    title: _TitleOption = None,
    size: _SizeOption = None,
    format_name: _FormatOption = "png",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Draw timelines."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.plots import figure as figures
        from jadfer_cli.analysis.plots import page as pages
        from jadfer_cli.analysis.plots import timelines

        _check_options(smooth, by, excluded=bool(track or actions or action))
        size_mm = None if size is None else _size_mm(size)
        results = reading.opened(inputs, recursive=recursive)
        places = _places(inputs, results, out, format_name)
        endings = (*figures.ENDINGS, *pages.ENDINGS)
        for place in dict.fromkeys(places):
            tabular.check_target(place, overwrite=overwrite, endings=endings)
        _check_tracks(results, track or [])
        for result in results:  # refuses unknown names before anything is drawn
            result.resolve_labels(expression or [])
        names = display_names(result.path for result in results)
        pairs = list(zip(results, places, strict=True))
        if actions or action:
            _draw_actions(pairs, names, track or [], action or [], size_mm, quiet=quiet)
            return

        def draw(result: Result) -> Chart:
            return timelines.chart(
                result, tracks=track or [], expressions=expression or [], smooth_s=smooth, by=by,
                title=(None if out.suffix in pages.ENDINGS else title) or names[str(result.path)],
            )  # fmt: skip

        stacked = kind == "stacked"
        if out.suffix in pages.ENDINGS and not out.is_dir():
            charts = (draw(result) for result in reading.each(results, "drawing", quiet=quiet))
            pages.write(charts, out, stacked=stacked, title=title)
            reading.wrote(out, count_text(len(results), "figure"), quiet=quiet)
            return
        for result, place in reading.each(pairs, "drawing", quiet=quiet):
            chart = draw(result)
            if place.suffix in pages.ENDINGS:
                pages.write([chart], place, stacked=stacked, title=title)
            else:
                figures.write(chart, place, stacked=stacked, size_mm=size_mm)
            reading.wrote(place, chart.how_many, quiet=quiet)


def _check_options(smooth: float | None, by: str, *, excluded: bool) -> None:
    """Refuses a wrong --smooth, and --by person with what is about tracks.

    Raises:
        OptionError: One of them is given.
    """
    if smooth is not None and not 0 < smooth < 86400:
        raise OptionError(f"--smooth must be a number of seconds above 0, not {smooth:g}.")
    if by == "person" and excluded:
        raise OptionError("--by person excludes --track, --actions and --action.")


def _draw_actions(
    pairs: Sequence[tuple[Result, Path]],
    names: Mapping[str, str],
    tracks: Sequence[int],
    actions: Sequence[str],
    size_mm: tuple[float, float] | None,
    *,
    quiet: bool,
) -> None:
    """Draws the actions of each result into its figure.

    Raises:
        OptionError: It would be a page, or of several tracks.
    """
    from jadfer_cli.analysis.plots import actions as drawing

    if any(place.suffix not in drawing.ENDINGS for _, place in pairs):
        raise OptionError(f"--actions draws {', '.join(drawing.ENDINGS)}, not a page.")
    if len(tracks) > 1:
        raise OptionError("--actions draws one track; give --track once.")
    track = tracks[0] if tracks else None
    for result, place in reading.each(pairs, "drawing", quiet=quiet):
        chart = drawing.action_chart(result, track, actions, names[str(result.path)])
        n = drawing.write(chart, place, size_mm=size_mm)
        reading.wrote(place, count_text(n, "action"), quiet=quiet)


def _size_mm(text: str) -> tuple[float, float]:
    """Width and height in mm, from text such as 89x60.

    Raises:
        OptionError: The text is not a size.
    """
    with contextlib.suppress(ValueError):
        width, height = (float(part) for part in text.lower().split("x"))
        if 40 <= width <= 1000 and 40 <= height <= 3000:
            return width, height
    raise OptionError(
        f"--size takes width x height in mm, from 40x40 to 1000x3000, not {text}.",
        "E.g. --size 89x60 for one column of a journal.",
    )


def _places(
    inputs: Sequence[str], results: Sequence[Result], out: Path, format_name: str
) -> list[Path]:
    """The file of each result's figure.

    Raises:
        OptionError: Several results for one figure, or two that would share a file.
    """
    from jadfer_cli.results.paths import below_inputs

    if out.suffix and not out.is_dir():
        if len(results) > 1 and out.suffix != ".html":
            raise OptionError(
                f"{len(results)} results do not fit into one figure, {out}.",
                "Name a folder for one figure each, or an .html file for one page with all.",
            )
        return [out] * len(results)
    places: dict[Path, Path] = {}
    for result in results:
        place = out / below_inputs(result.path, inputs).with_suffix(f".{format_name}")
        if place in places:
            raise OptionError(
                f"{places[place]} and {result.path} would both be drawn into {place}.",
                "Draw them one by one, or name the folder above them, with -r.",
            )
        places[place] = result.path
    return list(places)


def _check_tracks(results: Sequence[Result], tracks: Sequence[int]) -> None:
    """Refuses tracks that no result has.

    Raises:
        OptionError: A track is missing from all results.
    """
    if not tracks:
        return
    ids: set[int] = set()
    for result in results:
        ids |= set(result.rows(["track_id"])["track_id"].dropna().astype(int))
    missing = [str(track) for track in tracks if track not in ids]
    if missing:
        which = str(results[0].path) if len(results) == 1 else f"None of {len(results)} results"
        verb = "has no" if len(results) == 1 else "has a"
        known = ", ".join(map(str, sorted(ids)[:20]))
        raise OptionError(
            f"{which} {verb} track {' or '.join(missing)}.",
            f"Found: {known}, e.g. --track {min(ids)}. `jadfer show` lists them."
            if ids
            else "No face was found, so there is no track to draw.",
        )
