"""Tables that users write: participants, trials, spans of time; and the videos that they name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result

# Names of BIDS, and others that mean the same.
_SYNONYMS = {
    "participant": ("participant_id", "subject", "participants"),
    "trial": ("trial_id",),
    "onset_s": ("onset",),
    "duration_s": ("duration",),
    "video": ("result", "file", "clip"),
    "track_id": ("track",),
}
_MISSING = ("", "n/a", "NA", "NaN", "nan")


@dataclass(frozen=True)
class StudyTable:
    """A table that a user wrote; cells are None where they are empty.

    Attributes:
        path: The file.
        rows: Its rows; numbers where a whole column is numeric.
        lines: The line on which each row ends, from 1.
    """

    path: Path
    rows: pd.DataFrame
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return [str(name) for name in self.rows.columns]

    def place(self, i: int) -> str:
        """Return where a row is, for messages."""
        return f"{self.path}, line {self.lines[i]}"

    def text(self, column: str, i: int) -> str | None:
        """Return a cell as text."""
        if column not in self.rows or pd.isna(value := self.rows[column].iloc[i]):
            return None
        return str(value)

    def number(self, column: str, i: int) -> float | None:
        """Return a cell as a number.

        Raises:
            OptionError: It is a text.
        """
        if (text := self.text(column, i)) is None:
            return None
        try:
            return float(text)
        except ValueError:
            raise OptionError(
                f"{self.place(i)}: {column} is {text}, which is not a number."
            ) from None


def read_study_table(path: Path, *, texts: Iterable[str], needed: Iterable[str]) -> StudyTable:
    """Read a .csv or .tsv file that a user wrote.

    Columns are separated by commas, semicolons or tabs. With semicolons, numbers may have a decimal
    comma. Empty cells and n/a are missing.

    Args:
        path: The file.
        texts: Columns that stay as they are typed, so that participant 01 is not 1.
        needed: Columns that it must have.

    Raises:
        OptionError: The file cannot be read, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise OptionError(
            f"{path} cannot be read: it is not UTF-8 text.", "Save it as CSV in UTF-8."
        ) from None
    separator = max("\t;,", key=text.lstrip().partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        found = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise OptionError(f"{path}, line {reader.line_num}: {error}.") from None
    lines, cells = [line for line, _ in found], [row for _, row in found]
    head = [name.strip() for name in cells[0]] if cells else []
    if len(set(head)) < len(head) or "" in head:
        raise OptionError(f"{path}: every column needs a name of its own in the first line.")
    for line, row in zip(lines[1:], cells[1:], strict=True):
        if len(row) != len(head):
            raise OptionError(
                f"{path}, line {line}: it has {len(row)} cells, and the first line {len(head)}.",
                "Put a text that contains the separator in quotes.",
            )
    rows = pd.DataFrame(cells[1:], columns=_renamed(head), dtype=object)
    rows = rows.map(str.strip).replace(list(_MISSING), None)
    if missing := [name for name in needed if name not in rows]:
        raise OptionError(
            f"{path} lacks the column {', '.join(missing)}.", f"It has {', '.join(head)}."
        )
    for name in rows.columns.difference(list(texts)):
        rows[name] = _as_numbers(rows[name], comma=separator == ";")
    return StudyTable(path, rows, tuple(lines[1:]))


def _renamed(head: Sequence[str]) -> list[str]:
    """The titles, with the names that jadfer uses in place of others that mean the same."""
    names = list(head)
    for wanted, others in _SYNONYMS.items():
        if wanted not in names:
            for other in others:
                if other in names:
                    names[names.index(other)] = wanted
                    break
    return names


def _as_numbers(column: pd.Series, *, comma: bool) -> pd.Series:
    """The column as numbers, if all its cells are."""
    texts = column.str.replace(",", ".", regex=False) if comma else column
    try:
        numbers = pd.to_numeric(texts)
    except (ValueError, TypeError):
        return column
    whole = numbers.dropna()
    if len(whole) and (whole % 1 == 0).all() and not texts.dropna().str.contains(r"[.e]").any():
        return numbers.astype("Int64")
    return numbers.astype("float64")


class VideoIndex:
    """Finds results by the name of their video.

    Args:
        results: Those to find.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        # by the last part of each path, with and without its ending
        self._named: dict[str, list[tuple[PurePosixPath, Result]]] = {}
        for result in results:
            for text in (str(result.metadata["video"]["path"]), str(result.path)):
                path = _as_path(text)
                for last in {path.name, path.stem}:
                    self._named.setdefault(last, []).append((path, result))

    def matching(self, name: str) -> list[Result]:
        """Return the results of a video.

        The name may be that of the video or of its result, with as many of its folders as needed,
        and with or without its ending.
        """
        wanted = _as_path(name)
        exact: dict[int, Result] = {}
        loose: dict[int, Result] = {}
        for path, result in self._named.get(wanted.name, ()):
            if _ends_with(path.parts, wanted.parts):
                exact[id(result)] = result
            elif _ends_with(path.with_suffix("").parts, wanted.parts):
                loose[id(result)] = result
        return list((exact or loose).values())


def _as_path(text: str) -> PurePosixPath:
    return PurePosixPath(text.replace("\\", "/"))


def _ends_with(parts: tuple[str, ...], end: tuple[str, ...]) -> bool:
    return len(parts) >= len(end) and parts[len(parts) - len(end) :] == end
