"""Timelines as one HTML page with zoom and hover, which needs no network."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from jadfer_cli._version import __version__
from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.analysis.plots.bands import OTHERS_NAME, Band, bands, left_out_note
from jadfer_cli.analysis.plots.colours import ABSENT, CASING, UNUSABLE, needs_casing
from jadfer_cli.analysis.plots.thinning import (
    Curve,
    bin_width_s,
    curve,
    joined_spans,
    thinning_note,
)
from jadfer_cli.analysis.plots.timelines import Chart, Timeline, track_title, uses_clock
from jadfer_cli.common import atomic_write, clock
from jadfer_cli.text import one_line

ENDINGS = (".html",)
# What a browser draws without delay, for all tracks of a figure together, which is more than the
# width of a screen shows, so that zooming in reveals more. A bin of lines keeps several frames.
_MAX_FRAMES, _MAX_BINS = 12_000, {"stacked": 12_000, "lines": 1500}
_MIN_GAP = 1 / 4000  # of the time axis; bands that are closer are joined
# without plotly's button that sends the data to a server
_BUTTONS = [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]]
# Makes the browser refuse everything that is not in the file. plotly.js needs 'unsafe-eval'.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; " \
    "style-src 'unsafe-inline'; img-src data: blob:"  # fmt: skip
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5em auto; max-width: 1300px;
  padding: 0 1em; color: #222; background: #fff }}
h1 {{ font-size: 1.5em; margin: 0 0 0.3em }} h2 {{ font-size: 1.2em; margin: 1.6em 0 0.1em }}
p {{ margin: 0.2em 0; color: #555 }} ol {{ columns: 22em; margin: 0.5em 0; color: #555 }}
#legend {{ position: sticky; top: 0; z-index: 2; background: #fffffff0; padding: 0.5em 0 }}
#legend button, #legend span {{ font: inherit; border: 0; background: none; margin-right: 1em;
  padding: 0.1em; color: inherit; white-space: nowrap }}
#legend button {{ cursor: pointer }} #legend [aria-pressed=false] {{ opacity: 0.35 }}
i {{ display: inline-block; width: 1.5em; height: 0.85em; margin-right: 0.35em }}
</style>
<script>{plotly}</script></head><body>
<h1>{title}</h1>
<p>Drag over an interval to zoom in, double-click to zoom out. Point at a curve to read its values.
Click a name below to hide it in all figures.</p>
"""
_FOOT = """<p>Made by jadfer plot {version}.</p>
<script>
for (const button of document.querySelectorAll("#legend button")) button.onclick = () => {{
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", shown);
  for (const plot of document.querySelectorAll(".plotly-graph-div")) {{
    const own = [...plot.data.keys()].filter(
      i => plot.data[i].legendgroup === button.dataset.name);
    if (own.length) Plotly.restyle(plot, {{visible: shown}}, own);
  }}
}};
</script></body></html>
"""


def write(charts: Iterable[Chart], out: Path, *, stacked: bool, title: str | None = None) -> None:
    """Write one self-contained page with one figure per chart, atomically.

    The page begins with a title, how to use it, a list of its figures, and one legend for all.

    Args:
        charts: What the figures show, in order.
        out: The .html file.
        stacked: Stack the probabilities rather than draw one line for each.
        title: The heading of the page; by default the video of a single figure, or their number.

    Raises:
        OutputError: The file cannot be written.
    """
    from plotly.offline import get_plotlyjs

    legend: dict[str, str] = {}
    names: list[str] = []
    # the charts are drawn one by one, and what stands above them is known when all are drawn
    with atomic_write(out) as part, TemporaryFile("w+", encoding="utf-8", newline="\n") as body:
        for i, chart in enumerate(charts):
            names.append(chart.title)
            legend |= _swatches(chart, stacked=stacked)
            body.write(f'<h2 id="figure{i}">{_text(chart.title)}</h2>\n')
            _write_figure(body, chart, stacked=stacked)
        heading = title or (names[0] if len(names) == 1 else f"{len(names)} videos")
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(_HEAD.format(policy=_POLICY, title=_text(heading), plotly=get_plotlyjs()))
            if len(names) > 1:
                links = (f'<li><a href="#figure{i}">{_text(name)}</a></li>\n'
                         for i, name in enumerate(names))  # fmt: skip
                file.write(f"<ol>\n{''.join(links)}</ol>\n")
            file.write(f'<div id="legend">{_legend(legend)}</div>\n')
            body.seek(0)
            shutil.copyfileobj(body, file)
            file.write(_FOOT.format(version=__version__))


