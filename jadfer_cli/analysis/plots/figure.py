"""Timelines as a figure for papers: PNG, SVG or PDF, drawn with matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.analysis.plots.colours import ABSENT, UNUSABLE, colours_of
from jadfer_cli.analysis.plots.thinning import bin_width_s, curve, joined_spans, thinning_note
from jadfer_cli.analysis.plots.timelines import Chart, Timeline, track_title, uses_clock
from jadfer_cli.common import atomic_write, clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
_WIDTH_IN = 7.2  # 183 mm: two columns in most journals
_TOP_IN, _BETWEEN_IN, _BOTTOM_IN = 0.68, 0.3, 0.98  # margins of the panels
_DPI = 200
_MAX_BINS = 1400  # one per pixel of the axes
_MAX_VECTORS = 60_000  # points; with more, an SVG or PDF stores the curves as pixels
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_STYLE: Any = {
    "font.size": 8.0, "axes.linewidth": 0.6, "hatch.linewidth": 0.5, "pdf.fonttype": 42,
    "svg.hashsalt": "jadfer", "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}  # fmt: skip


def draw(chart: Chart, *, stacked: bool) -> Figure:
    """Draw a figure with one panel per track over a common time axis.

    Args:
        chart: What the figure shows.
        stacked: Stack the probabilities rather than draw one line for each.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    n = max(len(chart.tracks), 1)
    panel_in = 1.0 if n <= 4 else 0.75 if n <= 10 else 0.55
    bin_s = bin_width_s(chart.tracks, _MAX_BINS * n)
    notes = " ".join([*chart.notes, thinning_note(bin_s, stacked=stacked)]).strip()
    # all sizes are known; with many panels a layout engine would take most of the time
    height_in = _TOP_IN + (panel_in + _BETWEEN_IN) * n - _BETWEEN_IN + _BOTTOM_IN
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in))
        panels = figure.subplots(n, sharex=True, squeeze=False)[:, 0]
        figure.subplots_adjust(
            left=0.07, right=0.96, top=1 - _TOP_IN / height_in, bottom=_BOTTOM_IN / height_in,
            hspace=_BETWEEN_IN / panel_in,
        )  # fmt: skip
        _axes(list(panels), chart)  # first: otherwise every curve rescales all shared axes
        for panel, track in zip(panels, chart.tracks, strict=False):
            _panel(panel, chart, track, bin_s, stacked=stacked)
        if not chart.tracks:
            _no_face(panels[0], chart)
        _heading(panels[0], chart)
        _legend(figure, chart, notes)
        middle_in = (_BOTTOM_IN + height_in - _TOP_IN) / 2
        figure.text(0.018, middle_in / height_in, "probability", rotation=90, va="center")
    return figure


def _heading(panel: Axes, chart: Chart) -> None:
    """Write the video's name and the coverage above the title of the first panel."""
    name = chart.title if len(chart.title) <= 80 else f"{chart.title[:45]}…{chart.title[-32:]}"
    for text, height_pt, weight, size in (
        (name, 33, "bold", 10), (chart.subtitle, 20, "normal", 8),
    ):  # fmt: skip
        panel.annotate(
            text, (0, 1), (0, height_pt), xycoords="axes fraction", textcoords="offset points",
            weight=weight, size=size, parse_math=False,
        )  # fmt: skip


def _panel(
    panel: Axes, chart: Chart, track: Timeline, bin_s: float | None, *, stacked: bool
) -> None:
    """Draw one track: curves, grey where it is not seen, hatched where it is unusable."""
    drawn, colours = curve(track, bin_s, stacked=stacked), colours_of(chart.labels)
    rasterized = drawn.y.size > _MAX_VECTORS / max(len(chart.tracks), 1)
    _spans(panel, track.absent_s, chart, facecolor=ABSENT, edgecolor="none", zorder=0.5)
    if stacked:
        tops = np.cumsum(drawn.y, axis=1)
        for k, label in enumerate(chart.labels):
            panel.fill_between(
                drawn.x_s, tops[:, k] - drawn.y[:, k], tops[:, k], step="post", linewidth=0,
                color=colours[label], rasterized=rasterized,
            )  # fmt: skip
    else:
        for k, label in enumerate(chart.labels):
            panel.plot(
                drawn.x_s, drawn.y[:, k], drawstyle="steps-post", linewidth=1.1,
                color=colours[label], rasterized=rasterized, solid_joinstyle="miter",
            )  # fmt: skip
    _spans(
        panel, track.unusable_s, chart, facecolor=(1, 1, 1, 0.6), edgecolor=UNUSABLE,
        hatch="//////", linewidth=0, zorder=2.5,
    )  # fmt: skip
    panel.set_title(track_title(track), loc="left", fontsize=8, pad=3)


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
        panel.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
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


def _legend(figure: Figure, chart: Chart, notes: str) -> None:
    """Add the expressions and the two greys below the panels, then the notes."""
    from matplotlib.patches import Patch

    colours = colours_of(chart.labels)
    keys = [Patch(facecolor=colours[label], label=label) for label in chart.labels]
    keys.append(
        Patch(facecolor="white", edgecolor=UNUSABLE, hatch="//////", linewidth=0.4,
              label="not usable")
    )  # fmt: skip
    keys.append(Patch(facecolor=ABSENT, label="track not seen" if chart.tracks else "no face"))
    legend = figure.legend(
        handles=keys, loc="lower center", ncols=5, frameon=False, fontsize=8,
        handlelength=1.4, columnspacing=1.4, title=notes or None, title_fontsize=7,
    )  # fmt: skip
    legend.get_title().set_parse_math(False)


def write(chart: Chart, out: Path, *, stacked: bool) -> None:
    """Draw a chart into a file, atomically; the suffix decides the format.

    Args:
        chart: What the figure shows.
        out: Ends in one of `ENDINGS`.
        stacked: Stack the probabilities rather than draw one line for each.

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
        draw(chart, stacked=stacked).savefig(part, dpi=_DPI, format=kind, metadata=metadata)
