"""Codes from BORIS: its exports of tabular events and of aggregated events.

Columns as of BORIS 7 to 9 (boris/export_events.py). Older tabular exports begin with facts about
the observation, above the names of the columns.
"""

from __future__ import annotations

from pathlib import Path

from jadfer_cli.analysis.agreement.codes import ONE_CODER, Code, CodeSet
from jadfer_cli.analysis.agreement.tables import Line, column, lines_of, place, seconds
from jadfer_cli.errors import CodesError

_START, _STOP, _TIME = ("start (s)",), ("stop (s)",), ("time", "time (s)", "start (s)")
_BEHAVIOUR, _TYPE = ("behavior",), ("behavior type", "status", "type")
_CLIP = ("media file name", "media file path", "media file", "source", "observation id")
_CODER = ("observer", "coder", "annotator")
_NOBODY = ("no focal subject", "na", "nan")


def is_export(text: str) -> bool:
    """Return whether a table is an export of BORIS."""
    return _header_line(text) is not None


def read(path: Path, text: str) -> CodeSet:
    """Read an export; the clip is the media file, or else the observation.

    Args:
        path: The file, for messages.
        text: Its contents.

    Raises:
        CodesError: A start has no stop, or a cell is wrong.
    """
    header, lines = lines_of(text, _header_line(text) or 0)
    aggregated = column(header, _STOP) is not None
    codes, n_points = (_aggregated if aggregated else _tabular)(path, header, lines)
    n_points += sum(code.start_s == code.end_s for code in codes)
    notes = (
        f"{path}: {n_points} point events have no duration and are left out; code expressions as "
        "state events.",
    )
    coded = frozenset((_clip(line, header), _coder(line, header)) for _, line in lines)
    kept = tuple(code for code in codes if code.end_s > code.start_s)
    return CodeSet(kept, coded, (path,), notes if n_points else ())


def _header_line(text: str) -> int | None:
    """The line that holds the names of the columns, if this is an export of BORIS."""
    for number, line in enumerate(text.splitlines()[:60]):
        cells = {cell.strip().strip('"').lower() for cell in line.replace(";", ",").split(",")}
        cells |= {cell.strip().strip('"').lower() for cell in line.split("\t")}
        if "behavior" in cells and cells & {"time", "start (s)"} and "label" not in cells:
            return number
    return None


def _aggregated(path: Path, header: list[str], lines: list[Line]) -> tuple[list[Code], int]:
    """The state events of an export with start and stop in one row."""
    start, stop = column(header, _START) or "", column(header, _STOP) or ""
    kind = column(header, ("behavior type",))
    codes, n_points = [], 0
    for number, line in lines:
        where = place(path, number)
        if kind and line.get(kind, "").upper() == "POINT":
            n_points += 1
            continue
        span = (seconds(line, start, where), seconds(line, stop, where))
        codes.append(_code(line, header, span, where))
    return codes, n_points


def _tabular(path: Path, header: list[str], lines: list[Line]) -> tuple[list[Code], int]:
    """The state events of an export with one row for the start and one for the stop.

    Raises:
        CodesError: A start has no stop, or the reverse.
    """
    time, kind = column(header, _TIME) or "", column(header, _TYPE)
    if kind is None:
        raise CodesError(
            f"{path} does not say which events are states.",
            'Export "tabular events" from BORIS with the column Behavior type, or "aggregated '
            'events".',
        )
    running: dict[tuple[str, str, str, str], tuple[float, str]] = {}
    codes, n_points = [], 0
    for number, line in lines:
        where = place(path, number)
        at_s, status = seconds(line, time, where), line.get(kind, "").upper()
        key = (
            _clip(line, header),
            _coder(line, header),
            _subject(line, header),
            _word(line, header),
        )
        if status == "POINT":
            n_points += 1
        elif status == "START" and key not in running:
            running[key] = (at_s, where)
        elif status == "STOP" and key in running:
            codes.append(_code(line, header, (running.pop(key)[0], at_s), where))
        else:
            raise _unpaired(where, key[-1], status)
    for (*_, word), (_, where) in running.items():
        raise _unpaired(where, word, "START")
    return codes, n_points


def _unpaired(where: str, word: str, status: str) -> CodesError:
    return CodesError(
        f"{where}: {word} has a {status or 'row without START or STOP'} that fits no other row.",
        "In BORIS, choose Check states, fix unpaired events, and export again.",
    )


def _code(line: dict[str, str], header: list[str], span: tuple[float, float], where: str) -> Code:
    return Code(
        _clip(line, header), _coder(line, header), _subject(line, header), *span,
        _word(line, header), where,
    )  # fmt: skip


def _word(line: dict[str, str], header: list[str]) -> str:
    return line.get(column(header, _BEHAVIOUR) or "", "")


def _coder(line: dict[str, str], header: list[str]) -> str:
    return line.get(column(header, _CODER) or "", "") or ONE_CODER


def _subject(line: dict[str, str], header: list[str]) -> str:
    found = line.get(column(header, ("subject",)) or "", "")
    return "" if found.lower() in _NOBODY else found


def _clip(line: dict[str, str], header: list[str]) -> str:
    for name in _CLIP:
        found = line.get(column(header, (name,)) or "", "")
        if found and found.upper() != "NA":
            # "player #1:clips/anna.mp4" in the column Source
            return found.partition(":")[2] if found.startswith("player #") else found
    return ""
