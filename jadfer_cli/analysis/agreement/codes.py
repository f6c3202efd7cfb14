"""What human coders wrote: spans of time with a label, from whichever program they used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jadfer_cli.errors import CodesError

ONE_CODER = "coder"  # the name where none is recorded


@dataclass(frozen=True)
class Code:
    """One coded span.

    Attributes:
        clip: The clip as the coder's file names it; empty if it names none.
        coder: Who coded it.
        subject: The coded person as the file names them; empty if it names none.
        start_s: Start, in seconds from the first picture of the clip.
        end_s: End.
        label: The coder's own word; empty for a span in which the coder saw nothing to code.
        where: File and line, for messages.
    """

    clip: str
    coder: str
    subject: str
    start_s: float
    end_s: float
    label: str
    where: str

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.end_s < float("inf"):
            raise CodesError(
                f"{self.where}: a code from {self.start_s:g} to {self.end_s:g} s is not a span of "
                "time.",
                "Times are seconds from the start of the clip, and the end is not before the "
                "start.",
            )


@dataclass(frozen=True)
class CodeSet:
    """The codes of one or several files.

    Attributes:
        codes: All spans.
        coded: Clip and coder of everything that was coded, also where nothing was found.
        files: The files that were read.
        notes: What the user should know, such as events without a duration.
    """

    codes: tuple[Code, ...]
    coded: frozenset[tuple[str, str]]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def coders(self) -> tuple[str, ...]:
        """The names of all coders, sorted."""
        return tuple(sorted({coder for _, coder in self.coded}))

    @property
    def words(self) -> tuple[str, ...]:
        """All labels as the coders wrote them, sorted, without the empty one."""
        return tuple(sorted({code.label for code in self.codes} - {""}))