def _text(value: str) -> str:
    """Text for the page: no markup, and no character that controls a terminal."""
    return escape(one_line(value))


def _write_figure(body: IO[str], chart: Chart, *, stacked: bool) -> None:
    bin_s = bin_width_s(chart.tracks, _MAX_BINS["stacked" if stacked else "lines"], _MAX_FRAMES)
    notes = [chart.subtitle, *chart.notes, left_out_note(chart, stacked=stacked)]
    notes.append(thinning_note(bin_s, stacked=stacked))
    body.writelines(f"<p>{_text(note)}</p>\n" for note in notes if note)
    body.write(
        figure(chart, bin_s, stacked=stacked).to_html(
            full_html=False, include_plotlyjs=False, include_mathjax=False,
            # the logo is a link
            config={"displaylogo": False, "responsive": True, "modeBarButtons": _BUTTONS},
        )
    )  # fmt: skip


def _swatches(chart: Chart, *, stacked: bool) -> dict[str, str]:
    """The legend's entries for what a chart shows, by name."""
    found = {
        band.name: f'<button aria-pressed="true" data-name="{_text(band.name)}">'
        f'<i style="background:{band.colour}"></i>{_text(band.name)}</button>'
        for band in bands(chart, stacked=stacked)
    }
    if chart.has_unusable:
        hatching = f"repeating-linear-gradient(135deg,#fff 0 4px,{UNUSABLE} 4px 5px)"
        found["not usable"] = f'<span><i style="background:{hatching}"></i>not usable</span>'
    if chart.has_absent:
        name = f"{chart.each} not seen" if chart.tracks else "no face"
        found[name] = f'<span><i style="background:{ABSENT}"></i>{name}</span>'
    return found


def _legend(swatches: dict[str, str]) -> str:
    """The swatches of all charts: the expressions, the sum of the others, then the greys."""
    order = sorted(
        swatches, key=lambda name: (not swatches[name].startswith("<button"), name == OTHERS_NAME)
    )
    return "".join(swatches[name] for name in order)


def figure(chart: Chart, bin_s: float | None, *, stacked: bool) -> Any:
    """Return the plotly figure of one chart: one panel per track over a common time axis."""
    from plotly.subplots import make_subplots

    n = max(len(chart.tracks), 1)
    height_px = 100 + n * (250 if n == 1 else 150)
    plot = make_subplots(
        rows=n, cols=1, shared_xaxes=True, vertical_spacing=min(0.28 / n, 30 / height_px),
        y_title="probability",
        subplot_titles=[track_title(t) for t in chart.tracks] or [
            "no such track" if chart.n_tracks else "no face was found"],
    )  # fmt: skip
    shown = bands(chart, stacked=stacked)
    for row, track in enumerate(chart.tracks, 1):
        for trace in _traces(chart, track, shown, bin_s, stacked=stacked):
            plot.add_trace(trace, row=row, col=1)
    if not chart.tracks:
        full = np.array([[chart.begin_s, chart.end_s]])
        plot.add_trace(_band(chart, full, "no face", ABSENT), row=1, col=1)
    for panel_title in plot.layout.annotations[:n]:  # on the left, as in figures for papers
        panel_title.update(x=0, xanchor="left", font_size=13)
    plot.update_yaxes(range=[0, 1], tickvals=[0, 0.5, 1], fixedrange=True, zeroline=False)
    plot.update_xaxes(
        range=_times(chart, np.array([chart.begin_s, chart.end_s])).tolist(), zeroline=False
    )
    if uses_clock(chart.begin_s, chart.end_s):
        shape = "%-H:%M:%S" if chart.end_s >= 3600 else "%M:%S"
        stops = [{"dtickrange": [None, 1000], "value": shape + ".%L"},
                 {"dtickrange": [1000, None], "value": shape}]  # fmt: skip
        plot.update_xaxes(type="date", tickformatstops=stops)
    plot.update_xaxes(title_text="time" if uses_clock(chart.begin_s, chart.end_s)
                       else "time (s)", row=n, col=1)  # fmt: skip
    plot.update_layout(
        height=height_px, hovermode="x", template="plotly_white", font_size=13,
        margin={"l": 65, "r": 10, "t": 30, "b": 60}, showlegend=False,
    )  # fmt: skip
    return plot


