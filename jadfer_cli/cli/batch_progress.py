"""Displays the progress of a batch: one bar per worker, or plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from jadfer_cli.batch.outcome import IDLE, Outcome, VideoProgress
from jadfer_cli.batch.plan import Task
from jadfer_cli.cli.estimate import Estimate
from jadfer_cli.cli.json_log import JsonLog
from jadfer_cli.cli.progress import NAME_COLUMNS, ended_line, percentage
from jadfer_cli.cli.tables import table, title
from jadfer_cli.common import clock
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text, without_subject

_LINE_EVERY_S = 30.0


class Quiet(AbstractContextManager["Quiet"]):
    """Shows only warnings and failures (`--quiet`), and counts; the base of the others.

    Args:
        console: Of stderr.
        tasks: The plan.

    Attributes:
        stopped: Set to True if the batch gave up on the remaining videos.
    """

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        self.console, self.n = console, len(tasks)
        self.estimate = Estimate(tasks)
        self.counts: Counter[str] = Counter()
        self.stopped = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def note(self, text: str, *, kind: str) -> None:
        """Prints a warning."""
        if kind == "warning":
            self.console.print(f"Warning: {escape(text)}")

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Remembers how far a worker is."""
        self.estimate.worker(number, task, progress)

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Counts the video, and prints a failure."""
        self.counts[what] += 1
        self.estimate.ended(task, what, fields)
        if what == "failed":
            line = escape(f"{self.place()} {failure_line(task, fields)}")
            self.console.print(line.replace(" failed: ", " [red]failed:[/] ", 1))

    def tick(self) -> None:
        """Does nothing."""

    def place(self) -> str:
        """Which of the videos has just ended, e.g. "[9/12]"."""
        return f"[{sum(self.counts.values())}/{self.n}]"

    def total(self) -> str:
        """The state of the batch in one line."""
        left_s = self.estimate.left_s()
        left = "" if left_s is None else f"  {clock(left_s)} left"
        ended = sum(self.counts.values())
        return f"{ended}/{self.n} videos  {self.estimate.frames_per_s():.1f} frames/s{left}"


class Lines(Quiet):
    """One line per video, and a total from time to time, for logs and pipes."""

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        super().__init__(console, tasks)
        self._printed_s = time.monotonic()

    def note(self, text: str, *, kind: str) -> None:
        """Prints a hint or a warning."""
        self.console.print(f"{kind.capitalize()}: {escape(text)}")

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Prints how a video ended."""
        super().ended(task, what, fields)
        if what != "failed":
            self.console.print(escape(f"{self.place()} {ended_line(task, what, fields)}"))

    def tick(self) -> None:
        """Prints the total, at most twice per minute."""
        now = time.monotonic()
        if now - self._printed_s >= _LINE_EVERY_S:
            self._printed_s = now
            self.console.print(f"{self.estimate.fraction():.0%} of the bytes  {self.total()}")


class Bars(Lines):
    """One live bar per worker, and one for the batch; they fit into 80 columns."""

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        super().__init__(console, tasks)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=10),
            TextColumn("{task.fields[count]}"), console=console, transient=True,
        )  # fmt: skip
        self._names = display_names((task.video for task in tasks), NAME_COLUMNS)
        self._all = self._bars.add_task("all", total=1.0, count="")
        self._bar_of: dict[int, Any] = {}  # by worker
        self._started: set[int] = set()  # workers that have had a video

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Moves a worker's bar."""
        super().worker(number, task, progress)
        if number not in self._bar_of:
            self._bar_of[number] = self._bars.add_task("", total=None, count="")
        waiting = "idle" if number in self._started else "loading"
        name, count, progress = (
            (waiting, "", IDLE) if task is None
            else (self._names[task.video], "", progress)
        )  # fmt: skip
        if task is not None:
            self._started.add(number)
        if progress.total:
            count = (
                f"{percentage(progress)}  {progress.frames}/{progress.total} frames  "
                f"{count_text(progress.faces_now, 'face')} now"
            )
        self._bars.update(
            self._bar_of[number], description=escape(name), total=progress.total or None,
            completed=progress.frames, count=count,
        )  # fmt: skip

    def tick(self) -> None:
        """Moves the bar of the batch."""
        done = self.estimate.fraction()
        self._bars.update(self._all, completed=done, count=f"{int(100 * done):3d}%  {self.total()}")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()


def reporter(
    console: Console, tasks: Sequence[Task], *, quiet: bool, log_json: bool
) -> Quiet | JsonLog:
    """Returns the reporter that suits the options and the terminal."""
    if log_json:
        return JsonLog(sys.stderr, tasks)
    if quiet:
        return Quiet(console, tasks)
    return Bars(console, tasks) if console.is_terminal else Lines(console, tasks)


def failure_line(task: Task, error: dict[str, Any]) -> str:
    """Which video failed, why, and what to do; its path only once."""
    why = without_subject(error["message"], task.video)
    hint = f" {error['hint']}" if error.get("hint") else ""
    return f"{task.video} failed: {why}{hint}"


def summary(outcome: Outcome, seconds: float, failures: str | None) -> list[Any]:
    """Builds the closing table, for stdout; failures were printed when they happened."""
    frames = sum(fields["counts"]["frames_analysed"] for _, fields in outcome.done)
    faces = sum(fields["counts"]["faces"] for _, fields in outcome.done)
    file = failures or ""
    listed = file if outcome.listed else f"{file} could not be written"
    found = f"{count_text(frames, 'frame')}, {count_text(faces, 'face')}"
    rows = [
        ["done", f"{len(outcome.done):,}", found if outcome.done else ""],
        ["kept", f"{len(outcome.skipped):,}", "had a result with the same settings"],
        ["by another run", f"{len(outcome.elsewhere):,}", ""],
        ["failed", f"{len(outcome.failed):,}", listed if outcome.failed else ""],
        ["not tried", f"{len(outcome.untried):,}", ""],
    ]
    kept = [row for row in rows if row[1] != "0" or row[0] in ("done", "failed")]
    speed = f" ({frames / max(seconds, 1e-9):.1f} frames/s)" if frames else ""
    return [title(f"Videos, in {clock(seconds)}{speed}"), table([], kept)]
