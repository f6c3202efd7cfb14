"""Timelines as a figure for papers: PNG, SVG or PDF, drawn with matplotlib."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.analysis.plots.bands import Band, bands, left_out_note
from jadfer_cli.analysis.plots.colours import ABSENT, CASING, UNUSABLE, needs_casing
from jadfer_cli.analysis.plots.thinning import bin_width_s, curve, joined_spans, thinning_note
from jadfer_cli.analysis.plots.timelines import Chart, Timeline, track_title, uses_clock
from jadfer_cli.common import atomic_write, clock
from jadfer_cli.errors import OptionError
from jadfer_cli.text import count_text, one_line, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

ENDINGS = (".png", ".svg", ".pdf")
_WIDTH_IN = 7.2  # 183 mm: two columns in most journals
_TOP_IN, _BETWEEN_IN, _BOTTOM_IN = 0.68, 0.3, 0.98  # margins of the panels
_KEY_IN, _LETTER_IN = 0.42, 0.062  # of the legend, at its font size: a swatch with gaps, a letter
_DPI = 200
_MM_PER_IN, _MIN_PANEL_IN = 25.4, 0.25
_MAX_BINS = 1400  # one per pixel of the axes
_MAX_VECTORS = 60_000  # points; with more, an SVG or PDF stores the curves as pixels
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_STYLE: Any = {
    "font.size": 8.0, "axes.linewidth": 0.6, "hatch.linewidth": 0.5, "pdf.fonttype": 42,
    "svg.hashsalt": "jadfer", "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}  # fmt: skip


def draw(chart: Chart, *, stacked: bool, size_mm: tuple[float, float] | None = None) -> Figure:
    """Draw a figure with one panel per track over a common time axis.

    Args:
        chart: What the figure shows.
        stacked: Stack the probabilities rather than draw one line for each.
        size_mm: Width and height.

    Raises:
        OptionError: The height leaves no room for the tracks.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    n = max(len(chart.tracks), 1)
    bin_s = bin_width_s(chart.tracks, _MAX_BINS * n)
    drawn = bands(chart, stacked=stacked)
    notes = [*chart.notes, left_out_note(chart, stacked=stacked)]
    notes.append(thinning_note(bin_s, stacked=stacked))
    with rc_context(_STYLE):
        keys = _legend_keys(chart, drawn)
        size = _layout(chart, keys, " ".join(filter(None, notes)), size_mm)
        figure = Figure(figsize=(size.width_in, size.height_in))
        panels = figure.subplots(n, sharex=True, squeeze=False)[:, 0]
        figure.subplots_adjust(
            left=0.55 / size.width_in, right=1 - 0.3 / size.width_in,
            top=1 - _TOP_IN / size.height_in, bottom=size.bottom_in / size.height_in,
            hspace=_BETWEEN_IN / size.panel_in,
        )  # fmt: skip
        _axes(list(panels), chart)  # first: otherwise every curve rescales all shared axes
        for panel, track in zip(panels, chart.tracks, strict=False):
            _panel(panel, chart, track, drawn, bin_s, stacked=stacked)
        if not chart.tracks:
            _no_face(panels[0], chart)
        _heading(panels[0], chart, size.width_in)
        _legend(figure, keys, size)
        middle_in = (size.bottom_in + size.height_in - _TOP_IN) / 2
        figure.text(
            0.07 / size.width_in, middle_in / size.height_in, "probability", rotation=90,
            va="center",
        )  # fmt: skip
    return figure


@dataclass(frozen=True)
class _Layout:
    """Sizes of a figure in inches, the columns of its legend, and the notes broken into lines."""

    width_in: float
    height_in: float
    panel_in: float
    bottom_in: float
    n_columns: int
    notes: str


