"""Draw the tracks of a result over time, with letters and colours on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from jadfer_cli.cli.tables import PIPE_WIDTH, room
from jadfer_cli.common import clock

if TYPE_CHECKING:
    from jadfer_cli.analysis.face_table import Annotated
    from jadfer_cli.analysis.plots.terminal import TerminalTimeline

_MAX_TRACKS = 20
_PIPE_WIDTH, _MIN_WIDTH = 80, 40
_LABEL_WIDTH = 8  # columns that a time label and a space take on the axis
_LETTERS = {"surprise": "U"}  # S is sadness
_STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)


def width() -> int:
    """Return the number of columns to draw in: those of the terminal, or 80 in a pipe."""
    columns = room()
    return _PIPE_WIDTH if columns == PIPE_WIDTH else max(columns, _MIN_WIDTH)


def letters(labels: Sequence[str]) -> dict[str, str]:
    """Return a different capital for each label: the first of its letters that is free."""
    chosen: dict[str, str] = {}
    for label in labels:
        fixed = _LETTERS.get(label, "")
        candidates = fixed + label.upper() + "0123456789"
        taken = {*chosen.values(), *(_LETTERS[name] for name in labels if name in _LETTERS)}
        free = (c for c in candidates if c.isalnum() and (c not in taken or c == fixed))
        chosen[label] = next(free, "?")
    return chosen


def timeline(annotated: Annotated) -> list[Text]:
    """Return the drawing: one line per track, an axis and a legend; nothing without a face."""
    from jadfer_cli.analysis.plots.terminal import terminal_timeline

    tracks = annotated.faces.by_track()
    if not tracks:
        return []
    shown = sorted(sorted(tracks, key=lambda i: -float(tracks[i].span_s.sum()))[:_MAX_TRACKS])
    gutter = max(len(str(i)) for i in shown) + 1
    drawn = terminal_timeline(annotated, width() - gutter - 1)
    marks = letters(annotated.labels)
    lines = [
        Text(f"{track:>{gutter - 1}} ") + _track_line(list(states), annotated.labels, marks)
        for track, states in zip(drawn.tracks, drawn.states.tolist(), strict=True)
        if track in shown
    ]
    lines.append(Text(" " * gutter + _axis(drawn, width() - gutter - 1), style="dim"))
    if len(tracks) > len(shown):
        lines.append(Text(f"The {len(shown)} longest of {len(tracks)} tracks are drawn."))
    return lines + _legend(drawn, annotated.labels, marks)


def _track_line(states: list[int], labels: Sequence[str], marks: dict[str, str]) -> Text:
    line = Text()
    for state in states:
        line.append_text(_block(state, labels, marks))
    return line


def _block(state: int, labels: Sequence[str], marks: dict[str, str]) -> Text:
    from jadfer_cli.analysis.plots.terminal import NO_FACE, UNUSABLE

    if state >= 0:
        label = labels[state]
        return Text(marks[label], style=_style(label, labels))
    return Text("x", style="dim") if state == UNUSABLE else Text("-" if state == NO_FACE else " ")


def _style(label: str, labels: Sequence[str]) -> str:
    """Its colour in plots as background, with black or white text, whichever is more readable."""
    from jadfer_cli.analysis.plots.colours import colours_of

    colour = colours_of(labels)[label]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 110
    return f"{'black' if is_light else 'white'} on {colour}"


def _axis(drawn: TerminalTimeline, n_columns: int) -> str:
    """Time labels, as many as fit, each beginning at the column of its time."""
    length_s = drawn.end_s - drawn.start_s
    fitting = [step for step in _STEPS_S if length_s / step * _LABEL_WIDTH <= n_columns]
    step_s = fitting[0] if fitting else 3600.0
    line = ""
    for at_s, text in _ticks(drawn, step_s):
        column = round((at_s - drawn.start_s) / length_s * n_columns) if length_s else 0
        if column >= len(line) + bool(line) and column + len(text) <= n_columns:
            line = line.ljust(column) + text
    return line


def _ticks(drawn: TerminalTimeline, step_s: float) -> Iterator[tuple[float, str]]:
    decimals = 2 if step_s < 0.1 else 1 if step_s < 1 else 0
    first = int(-(-drawn.start_s // step_s))
    for i in range(first, int(drawn.end_s / step_s) + 1):
        at_s = i * step_s
        yield at_s, f"|{at_s:.{decimals}f}s" if drawn.end_s < 60 else f"|{clock(at_s)}"


def _legend(drawn: TerminalTimeline, labels: Sequence[str], marks: dict[str, str]) -> list[Text]:
    """What the marks in the drawing mean, on lines that fit the width."""
    from jadfer_cli.analysis.plots.terminal import NO_FACE, UNSEEN, UNUSABLE

    words = {UNUSABLE: "face not usable", NO_FACE: "no face at all", UNSEEN: "track not seen"}
    lines = [Text()]
    used = set(drawn.states.ravel().tolist())
    for state in [*range(len(labels)), UNUSABLE, NO_FACE, UNSEEN]:
        if state not in used:
            continue
        mark = Text("blank") if state == UNSEEN else _block(state, labels, marks)
        entry = Text.assemble(mark, " ", labels[state] if state >= 0 else words[state], "   ")
        if len(lines[-1]) + len(entry) - 3 > width():
            lines.append(Text())
        lines[-1].append_text(entry)
    return lines
