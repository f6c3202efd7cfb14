"""`--log-json`: one JSON object per line on stderr, the same for one video and for many.

Every line has `log_version`, `event` and `time` (seconds since 1970), and the fields in `EVENTS`.
A change of a field's name, type or meaning raises `LOG_VERSION`; new events and fields do not.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TextIO

import typer

from jadfer_cli._version import __version__
from jadfer_cli.batch.outcome import IDLE, VideoProgress
from jadfer_cli.batch.plan import Task
from jadfer_cli.cli.estimate import Estimate
from jadfer_cli.errors import JadferError
from jadfer_cli.flags import worded
from jadfer_cli.text import json_for, json_text

LOG_VERSION = 1
PROGRESS_EVERY_S = 5.0
# Fields of each event, in the order in which the guide explains them.
EVENTS: dict[str, tuple[str, ...]] = {
    "start": ("jadfer_version", "videos"),
    "hint": ("message",),
    "warning": ("message",),
    "progress": ("videos", "ended", "frames_per_s", "seconds_left", "running"),
    "result": ("video", "result", "status", "counts", "wall_s", "warnings"),
    "failure": ("video", "result", "stage", "message", "hint"),
    "summary": (
        "status", "videos", "done", "kept", "elsewhere", "failed", "not_tried", "frames", "faces",
        "wall_s",
    ),
    "error": ("message", "hint", "exit_code"),
}  # fmt: skip
RUNNING = ("video", "stage", "frames", "frames_total", "faces", "faces_now")  # of one video
STATUSES = {"done": "done", "skipped": "kept", "elsewhere": "elsewhere"}


def write_event(file: TextIO, event: str, **fields: Any) -> None:
    """Writes one line."""
    line = {"log_version": LOG_VERSION, "event": event, "time": round(time.time(), 3), **fields}
    file.write(json_for(file, json_text(line)) + "\n")
    file.flush()


def write_error(error: JadferError, exit_code: int) -> None:
    """Writes why the run as a whole ended; the last line of its log."""
    write_event(
        sys.stderr,
        "error",
        message=worded(error.message, *sys.argv),
        hint=error.hint and worded(error.hint, *sys.argv),
        exit_code=exit_code,
    )


class JsonLog(AbstractContextManager["JsonLog"]):
    """Reports a run as JSON lines.

    Args:
        file: Where they go.
        tasks: The plan.

    Attributes:
        stopped: Set to True if the run gave up on the remaining videos.
    """

    def __init__(self, file: TextIO, tasks: Sequence[Task]) -> None:
        self._file = file
        self._estimate = Estimate(tasks)
        self._running: dict[int, tuple[Task | None, VideoProgress]] = {}
        self._counts: Counter[str] = Counter()
        self._frames = self._faces = 0
        self._began_s = time.monotonic()
        self._printed_s = float("-inf")
        self._reported: set[str] = set()  # videos with a line about their progress
        self.stopped = False

    def __enter__(self) -> Self:
        """Event `start`."""
        write_event(self._file, "start", jadfer_version=__version__, videos=self._estimate.n)
        return self

    def note(self, text: str, *, kind: str) -> None:
        """Event `hint` or `warning`."""
        write_event(self._file, kind, message=text)

    def stage(self, task: Task, text: str) -> None:
        """Shown by the next event `progress`."""
        self.worker(1, task, VideoProgress(text))

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Event `progress` when a video begins; later `tick` repeats it."""
        self._running[number] = (task, progress)
        self._estimate.worker(number, task, progress)
        if task is not None and progress.total and task.video not in self._reported:
            self._reported.add(task.video)
            self._write_progress()

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Event `result` or `failure`."""
        self._estimate.ended(task, what, fields)
        self._counts[what] += 1
        names = {"video": task.video, "result": str(task.target)}
        if what == "failed":
            error = {name: fields.get(name) for name in ("stage", "message", "hint")}
            error |= {
                name: worded(text, task.video, task.target) for name, text in error.items() if text
            }
            write_event(self._file, "failure", **names, **error)
            return
        counts = fields.get("counts")
        if counts:
            self._frames += counts["frames_analysed"]
            self._faces += counts["faces"]
        warnings = [worded(text, task.video, task.target) for text in fields.get("warnings", [])]
        write_event(
            self._file, "result", **names, status=STATUSES[what], counts=counts,
            wall_s=fields.get("wall_s"), warnings=warnings,
        )  # fmt: skip

    def tick(self) -> None:
        """Event `progress`, every 5 s."""
        if time.monotonic() - self._printed_s >= PROGRESS_EVERY_S:
            self._write_progress()

    def _write_progress(self) -> None:
        self._printed_s = time.monotonic()
        left_s = self._estimate.left_s()
        running = [
            dict(zip(RUNNING, (task.video, at.stage, at.frames, at.total, at.faces, at.faces_now),
                     strict=True))
            for task, at in self._running.values()
            if task is not None and at != IDLE
        ]  # fmt: skip
        write_event(
            self._file, "progress", videos=self._estimate.n, ended=sum(self._counts.values()),
            frames_per_s=round(self._estimate.frames_per_s(), 2),
            seconds_left=None if left_s is None else round(left_s, 1), running=running,
        )  # fmt: skip

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Event `summary`."""
        status = "stopped" if self.stopped else "finished"
        if isinstance(error, KeyboardInterrupt):
            status = "interrupted"
        counts, n = self._counts, self._estimate.n
        if status == "finished" and error is not None and not isinstance(error, typer.Exit):
            # the error of a single video is its failure
            status = "stopped" if sum(counts.values()) < n else status
        write_event(
            self._file, "summary", status=status, videos=n, done=counts["done"],
            kept=counts["skipped"], elsewhere=counts["elsewhere"], failed=counts["failed"],
            not_tried=n - sum(counts.values()), frames=self._frames, faces=self._faces,
            wall_s=round(time.monotonic() - self._began_s, 3),
        )  # fmt: skip
