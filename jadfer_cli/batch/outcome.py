"""What a batch tells while it runs, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import JadferError


@dataclass
class Outcome:
    """What came of a batch; lists in the order of their ends."""

    done: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    failed: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)  # had a result of the same settings
    elsewhere: list[Task] = field(default_factory=list)  # another run did them meanwhile
    untried: list[Task] = field(default_factory=list)  # the batch was stopped before
    stopped: JadferError | None = None  # why
    listed: bool = True  # every failure is in the list of failures


class Reporter(Protocol):
    """How a batch tells what it does."""

    def note(self, text: str, *, kind: str) -> None:
        """Something the user should read; kind is "hint" or "warning"."""

    def worker(self, number: int, task: Task | None, done: int, total: int, faces: int) -> None:
        """What a worker is at; no task while it loads or waits."""

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """A video is done with: "done", "failed", "skipped" or "elsewhere"."""

    def tick(self) -> None:
        """Called several times a second."""
