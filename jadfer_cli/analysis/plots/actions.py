"""Actions over time as small multiples: one small panel per action, drawn with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.analysis.actions import PAIRED, PREFIX, action_names, read_actions, resolve_actions
from jadfer_cli.analysis.face_table import FaceTable, read_faces
from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result
from jadfer_cli.text import one_line, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg", ".pdf")
_MIN_VISIBLE = 0.1  # actions that stay below are not drawn, unless they are named
_SIDES = ("left", "right")
_COLOURS = {"left": "#0072B2", "right": "#D55E00", "": "#333333"}  # Okabe and Ito 2008
_COLUMNS, _WIDTH_IN, _PANEL_IN, _MARGIN_IN, _DPI = 4, 7.2, 0.62, 0.9, 200
_MM_PER_IN = 25.4
_STYLE: Any = {"font.size": 7.0, "axes.linewidth": 0.5, "pdf.fonttype": 42,
               "svg.hashsalt": "jadfer"}  # fmt: skip


@dataclass(frozen=True)
class ActionChart:
    """The actions of one track.

    Attributes:
        title: The name of the result, and the track.
        start_s: float64 (n,), start of the time that each of its frames represents.
        breaks: Indices before which the track is not seen, or the face has no mesh.
        actions: float64 (n,) by name and side; the side is "" for actions without one.
        begin_s, end_s: The analysed time.
    """

    title: str
    start_s: Floats
    breaks: tuple[int, ...]
    actions: dict[str, dict[str, Floats]]
    begin_s: float
    end_s: float


def action_chart(
    result: Result, track: int | None, names: Sequence[str], title: str
) -> ActionChart:
    """Read the actions of one track.

    Args:
        result: The result.
        track: ID of the track; None for the one that is seen longest.
        names: Actions to draw; none for those that reach 0.1. Both sides of a pair are drawn.
        title: The name of the result.

    Raises:
        ResultError: There are no actions beside the result.
        OptionError: There is no such action or track.
    """
    annotated = read_faces(result)
    tracks = annotated.faces.by_track()
    if track is None:
        track = max(tracks, key=lambda i: float(tracks[i].span_s.sum()), default=None)
    if track is None or track not in tracks:
        wanted = "face" if track is None else f"track {track}"
        raise OptionError(f"{result.path} has no {wanted} to draw.")
    faces = tracks[track]
    values = read_actions(result, faces, [PREFIX + name for name in action_names()])
    by_name = dict(zip(action_names(), values.T, strict=True))
    chosen = {_pair(name) for name in resolve_actions(names)}
    panels: dict[str, dict[str, Floats]] = {}
    for name, curve in by_name.items():
        panels.setdefault(_pair(name), {})[_side(name)] = curve
    shown = {
        name: sides
        for name, sides in panels.items()
        if name in chosen or (not chosen and _peak(sides) >= _MIN_VISIBLE)
    }
    begin_s, end_s = float(annotated.frame_start_s[0]), float(annotated.frame_end_s[-1])
    heading = f"{one_line(title)}, track {track}"
    return ActionChart(heading, faces.start_s, _breaks(faces), shown, begin_s, end_s)


def _pair(name: str) -> str:
    """The name without the side, for an action that both sides have."""
    plain = name.removesuffix("_left").removesuffix("_right")
    return plain if plain in PAIRED else name


def _side(name: str) -> str:
    return name.rpartition("_")[2] if _pair(name) != name else ""


def _peak(sides: dict[str, Floats]) -> float:
    curves = np.concatenate([curve[np.isfinite(curve)] for curve in sides.values()])
    return float(curves.max(initial=0.0))


def _breaks(faces: FaceTable) -> tuple[int, ...]:
    gaps = np.diff(faces.position) != 1
    return tuple((np.flatnonzero(gaps) + 1).tolist())


def write(chart: ActionChart, out: Path, *, size_mm: tuple[float, float] | None = None) -> int:
    """Draw a chart into a file, atomically; the suffix decides the format.

    Args:
        chart: What the figure shows.
        out: Ends in one of `ENDINGS`.
        size_mm: Width and height; by default 183 mm, and as high as the panels need.

    Returns:
        The number of panels.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    n = max(len(chart.actions), 1)
    rows = math.ceil(n / _COLUMNS)
    size = (_WIDTH_IN, _MARGIN_IN + rows * (_PANEL_IN + 0.22))
    if size_mm is not None:
        size = (size_mm[0] / _MM_PER_IN, size_mm[1] / _MM_PER_IN)
    kind = out.suffix[1:]
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with atomic_write(out) as part, rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, (name, sides) in zip(panels, chart.actions.items(), strict=False):
            _panel(panel, chart, name, sides)
        for panel in panels[len(chart.actions) :]:
            panel.set_visible(False)
        for panel in panels[max(len(chart.actions) - _COLUMNS, 0) : len(chart.actions)]:
            panel.tick_params(labelbottom=True)
        note = "" if chart.actions else ": no action reaches 0.1"
        figure.suptitle(
            shortened(chart.title, 70) + note, x=0.01, ha="left", weight="bold", size=9
        ).set_parse_math(False)
        figure.supxlabel(
            "time (s); coefficients 0 to 1; blue: left side of the person, orange: right side",
            size=7,
        )
        figure.savefig(part, dpi=_DPI, format=kind, metadata=metadata)
    return len(chart.actions)


def _panel(panel: Axes, chart: ActionChart, name: str, sides: dict[str, Floats]) -> None:
    for side, curve in sides.items():
        x = np.insert(chart.start_s, chart.breaks, np.nan)
        y = np.insert(curve, chart.breaks, np.nan)  # nothing is drawn across gaps
        panel.plot(x, y, linewidth=0.8, color=_COLOURS[side])
    panel.set_ylim(0, 1)
    panel.set_yticks([0, 0.5, 1], ["0", "", "1"])
    panel.set_xlim(chart.begin_s, chart.end_s)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(name.replace("_", " "), loc="left", fontsize=7, pad=2)
