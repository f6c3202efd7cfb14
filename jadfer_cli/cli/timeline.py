"""A result's tracks over time, drawn with letters and colours on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from jadfer_cli.cli.tables import PIPE_WIDTH, room

if TYPE_CHECKING:
    from jadfer_cli.analysis.face_table import Annotated
    from jadfer_cli.analysis.plots.terminal import Strips

_MOST_TRACKS = 20
_PIPE_WIDTH, _LEAST_WIDTH = 80, 40
_LETTERS = {"surprise": "U"}  # S is for sadness
_STEPS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)


def clock(seconds: float) -> str:
    """A time for people: 4.96 s, 1:05.2, 1:02:05."""
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    if seconds < 3599.95:
        minutes, tenths = divmod(round(seconds * 10), 600)
        return f"{minutes}:{tenths / 10:04.1f}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def width() -> int:
    """Columns to draw in: those of the terminal, or 80 in a pipe."""
    columns = room()
    return _PIPE_WIDTH if columns == PIPE_WIDTH else max(columns, _LEAST_WIDTH)


def letters(labels: Sequence[str]) -> dict[str, str]:
    """A capital a label, all different: its first letter that is free."""
    found: dict[str, str] = {}
    for label in labels:
        wanted = _LETTERS.get(label, "") + label.upper() + "0123456789"
        taken = {*found.values(), *(_LETTERS[name] for name in labels if name in _LETTERS)}
        free = (c for c in wanted if c.isalnum() and (c not in taken or c == _LETTERS.get(label)))
        found[label] = next(free, "?")
    return found


def timeline(annotated: Annotated) -> list[Text]:
    """The lines of a drawing: a line a track, an axis, a legend; none without a face."""
    from jadfer_cli.analysis.plots.terminal import strips

    tracks = annotated.faces.by_track()
    if not tracks:
        return []
    shown = sorted(sorted(tracks, key=lambda i: -float(tracks[i].span_s.sum()))[:_MOST_TRACKS])
    gutter = max(len(str(i)) for i in shown) + 1
    drawn = strips(annotated, width() - gutter - 1)
    marks = letters(annotated.labels)
    lines = [
        Text(f"{track:>{gutter - 1}} ") + _strip(list(states), annotated.labels, marks)
        for track, states in zip(drawn.tracks, drawn.states.tolist(), strict=True)
        if track in shown
    ]
    lines.append(Text(" " * gutter + _axis(drawn, width() - gutter - 1), style="dim"))
    if len(tracks) > len(shown):
        lines.append(Text(f"The {len(shown)} longest of {len(tracks)} tracks are drawn."))
    return lines + _legend(drawn, annotated.labels, marks)


def _strip(states: list[int], labels: Sequence[str], marks: dict[str, str]) -> Text:
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
    """The colour that plots give it, behind black or white, whichever reads better."""
    from jadfer_cli.analysis.plots.colours import colours_of

    colour = colours_of(labels)[label]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 110
    return f"{'black' if light else 'white'} on {colour}"


def _axis(drawn: Strips, n_columns: int) -> str:
    """Times below the columns where they begin, as many as fit."""
    length_s = drawn.end_s - drawn.start_s
    # a label and a space take about 8 columns
    fits = [step for step in _STEPS_S if length_s / step * 8 <= n_columns]
    step_s = fits[0] if fits else 3600.0
    line = ""
    for at_s, text in _ticks(drawn, step_s):
        column = round((at_s - drawn.start_s) / length_s * n_columns) if length_s else 0
        if column >= len(line) + bool(line) and column + len(text) <= n_columns:
            line = line.ljust(column) + text
    return line


def _ticks(drawn: Strips, step_s: float) -> Iterator[tuple[float, str]]:
    decimals = 2 if step_s < 0.1 else 1 if step_s < 1 else 0
    first = int(-(-drawn.start_s // step_s))
    for i in range(first, int(drawn.end_s / step_s) + 1):
        at_s = i * step_s
        minutes, seconds = divmod(round(at_s), 60)
        hours, minutes = divmod(minutes, 60)
        if drawn.end_s < 60:
            yield at_s, f"|{at_s:.{decimals}f}s"
        elif hours:
            yield at_s, f"|{hours}:{minutes:02d}:{seconds:02d}"
        else:
            yield at_s, f"|{minutes}:{seconds:02d}"


def _legend(drawn: Strips, labels: Sequence[str], marks: dict[str, str]) -> list[Text]:
    """What the marks that occur mean, on lines that fit."""
    from jadfer_cli.analysis.plots.terminal import NO_FACE, UNSEEN, UNUSABLE

    words = {UNUSABLE: "face not usable", NO_FACE: "no face at all", UNSEEN: "track not seen"}
    lines = [Text()]
    occurring = set(drawn.states.ravel().tolist())
    for state in [*range(len(labels)), UNUSABLE, NO_FACE, UNSEEN]:
        if state not in occurring:
            continue
        mark = Text("blank") if state == UNSEEN else _block(state, labels, marks)
        entry = Text.assemble(mark, " ", labels[state] if state >= 0 else words[state], "   ")
        if len(lines[-1]) + len(entry) - 3 > width():
            lines.append(Text())
        lines[-1].append_text(entry)
    return lines
