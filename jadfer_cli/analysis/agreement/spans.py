"""Codes from a table with one span per row, in columns that any program can write."""

from __future__ import annotations

from pathlib import Path

from jadfer_cli.analysis.agreement.codes import ONE_CODER, Code, CodeSet
from jadfer_cli.analysis.agreement.tables import column, lines_of, place, seconds
from jadfer_cli.errors import CodesError

# The columns of a table by what they hold; the first name is the one that the guide shows.
NAMES = {
    "clip": ("clip", "video", "result", "file", "media"),
    "coder": ("coder", "annotator", "rater", "observer"),
    "subject": ("subject", "track", "track_id", "person", "participant"),
    "start": ("start_s", "start", "onset_s", "onset", "begin"),
    "end": ("end_s", "end", "offset_s", "offset", "stop"),
    "duration": ("duration_s", "duration"),
    "label": ("label", "code", "expression", "behavior", "behaviour", "emotion"),
}
HINT = (
    "A table of spans has the columns start_s, end_s and label; clip, coder and subject are "
    "optional. `jadfer events` writes such a table."
)


def read(path: Path, text: str) -> CodeSet:
    """Read a table of spans; times are seconds from the first picture of the clip.

    Args:
        path: The file, for messages.
        text: Its contents.

    Raises:
        CodesError: A column is missing, or a cell is wrong.
    """
    header, lines = lines_of(text)
    found = {what: column(header, names) for what, names in NAMES.items()}
    start, label, end = found["start"], found["label"], found["end"]
    ends = end or found["duration"]
    if start is None or label is None or ends is None:
        raise CodesError(f"{path} has the columns {', '.join(header) or 'of no table'}.", HINT)
    codes = []
    for number, line in lines:
        where = place(path, number)
        begin_s, until_s = seconds(line, start, where), seconds(line, ends, where)
        codes.append(
            Code(
                clip=_cell(line, found["clip"]),
                coder=_cell(line, found["coder"]) or ONE_CODER,
                subject=_cell(line, found["subject"]),
                start_s=begin_s,
                end_s=until_s if end else begin_s + until_s,
                label=_cell(line, label),
                where=where,
            )
        )
    coded = frozenset((code.clip, code.coder) for code in codes)
    return CodeSet(tuple(codes), coded, (path,))


def _cell(line: dict[str, str], name: str | None) -> str:
    return line.get(name, "") if name else ""
