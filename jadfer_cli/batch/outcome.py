"""What a batch reports while it runs, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import JadferError


@dataclass
class Outcome:
    """How a batch ended; each list is in the order in which the videos ended."""

    done: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    failed: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)  # had a result with the same settings
    elsewhere: list[Task] = field(default_factory=list)  # another run has done them meanwhile
    untried: list[Task] = field(default_factory=list)  # the batch was stopped before
    stopped: JadferError | None = None  # why it was stopped
    listed: bool = True  # every failure is in failures.jsonl


@dataclass(frozen=True)
class VideoProgress:
    """How far one video is.

    Attributes:
        stage: What is being done: "reading the timeline", "annotating", ...
        frames: Frames in which faces were searched for.
        total: Frames to analyse; 0 if unknown.
        faces: Rows with a face so far.
        faces_now: Faces in the last of these frames.
    """

    stage: str = ""
    frames: int = 0
    total: int = 0
    faces: int = 0
    faces_now: int = 0


IDLE = VideoProgress()


class Reporter(Protocol):
    """Displays what a batch does."""

    def note(self, text: str, *, kind: str) -> None:
        """Shows a message for the user; kind is "hint" or "warning"."""

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Shows how far a worker is; task is None while it loads or waits."""

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Shows how a video ended: "done", "failed", "skipped" or "elsewhere"."""

    def tick(self) -> None:
        """Called several times per second."""
