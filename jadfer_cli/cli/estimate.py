"""How fast a run is, and how long it will still take."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from jadfer_cli.batch.outcome import VideoProgress
from jadfer_cli.batch.plan import Task


class Estimate:
    """Speed and time left, since the first frame: loading the networks takes its time only once.

    Args:
        tasks: The plan; the time left is estimated from the sizes of its files, without those
            whose results were kept.

    Attributes:
        n: Number of videos.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.n = len(tasks)
        self._bytes = {task: _size(task.video) for task in tasks}
        self._left_bytes = self._all_bytes = sum(self._bytes.values())
        self._done_bytes = 0.0  # of videos annotated by this run
        self._frames = 0  # of videos that have ended
        self._running: dict[int, tuple[Task | None, VideoProgress]] = {}
        self._first: dict[Task, int] = {}  # frames that an earlier run had analysed
        self._began_s: float | None = None

    def worker(self, number: int, task: Task | None, progress: VideoProgress) -> None:
        """Takes note of how far a worker is."""
        self._running[number] = (task, progress)
        if task is None or not progress.total:
            return
        if self._began_s is None:
            self._began_s = time.monotonic()
        if progress.stage == "resuming":
            self._first[task] = progress.frames
        self._first.setdefault(task, progress.frames)

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Takes note of the end of a video."""
        self._left_bytes -= self._bytes.get(task, 0)
        if what == "done":
            n_frames = fields["counts"]["frames_analysed"]
            self._frames += n_frames - self._first.get(task, 0)
            share = 1 - self._first.get(task, 0) / max(n_frames, 1)
            self._done_bytes += self._bytes.get(task, 0) * share
        self._running = {k: v for k, v in self._running.items() if v[0] != task}

    def frames_per_s(self) -> float:
        """Frames per second of all workers together."""
        if self._began_s is None:
            return 0.0
        frames = self._frames + sum(
            progress.frames - self._first.get(task, 0)
            for task, progress in self._running.values()
            if task is not None
        )
        return max(frames, 0) / max(time.monotonic() - self._began_s, 1e-9)

    def fraction(self) -> float:
        """The fraction of the files' bytes that is done, 0 to 1."""
        left = self._left_bytes - self._running_bytes(from_start=True)
        return min(max(1 - left / max(self._all_bytes, 1), 0.0), 1.0)

    def left_s(self) -> float | None:
        """Seconds left; None if that is still unknown."""
        done = self._done_bytes + self._running_bytes(from_start=False)
        if self._began_s is None or done <= 0:
            return None
        left = max(self._left_bytes - self._running_bytes(from_start=True), 0.0)
        return (time.monotonic() - self._began_s) * left / done

    def _running_bytes(self, *, from_start: bool) -> float:
        """Bytes of the running videos that are done, by this run or since their start."""
        return sum(
            self._bytes.get(task, 0)
            * (progress.frames - (0 if from_start else self._first.get(task, 0)))
            / progress.total
            for task, progress in self._running.values()
            if task is not None and progress.total
        )


def _size(path: str) -> int:
    try:
        return max(os.path.getsize(path), 1)
    except OSError:
        return 0
