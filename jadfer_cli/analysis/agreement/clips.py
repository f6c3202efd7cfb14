"""Which result the coders' name of a clip stands for, and who is seen in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jadfer_cli.analysis.agreement.tables import Line, column, lines_of, place
from jadfer_cli.errors import CodesError, OptionError
from jadfer_cli.results.load import Result

_CLIP_COLUMNS = ("clip", "video", "result", "file", "media")
PERSON_COLUMNS = ("participant", "person", "participant_id", "subject")


def _parts(text: str) -> tuple[str, ...]:
    """The folders and the name of a clip, last first, in lower case and without a suffix."""
    path = PurePosixPath(text.replace("\\", "/"))
    parts = [part for part in path.parts if part not in (".", "..", "/", "")]
    if parts and "." in parts[-1]:
        parts[-1] = PurePosixPath(parts[-1]).stem or parts[-1]
    return tuple(part.lower() for part in reversed(parts))


class ClipNames:
    """Finds results by the names that coders give clips.

    A name fits a result if its last part is that of the result's file or of its video; folders
    before it must agree as far as several results share the last part.

    Args:
        results: All results.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = results
        self._known = [
            {_parts(str(result.path)), _parts(str(result.metadata["video"]["path"]))}
            for result in results
        ]

    def find(self, name: str) -> int | None:
        """Return the index of the result that a name stands for; None if there is none.

        Raises:
            CodesError: Several results fit equally well, or the codes do not name the clip.
        """
        if not name:
            if len(self.results) == 1:
                return 0
            raise CodesError(
                f"The codes do not say which of {len(self.results)} clips they are of.",
                "Add a column clip with the name of the video, or name one result only.",
            )
        wanted = _parts(name)
        fits = [max(_shared(wanted, known) for known in own) for own in self._known]
        best = max(fits, default=0)
        if not best:
            return None
        which = [index for index, n in enumerate(fits) if n == best]
        if len(which) > 1:
            first, second = (self.results[index].path for index in which[:2])
            raise CodesError(
                f"The clip {name} may be {first} or {second}.",
                "Write its folder before its name, e.g. "
                f"{self.results[which[0]].path.parent.name}/{PurePosixPath(name).name}.",
            )
        return which[0]


def _shared(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many parts agree from the last one on."""
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def found_or_refused(names: ClipNames, wanted: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Return the result of each clip, and the names of those without one.

    Raises:
        CodesError: No clip has a result.
    """
    found, missing = {}, []
    for name in sorted(set(wanted)):
        index = names.find(name)
        if index is None:
            missing.append(name)
        else:
            found[name] = index
    if not found:
        raise CodesError(
            f"No result fits the coded clips: {', '.join(missing[:5])}.",
            f"Results are of {', '.join(result.name for result in names.results[:5])}; the names "
            "must agree apart from folder and ending.",
        )
    return found, missing


@dataclass(frozen=True)
class Participants:
    """A table about clips or people.

    Attributes:
        path: The file.
        header: Its columns.
        lines: Its rows.
    """

    path: Path
    header: list[str]
    lines: list[Line]

    def values(self, wanted: str, names: ClipNames) -> dict[int, str]:
        """Return the value of a column for each result that the table names.

        Raises:
            OptionError: The table has no such column.
            CodesError: It names no clips, or two values for one.
        """
        of, clip = column(self.header, (wanted,)), column(self.header, _CLIP_COLUMNS)
        if of is None:
            raise OptionError(
                f"{self.path} has no column {wanted}.", f"It has {', '.join(self.header)}."
            )
        if clip is None:
            raise CodesError(
                f"{self.path} does not say which clips its rows are about.",
                "Add a column clip with the name of each video, one row per clip.",
            )
        found: dict[int, str] = {}
        for number, line in self.lines:
            index = names.find(line.get(clip, ""))
            value = line.get(of, "")
            if index is None or not value:
                continue
            if found.setdefault(index, value) != value:
                raise CodesError(
                    f"{place(self.path, number)}: {line[clip]} has a second value of {wanted}, "
                    f"{value} beside {found[index]}."
                )
        return found

    def person_column(self) -> str | None:
        """Return the column that says who is seen in a clip, if there is one."""
        return column(self.header, PERSON_COLUMNS)


def read_participants(path: Path) -> Participants:
    """Read a table with one row per clip.

    Raises:
        CodesError: The file cannot be read.
    """
    try:
        header, lines = lines_of(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise CodesError(f"{path} cannot be read as UTF-8 text ({error}).") from error
    return Participants(path, header, lines)