def _layout(
    chart: Chart, keys: Sequence[Patch], notes: str, size_mm: tuple[float, float] | None
) -> _Layout:
    """Decide all sizes; with many panels a layout engine would take most of the time.

    Raises:
        OptionError: The height leaves no room for the tracks.
    """
    n = max(len(chart.tracks), 1)
    width_in = _WIDTH_IN if size_mm is None else size_mm[0] / _MM_PER_IN
    n_columns = _legend_columns([str(key.get_label()) for key in keys], width_in)
    lines = textwrap.wrap(notes, int(17 * width_in))
    n_rows = math.ceil(len(keys) / n_columns)
    bottom_in = _BOTTOM_IN + 0.17 * max(n_rows - 2, 0) + 0.14 * max(len(lines) - 1, 0)
    margins_in = _TOP_IN + _BETWEEN_IN * (n - 1) + bottom_in
    panel_in = 1.0 if n <= 4 else 0.75 if n <= 10 else 0.55
    if size_mm is not None:
        panel_in = (size_mm[1] / _MM_PER_IN - margins_in) / n
        if panel_in < _MIN_PANEL_IN:
            least_mm = (margins_in + _MIN_PANEL_IN * n) * _MM_PER_IN
            raise OptionError(
                f"This figure, with {count_text(n, 'panel')}, needs a height of at least "
                f"{math.ceil(least_mm)} mm, not {size_mm[1]:g}."
            )
    height_in = margins_in + panel_in * n
    return _Layout(width_in, height_in, panel_in, bottom_in, n_columns, "\n".join(lines))


def _legend_columns(names: Sequence[str], width_in: float) -> int:
    """How many columns of names fit into the width; matplotlib fills them one after another."""
    n = max(int(width_in / 1.4), 2)
    while n > 1:
        columns = np.array_split(np.array([len(name) for name in names]), n)
        if sum(_KEY_IN + _LETTER_IN * column.max(initial=0) for column in columns) < width_in:
            break
        n -= 1
    return n


def _heading(panel: Axes, chart: Chart, width_in: float) -> None:
    """Write the video's name and the coverage above the title of the first panel."""
    name = shortened(chart.title, int(80 * width_in / _WIDTH_IN))
    facts = chart.subtitle.split(" · ")
    while len(facts) > 1 and len(" · ".join(facts)) > 16 * width_in:  # a narrow figure
        del facts[-1]
    for text, height_pt, weight, size in (
        (name, 33, "bold", 10), (" · ".join(facts), 20, "normal", 8),
    ):  # fmt: skip
        panel.annotate(
            text, (0, 1), (0, height_pt), xycoords="axes fraction", textcoords="offset points",
            weight=weight, size=size, parse_math=False,
        )  # fmt: skip


def _panel(
    panel: Axes,
    chart: Chart,
    track: Timeline,
    shown: Sequence[Band],
    bin_s: float | None,
    *,
    stacked: bool,
) -> None:
    """Draw one track: curves, grey where it is not seen, hatched where it is unusable."""
    drawn = curve(track, bin_s, stacked=stacked)
    rasterized = drawn.y.size > _MAX_VECTORS / max(len(chart.tracks), 1)
    _spans(panel, track.absent_s, chart, facecolor=ABSENT, edgecolor="none", zorder=0.5)
    if stacked:
        top = np.zeros(len(drawn.y))
        for band in shown:
            bottom, top = top, top + band.of(drawn.y)
            panel.fill_between(
                drawn.x_s, bottom, top, linewidth=0, color=band.colour, rasterized=rasterized,
                step=None if track.smooth else "post",
            )  # fmt: skip
    else:
        for band in shown:
            panel.plot(
                drawn.x_s, band.of(drawn.y), linewidth=1.1, color=band.colour,
                drawstyle="default" if track.smooth else "steps-post", rasterized=rasterized,
                solid_joinstyle="miter", path_effects=_casing(band.colour),
            )  # fmt: skip
    _spans(
        panel, track.unusable_s, chart, facecolor=(1, 1, 1, 0.6), edgecolor=UNUSABLE,
        hatch="//////", linewidth=0, zorder=2.5,
    )  # fmt: skip
    panel.set_title(track_title(track), loc="left", fontsize=8, pad=3)


