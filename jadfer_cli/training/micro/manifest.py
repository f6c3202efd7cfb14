"""The clips of a micro-expression data set, read from its table.

CASME II and SAMM publish an Excel table each, which Excel saves as CSV; DFME's is sent with its
signed licence, so any table with the plain column names is read, too.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jadfer_cli.errors import TrainingError
from jadfer_cli.labels import BY_NAME


@dataclass(frozen=True)
class MicroClip:
    """One clip.

    Attributes:
        path: A video, or a folder of numbered pictures.
        subject: Who is seen; a number without leading zeros.
        emotion: An expression of `labels.LABELS` if it is one of them, else the table's own word
            in lower case, such as "repression".
        onset_s: When the movement begins, in seconds from the clip's first frame.
        apex_s: When it is strongest.
        offset_s: When it has ended.
        fps: Frames per second of a folder of pictures.

    Raises:
        ValueError: The times are not in this order.
    """

    path: Path
    subject: str
    emotion: str
    onset_s: float
    apex_s: float
    offset_s: float
    fps: float

    def __post_init__(self) -> None:
        if not 0 <= self.onset_s <= self.apex_s <= self.offset_s:
            raise ValueError(
                f"onset, apex and offset must be in this order, got {self.onset_s:g}, "
                f"{self.apex_s:g} and {self.offset_s:g} s"
            )


class Columns(NamedTuple):
    """How a data set's table names what is needed, and how its clips lie.

    Attributes:
        subject, clip, onset, apex, offset, emotion: Names of columns, in lower case, without
            spaces.
        first: Number of a clip's first frame; None if it is that of the clip's first picture.
        fps: Frames per second; None if a column `fps` says so.
        place: Path of a clip below the data set's folder, with {subject} and {clip}.
    """

    subject: str
    clip: str
    onset: str
    apex: str
    offset: str
    emotion: str
    first: int | None
    fps: float | None
    place: str


COLUMNS: dict[str, Columns] = {
    "any": Columns(
        "subject", "clip", "onset", "apex", "offset", "emotion", 0, None, "{clip}"
    ),
    "casme2": Columns(
        "subject", "filename", "onsetframe", "apexframe", "offsetframe", "estimatedemotion",
        None, 200.0, "sub{subject:0>2}/{clip}",
    ),
    "samm": Columns(
        "subject", "filename", "onsetframe", "apexframe", "offsetframe", "estimatedemotion",
        None, 200.0, "{subject:0>3}/{clip}",
    ),
}  # fmt: skip

_HINT = (
    "It needs the columns {needed}. From Excel, save the sheet as \"CSV UTF-8\" and keep one line "
    "of column names at its top."
)  # fmt: skip


def read(table: Path, kind: str = "any", folder: Path | None = None) -> list[MicroClip]:
    """Reads a table of clips.

    `any` has the columns clip, subject, emotion, onset, apex, offset (frames, the first is 0)
    and fps. `casme2` and `samm` are the data sets' own tables at 200 fps, whose frame numbers are
    those of the pictures' names. A clip whose apex is not coded ("/") gets the middle of onset
    and offset.

    Args:
        table: A CSV file, separated by commas, semicolons or tabs.
        kind: One of COLUMNS.
        folder: Where the clips are; None for the table's folder.

    Raises:
        TrainingError: The table is missing or lacks a column, or a line is wrong.
    """
    if kind not in COLUMNS:
        raise TrainingError(f"There is no kind of table {kind}; kinds: {', '.join(COLUMNS)}.")
    columns, folder = COLUMNS[kind], folder or table.parent
    needed = [*columns[:6], *(["fps"] if columns.fps is None else [])]
    lines, header = _lines(table)
    if not set(needed) <= set(header):
        raise TrainingError(
            f"{table} has the columns {', '.join(header)}.",
            _HINT.format(needed=", ".join(needed)),
        )
    clips = []
    for number, line in lines:
        try:
            clips.append(_clip(line, columns, folder))
        except (ValueError, OSError) as error:
            raise TrainingError(f"{table}, line {number}: {error}.") from error
    if not clips:
        raise TrainingError(f"{table} lists no clip.")
    return clips


def _lines(table: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """The table's lines with their numbers, without empty ones, and its columns."""
    try:
        text = table.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{table} cannot be read as UTF-8 text ({error}).") from error
    rows = list(csv.reader(text.splitlines(), delimiter=_delimiter(text)))
    header = ["".join(name.lower().split()) for name in rows[0]] if rows else []
    lines = [
        (number, dict(zip(header, (cell.strip() for cell in row), strict=False)))
        for number, row in enumerate(rows[1:], 2)
        if any(cell.strip() for cell in row)
    ]
    return lines, header


def _delimiter(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    return max(",;\t", key=first.count)


def _clip(line: Mapping[str, str], columns: Columns, folder: Path) -> MicroClip:
    """One clip of a table's line.

    Raises:
        ValueError: A number is missing or wrong, or the clip is missing.
    """
    subject, name = line[columns.subject], line[columns.clip]
    place = columns.place.format(subject=subject, clip=name)
    path = folder / place
    if not path.exists():
        raise ValueError(f"there is no {path}")
    fps = columns.fps or _number(line, "fps")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps:g}")
    first = _first_picture(path) if columns.first is None else columns.first
    onset, offset = _number(line, columns.onset), _number(line, columns.offset)
    coded = line[columns.apex] not in ("", "/", "-", "-1")
    apex = _number(line, columns.apex) if coded else (onset + offset) / 2
    emotion = line[columns.emotion].lower()
    if not subject or not emotion:
        raise ValueError("subject and emotion must not be empty")
    onset_s, apex_s, offset_s = ((frame - first) / fps for frame in (onset, apex, offset))
    if subject.isdigit():  # Excel drops leading zeros in some cells only
        subject = str(int(subject))
    return MicroClip(path, subject, BY_NAME.get(emotion, emotion), onset_s, apex_s, offset_s, fps)


def _number(line: Mapping[str, str], column: str) -> float:
    try:
        value = float(line[column])
    except (KeyError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is {line.get(column)!r}, not a number")
    return value


def _first_picture(path: Path) -> int:
    """The number in the name of a folder's first picture; 0 for a video."""
    if not path.is_dir():
        return 0
    found = pictures(path)
    if not found:
        raise ValueError(f"{path} holds no pictures with a number at the end of their names")
    return found[0][0]


def pictures(folder: Path) -> list[tuple[int, Path]]:
    """The pictures of a folder with the numbers at the end of their names, in that order."""
    found = []
    for file in folder.iterdir():
        digits = file.stem[len(file.stem.rstrip("0123456789")) :]
        if digits and file.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"):
            found.append((int(digits), file))
    return sorted(found)
