"""How training and evaluation report what they do; the command line shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Reporter:
    """Receives notes and progress; this one stays silent."""

    def say(self, text: str) -> None:
        """Takes a note for the user, one line."""

    def warn(self, text: str) -> None:
        """Takes a warning for the user, one line."""

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows progress of a task; yields a function that takes the number done so far."""
        yield lambda done: None


def figures_line(figures: dict[str, float]) -> str:
    """Validation figures in words, without the score that chooses the epoch."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.1%}"
        for name, value in figures.items()
        if name != "score"
    )