def _traces(
    chart: Chart, track: Timeline, shown: Sequence[Band], bin_s: float | None, *, stacked: bool
) -> list[Any]:
    """The traces of one track."""
    import plotly.graph_objects as go

    drawn = curve(track, bin_s, stacked=stacked)
    x, shape = _times(chart, drawn.x_s), "linear" if track.smooth else "hv"
    traces = [_band(chart, track.absent_s, f"{chart.each} not seen", ABSENT)]
    for band in shown:
        y, colour = band.of(drawn.y), band.colour
        if stacked:  # plotly cannot stack NaN, so the stack is 0 between runs
            y = np.nan_to_num(y)
        style: dict[str, Any] = (
            {"stackgroup": "p", "line": {"width": 0, "shape": shape}, "fillcolor": colour}
            if stacked
            else {"line": {"width": 1.6, "shape": shape, "color": colour}}
        )
        if not stacked and needs_casing(colour):
            traces.append(
                go.Scatter(
                    x=x, y=y.astype(np.float32), mode="lines", hoverinfo="skip",
                    legendgroup=one_line(band.name),
                    line={"width": 3, "shape": shape, "color": CASING},
                )
            )  # fmt: skip
        traces.append(
            go.Scatter(
                x=x, y=y.astype(np.float32), name=escape(band.name), mode="lines", hoverinfo="skip",
                legendgroup=one_line(band.name), connectgaps=False, **style,
            )
        )  # fmt: skip
    hatching = _band(chart, track.unusable_s, "not usable", "rgba(255,255,255,0.6)")
    hatching.fillpattern = {
        "shape": "/", "fgcolor": UNUSABLE, "bgcolor": "rgba(255,255,255,0.6)", "size": 7,
        "solidity": 0.25,
    }  # fmt: skip
    return [*traces, hatching, _hover(chart, drawn, x)]


def _hover(chart: Chart, drawn: Curve, x: Floats) -> Any:
    """An invisible trace that shows time, frame and probabilities at the mouse pointer."""
    import plotly.graph_objects as go

    is_frame = drawn.frame >= 0
    times = [clock(t, decimals=2) for t in drawn.x_s[is_frame].tolist()]
    lines = [f"{escape(label)} %{{customdata[{k + 1}]:.1%}}" for k, label in
             enumerate(chart.labels)]  # fmt: skip
    return go.Scatter(
        x=x[is_frame], y=np.full(int(is_frame.sum()), 0.5, np.float32), text=times, mode="markers",
        marker={"opacity": 0, "size": 1, "color": "#333"}, showlegend=False,
        customdata=np.column_stack([drawn.frame[is_frame], np.round(drawn.y[is_frame], 4)]),
        hovertemplate="<b>%{text}</b>, frame %{customdata[0]:.0f}<br>" + "<br>".join(lines)
        + "<extra></extra>",
    )  # fmt: skip


def _band(chart: Chart, spans_s: Floats, name: str, colour: str) -> Any:
    """Intervals of time over the full height, as one filled outline with gaps."""
    import plotly.graph_objects as go

    spans_s = joined_spans(spans_s, _MIN_GAP * (chart.end_s - chart.begin_s))
    corners = np.column_stack([spans_s[:, [0, 0, 1, 1, 0]], np.full(len(spans_s), np.nan)])
    heights = np.tile([0.0, 1.0, 1.0, 0.0, 0.0, np.nan], len(spans_s))
    return go.Scatter(
        x=_times(chart, corners.ravel()), y=heights, fill="toself", fillcolor=colour,
        mode="lines", line={"width": 0}, hoverinfo="skip", name=name,
    )  # fmt: skip


def _times(chart: Chart, seconds: Floats) -> Floats:
    """Positions on the time axis: seconds, or milliseconds if it is labelled m:ss."""
    return seconds * 1000 if uses_clock(chart.begin_s, chart.end_s) else seconds
