"""Displays the progress of one video: a live bar, or plain lines in a log."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from jadfer_cli.batch.outcome import VideoProgress
from jadfer_cli.batch.plan import Task
from jadfer_cli.cli.estimate import Estimate
from jadfer_cli.cli.json_log import JsonLog
from jadfer_cli.common import clock
from jadfer_cli.results.paths import display_names
from jadfer_cli.text import count_text

# Plain lines are at least this far apart, so that the log of a night stays readable.
_LINE_EVERY_S = 10.0
_WIDE = 110  # columns from which on the bar has room for frames and face rows
NAME_COLUMNS = 22


class Silent(AbstractContextManager["Silent"]):
    """Shows only warnings (`--quiet`); the base of the others."""

    def __init__(self, console: Console, task: Task) -> None:
        self.console, self.video = console, task.video
        self.estimate = Estimate([task])

    def stage(self, task: Task, text: str) -> None:
        """Shows what is done before the first frame."""

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Shows how far the video is."""

    def note(self, text: str, *, kind: str) -> None:
        """Prints a warning; kind is "hint" or "warning"."""
        if kind == "warning":
            self.console.print(f"Warning: {escape(text)}")

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Shows how the video ended."""

    def tick(self) -> None:
        """Called several times per second."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Lines(Silent):
    """Plain lines, for logs and pipes."""

    def __init__(self, console: Console, task: Task) -> None:
        super().__init__(console, task)
        self._printed_s = time.monotonic()
        self._annotating = False

    def stage(self, task: Task, text: str) -> None:
        """Prints the stage."""
        self.console.print(f"{escape(self.video)}: {text}")
        self._printed_s = time.monotonic()

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Prints a line from time to time, and after the last frame."""
        self.estimate.worker(number, task, progress)
        if not self._annotating and progress.stage == "annotating":
            self._annotating = True
            self.stage(Task(self.video, Path()), "annotating")
        now, (done, total) = time.monotonic(), (progress.frames, progress.total)
        last = done >= total and progress.stage == "annotating"
        if now - self._printed_s < _LINE_EVERY_S and not last:
            return
        self._printed_s = now
        left_s = self.estimate.left_s()
        left = "" if left_s is None else f", {clock(left_s)} left"
        self.console.print(
            f"{escape(self.video)}: {progress.stage}, {done}/{total} frames ({done / total:.0%}), "
            f"{self.estimate.frames_per_s():.1f} frames/s, {count_text(progress.faces, 'face row')}"
            f"{left}"
        )

    def note(self, text: str, *, kind: str) -> None:
        """Prints a hint or a warning."""
        self.console.print(f"{kind.capitalize()}: {escape(text)}")

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Prints the result; an error is printed by the command."""
        if what != "failed":
            self.console.print(escape(ended_line(task, what, fields)))


class Bar(Lines):
    """A live bar: name, percentage, rate, faces now, time left; it fits into 80 columns."""

    def __init__(self, console: Console, task: Task) -> None:
        super().__init__(console, task)
        self._bar = Progress(
            TextColumn(escape(display_names([task.video], NAME_COLUMNS)[task.video]), style="bold"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, text="starting")

    def stage(self, task: Task, text: str) -> None:
        """Shows the stage without a count."""
        self._bar.update(self._task, text=text)

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Moves the bar."""
        self.estimate.worker(number, task, progress)
        parts = [percentage(progress)]
        if progress.stage != "annotating":
            parts.append(progress.stage)
        else:
            parts.append(f"{self.estimate.frames_per_s():.1f} frames/s")
            parts.append(f"{count_text(progress.faces_now, 'face')} now")
            if self.console.width >= _WIDE:
                parts.append(f"{progress.frames}/{progress.total} frames")
                parts.append(count_text(progress.faces, "face row"))
            left_s = self.estimate.left_s()
            parts += [] if left_s is None else [f"{clock(left_s)} left"]
        self._bar.update(
            self._task, total=progress.total, completed=progress.frames, text="  ".join(parts)
        )

    def note(self, text: str, *, kind: str) -> None:
        """Prints a hint or a warning above the bar."""
        style = "yellow" if kind == "warning" else "cyan"
        self._bar.console.print(f"[{style}]{kind.capitalize()}:[/] {escape(text)}")

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Prints the result."""
        if what != "failed":
            self._bar.console.print(f"[green]✓[/] {escape(ended_line(task, what, fields))}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


def reporter(console: Console, task: Task, *, quiet: bool, log_json: bool) -> Silent | JsonLog:
    """Returns the reporter that suits the options and the terminal."""
    if log_json:
        return JsonLog(sys.stderr, [task])
    if quiet:
        return Silent(console, task)
    return Bar(console, task) if console.is_terminal else Lines(console, task)


def percentage(progress: VideoProgress) -> str:
    """How much of a video is done, in per cent; 100 % only once everything is."""
    return f"{100 * progress.frames // max(progress.total, 1):3d}%"


def ended_line(task: Task, what: str, fields: dict[str, Any]) -> str:
    """How a video ended, in one line, unless it failed."""
    if what == "done":
        return result_line(task.target, fields)
    if what == "skipped":
        return f"{task.target} is kept: {fields['why']}."
    return f"{task.target} was made by another run."


def result_line(target: Path, metadata: dict[str, Any]) -> str:
    """Summarises one result in one line.

    Args:
        target: The result file.
        metadata: Its metadata; `counts` and `wall_s` suffice.
    """
    counts = metadata["counts"]
    frames, faces = counts["frames_analysed"], counts["faces"]
    with_face = frames - counts["frames_without_face"]
    found = (
        f"faces in {with_face} of {frames} frames, {count_text(counts['tracks'], 'track')}, "
        f"{counts['faces_usable'] / faces:.0%} usable"
        if faces
        else f"no face in {count_text(frames, 'frame')}"
    )
    return f"{target}: {found}; {frames / max(metadata['wall_s'], 1e-9):.1f} frames/s"