def _casing(colour: str) -> list[Any]:
    """A dark line behind one in a colour that is hard to see on white."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=2.2, foreground=CASING), Normal()] if needs_casing(colour) else []


def _spans(panel: Axes, spans_s: Floats, chart: Chart, **style: Any) -> None:
    """Fill intervals of time over the full height, as one collection."""
    from matplotlib.collections import PolyCollection

    spans_s = joined_spans(spans_s, (chart.end_s - chart.begin_s) / (2 * _MAX_BINS))
    corners = [[(a, 0), (a, 1), (b, 1), (b, 0)] for a, b in spans_s.tolist()]
    panel.add_collection(PolyCollection(corners, **style), autolim=False)


def _no_face(panel: Axes, chart: Chart) -> None:
    panel.axvspan(chart.begin_s, chart.end_s, color=ABSENT, linewidth=0)
    panel.text(
        0.5, 0.5, "no such track" if chart.n_tracks else "no face was found",
        transform=panel.transAxes, ha="center", va="center", fontsize=10,
    )  # fmt: skip


def _axes(panels: Sequence[Axes], chart: Chart) -> None:
    """Set up the shared time axis, and the probability axes from 0 to 1."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    for panel in panels:
        panel.set_ylim(0, 1)
        panel.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_axisbelow(False)
    length_s = chart.end_s - chart.begin_s
    panels[0].set_xlim(chart.begin_s, chart.end_s if length_s > 0 else chart.begin_s + 1)
    bottom = panels[-1]
    if uses_clock(chart.begin_s, chart.end_s):
        step = next((s for s in _STEPS_S if length_s / s <= 9), _STEPS_S[-1])
        bottom.xaxis.set_major_locator(MultipleLocator(step))
        bottom.xaxis.set_major_formatter(FuncFormatter(lambda x, _: clock(x)))
        bottom.set_xlabel("time (h:mm:ss)" if chart.end_s >= 3600 else "time (min:s)")
    else:
        bottom.set_xlabel("time (s)")


def _legend_keys(chart: Chart, shown: Sequence[Band]) -> list[Patch]:
    """The entries of the legend: what appears in the figure."""
    from matplotlib.patches import Patch

    keys = [
        Patch(facecolor=band.colour, label=_legend_name(band.name), linewidth=0.5,
              edgecolor=CASING if needs_casing(band.colour) else "none")
        for band in shown
    ]  # fmt: skip
    if chart.has_unusable:
        keys.append(
            Patch(facecolor="white", edgecolor=UNUSABLE, hatch="//////", linewidth=0.4,
                  label="not usable")
        )  # fmt: skip
    if chart.has_absent:
        keys.append(
            Patch(facecolor=ABSENT, label=f"{chart.each} not seen" if chart.tracks else "no face")
        )
    return keys


def _legend(figure: Figure, keys: Sequence[Patch], size: _Layout) -> None:
    """Add the expressions and the two greys below the panels, and the notes above them."""
    legend = figure.legend(
        handles=list(keys), loc="lower center", ncols=size.n_columns, frameon=False,
        fontsize=8, handlelength=1.4, columnspacing=1.4, title=size.notes or None,
        title_fontsize=7,
    )  # fmt: skip
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)


def _legend_name(label: str) -> str:
    """The label, after a space if matplotlib would leave it out of the legend."""
    return f" {one_line(label)}" if label.startswith("_") else one_line(label)


def write(
    chart: Chart, out: Path, *, stacked: bool, size_mm: tuple[float, float] | None = None
) -> None:
    """Draw a chart into a file, atomically; the suffix decides the format.

    Args:
        chart: What the figure shows.
        out: Ends in one of `ENDINGS`.
        stacked: Stack the probabilities rather than draw one line for each.
        size_mm: Width and height; by default 183 mm, and as high as the tracks need.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib import rc_context

    kind = out.suffix[1:]
    # without dates, the same result gives the same file
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with atomic_write(out) as part, rc_context(_STYLE), warnings.catch_warnings():
        # letters of a video's name that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph")
        draw(chart, stacked=stacked, size_mm=size_mm).savefig(
            part, dpi=_DPI, format=kind, metadata=metadata
        )
