"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jadfer_cli.analysis.qc.clip import Clip


@dataclass(frozen=True)
class Finding:
    """Something in one clip that a person should look at.

    Attributes:
        check: Name of the check.
        brief: A few words for a table: "too_dark 88%".
        text: One sentence.
        at_s: Where to look first; None for the clip as a whole.
        look: The command that looks closer: "view", "plot", "show", "diff", or "annotate".
        other: Of "diff", the result to compare with.
    """

    check: str
    brief: str
    text: str
    at_s: float | None = None
    look: str = "view"
    other: str = ""


@dataclass(frozen=True)
class Check:
    """One kind of defect.

    Attributes:
        name: Its name, also in rule files and tables.
        title: What it finds, in words.
        find: Returns what it found in a clip; nothing if all is well.
    """

    name: str
    title: str
    find: Callable[[Clip], Iterable[Finding]]
