"""`jadfer plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jadfer_cli.cli import reading
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.errors import OptionError

if TYPE_CHECKING:
    from jadfer_cli.analysis.plots.timelines import Chart
    from jadfer_cli.results.load import Result

HELP = """Draw a timeline a track: the probabilities of all expressions over time.

Each frame is drawn at its true time. Time in which a track is not seen is grey, time in which \
its face is not usable is hatched; nothing is drawn across gaps. The ending says the format: \
.png, .svg and .pdf for papers, .html for a browser - one page with zoom and hover that needs \
no network. Long results are thinned to what can be seen: lines keep the lowest and highest \
values, stacks show means, and the picture says so.

Examples:

  jadfer plot clip.parquet -o clip.png

  jadfer plot clip.parquet -o clip.html --kind lines

  jadfer plot clip.parquet -o smile.pdf --track 0 --expression happiness --kind lines --smooth 0.5

  jadfer plot results/ -r -o figures/ --format svg

  jadfer plot results/ -o all.html

Several results go into a folder, a picture each, or into one .html page, a figure each.
"""


def plot(
    inputs: reading.Inputs,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|FOLDER",
            help=".png, .svg, .pdf or .html; or a folder.",
            show_default=False,
        ),
    ],
    recursive: reading.Recursive = False,
    kind: Annotated[
        Literal["stacked", "lines"], typer.Option(help="Stack the probabilities, or a line each.")
    ] = "stacked",
    track: Annotated[
        list[int] | None,
        typer.Option(metavar="ID", help="Only this track; may be repeated.", show_default="all"),
    ] = None,
    expression: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this one; may be repeated.", show_default="all"),
    ] = None,
    smooth: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Draw a moving mean.", show_default=False),
    ] = None,
    format: Annotated[
        Literal["png", "svg", "pdf", "html"], typer.Option(help="Of the pictures in a folder.")
    ] = "png",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace pictures that are there.")
    ] = False,
    quiet: reading.Quiet = False,
    debug: reading.Debug = False,
) -> None:
    """Draw timelines."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis import tabular
        from jadfer_cli.analysis.plots import figure as plots
        from jadfer_cli.analysis.plots import page as pages
        from jadfer_cli.analysis.plots import timelines

        if smooth is not None and not 0 < smooth < 86400:
            raise OptionError(f"--smooth must be a number of seconds above 0, not {smooth:g}.")
        results = reading.opened(inputs, recursive=recursive)
        places = _places(inputs, results, out, format)
        for place in dict.fromkeys(places):
            tabular.check_target(
                place, overwrite=overwrite, endings=(*plots.ENDINGS, *pages.ENDINGS)
            )
        _check_tracks(results, track or [])
        for result in results:
            result.resolve_labels(expression or [])  # before the first is drawn

        def draw(result: Result) -> Chart:
            return timelines.chart(
                result, tracks=track or [], expressions=expression or [], smooth_s=smooth
            )

        stacked = kind == "stacked"
        if out.suffix in pages.ENDINGS and not out.is_dir():
            charts = (draw(result) for result in reading.each(results, "drawing", quiet=quiet))
            pages.write(charts, out, stacked=stacked)
            reading.wrote(out, f"{len(results)} figure{'s' * (len(results) != 1)}", quiet=quiet)
            return
        pairs = list(zip(results, places, strict=True))
        for result, place in reading.each(pairs, "drawing", quiet=quiet):
            chart = draw(result)
            if place.suffix in pages.ENDINGS:
                pages.write([chart], place, stacked=stacked)
            else:
                plots.write(chart, place, stacked=stacked)
            n = chart.n_tracks
            reading.wrote(place, f"{n} track{'s' * (n != 1)}", quiet=quiet)


def _places(inputs: Sequence[str], results: Sequence[Result], out: Path, format: str) -> list[Path]:
    """Where each result's picture goes.

    Raises:
        OptionError: Several results in one picture, or two of one name.
    """
    from jadfer_cli.results.paths import below_inputs

    if out.suffix and not out.is_dir():
        if len(results) > 1 and out.suffix != ".html":
            raise OptionError(
                f"{len(results)} results do not fit into one picture {out}.",
                "Name a folder for a picture each, or an .html file for one page of them all.",
            )
        return [out] * len(results)
    places: dict[Path, Path] = {}
    for result in results:
        place = out / below_inputs(result.path, inputs).with_suffix(f".{format}")
        if place in places:
            raise OptionError(
                f"{places[place]} and {result.path} would both be drawn into {place}.",
                "Draw them one by one, or name the folder above them with -r.",
            )
        places[place] = result.path
    return list(places)


def _check_tracks(results: Sequence[Result], tracks: Sequence[int]) -> None:
    """Refuses a track that no result has."""
    if not tracks:
        return
    ids: set[int] = set()
    for result in results:
        ids |= set(result.rows(["track_id"])["track_id"].dropna().astype(int))
    missing = [str(track) for track in tracks if track not in ids]
    if missing:
        known = ", ".join(map(str, sorted(ids)[:20])) or "none"
        raise OptionError(f"There is no track {', '.join(missing)}.", f"Tracks found: {known}.")
