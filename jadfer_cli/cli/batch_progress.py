"""Displays the progress of a batch: one bar per worker, plain lines in a log, or JSON lines."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from jadfer_cli.batch.outcome import Outcome
from jadfer_cli.batch.plan import Task
from jadfer_cli.cli.console import write_json_line
from jadfer_cli.cli.progress import result_line
from jadfer_cli.cli.tables import table, title
from jadfer_cli.common import clock
from jadfer_cli.results.paths import display_names

_LINE_EVERY_S = 30.0
_SHOWN_FAILURES = 20
_NAME_WIDTH = 32


class Quiet(AbstractContextManager["Quiet"]):
    """Shows only warnings and failures (`--quiet`), and counts; the base of the others.

    Args:
        console: Of stderr.
        tasks: The plan; the time left is estimated from the sizes of its files.
    """

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        self.console, self.n = console, len(tasks)
        self._bytes = {task: _size(task.video) for task in tasks}
        self._all_bytes = max(sum(self._bytes.values()), 1)
        self._done_bytes = 0
        self._current: dict[int, tuple[Task | None, int, int, int]] = {}
        self.counts: Counter[str] = Counter()
        self.frames = 0
        self.began_s = time.monotonic()

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

    def worker(self, number: int, task: Task | None, done: int, total: int, faces: int) -> None:
        """Remembers how far a worker is."""
        self._current[number] = (task, done, total, faces)

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Counts the video, and prints a failure."""
        self.counts[what] += 1
        self.frames += fields.get("counts", {}).get("frames_analysed", 0)
        self._done_bytes += self._bytes.get(task, 0)
        if what == "failed":
            self.console.print(f"[red]Failed:[/] {escape(task.video)}: {escape(fields['message'])}")

    def tick(self) -> None:
        """Does nothing."""

    @property
    def ended_n(self) -> int:
        """Videos that have ended, in whichever way."""
        return sum(self.counts.values())

    def fraction(self) -> float:
        """Returns the fraction of the files' bytes that is done, 0 to 1."""
        in_progress = sum(
            self._bytes.get(task, 0) * done / total
            for task, done, total, _ in self._current.values()
            if task is not None and total
        )
        return min((self._done_bytes + in_progress) / self._all_bytes, 1.0)

    def rate(self) -> float:
        """Returns frames per second of all workers together, since the start."""
        now = sum(done for task, done, _, _ in self._current.values() if task is not None)
        return (self.frames + now) / max(time.monotonic() - self.began_s, 1e-9)

    def left(self) -> str:
        """Returns the time left, in words."""
        done, spent_s = self.fraction(), time.monotonic() - self.began_s
        return clock(spent_s * (1 - done) / done) if done > 0 else "?"


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
        place = f"[{self.ended_n}/{self.n}]"
        if what == "done":
            self.console.print(f"{escape(place)} {escape(result_line(task.target, fields))}")
        elif what != "failed":
            self.console.print(f"{escape(place)} {escape(str(task.target))}: {_why(what, fields)}")

    def tick(self) -> None:
        """Prints the total, at most twice per minute."""
        now = time.monotonic()
        if now - self._printed_s >= _LINE_EVERY_S:
            self._printed_s = now
            self.console.print(
                f"{self.ended_n} of {self.n} videos, {self.fraction():.0%} of the bytes, "
                f"{self.rate():.1f} frames/s, {self.left()} left"
            )


class Bars(Lines):
    """One live bar per worker, and one for the batch."""

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        super().__init__(console, tasks)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"), console=console, transient=True,
        )  # fmt: skip
        self._names = display_names((task.video for task in tasks), _NAME_WIDTH)
        self._all = self._bars.add_task("all", total=1.0, count="")
        self._bar_of: dict[int, Any] = {}  # by worker
        self._started: set[int] = set()  # workers that have had a video

    def worker(self, number: int, task: Task | None, done: int, total: int, faces: int) -> None:
        """Moves a worker's bar."""
        super().worker(number, task, done, total, faces)
        if number not in self._bar_of:
            self._bar_of[number] = self._bars.add_task("", total=None, count="")
        if task is not None:
            self._started.add(number)
        waiting = "idle" if number in self._started else "loading"
        name = waiting if task is None else self._names[task.video]
        total = 0 if task is None else total
        count = f"{done}/{total} frames  {faces} faces" if total else ""
        self._bars.update(
            self._bar_of[number], description=escape(name), total=total or None, completed=done,
            count=count,
        )  # fmt: skip

    def tick(self) -> None:
        """Moves the bar of the batch."""
        self._bars.update(
            self._all,
            completed=self.fraction(),
            count=f"{self.ended_n}/{self.n} videos  {self.rate():.1f} frames/s  {self.left()} left",
        )

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


class JsonLines(Quiet):
    """One JSON object per line on stderr, for programs."""

    def _event(self, event: str, **fields: Any) -> None:
        line = {"event": event, "time": round(time.time(), 3), **fields}
        write_json_line(line, self.console.file)

    def note(self, text: str, *, kind: str) -> None:
        """Event `hint` or `warning`."""
        self._event(kind, message=text)

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Event `done`, `failed`, `skipped` or `elsewhere`."""
        self.counts[what] += 1
        self._event(what, video=task.video, result=str(task.target), **fields)


def _why(what: str, fields: dict[str, Any]) -> str:
    """Why a video was not annotated."""
    return escape(f"kept: {fields['why']}") if what == "skipped" else "made by another run"


def reporter(console: Console, tasks: Sequence[Task], *, quiet: bool, log_json: bool) -> Quiet:
    """Returns the reporter that suits the options and the terminal."""
    if log_json:
        return JsonLines(console, tasks)
    if quiet:
        return Quiet(console, tasks)
    return Bars(console, tasks) if console.is_terminal else Lines(console, tasks)


def summary(outcome: Outcome, seconds: float, failures: str | None) -> list[Any]:
    """Builds the closing tables, for stdout."""
    frames = sum(fields["counts"]["frames_analysed"] for _, fields in outcome.done)
    faces = sum(fields["counts"]["faces"] for _, fields in outcome.done)
    file = failures or ""
    listed = file if outcome.listed else f"{file} could not be written"
    rows = [
        ["done", f"{len(outcome.done):,}", f"{frames:,} frames, {faces:,} faces"],
        ["kept", f"{len(outcome.skipped):,}", "had a result with the same settings"],
        ["by another run", f"{len(outcome.elsewhere):,}", ""],
        ["failed", f"{len(outcome.failed):,}", listed if outcome.failed else ""],
        ["not tried", f"{len(outcome.untried):,}", ""],
    ]
    kept = [row for row in rows if row[1] != "0" or row[0] in ("done", "failed")]
    parts: list[Any] = [
        title(f"Videos, in {clock(seconds)} ({frames / max(seconds, 1e-9):.1f} frames/s)"),
        table([], kept),
    ]
    if outcome.failed:
        shown = outcome.failed[:_SHOWN_FAILURES] if outcome.listed else outcome.failed
        lines = [[task.video, error["stage"], error["message"]] for task, error in shown]
        parts += [title("Failed"), table(["video", "at", "why"], lines)]
        more = len(outcome.failed) - len(lines)
        if more:
            parts.append(table([], [[f"and {more} more, see {failures}"]]))
    return parts


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
