"""A worker as its supervisor sees it, wherever it runs, and how several of them are ended."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from jadfer_cli.batch.outcome import IDLE
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import JadferError
from jadfer_cli.results.paths import parts_folder

GRACE_S = 10.0  # limit for all workers to clean up when a run is stopped


class WorkerHandle(ABC):
    """A worker as its supervisor sees it: it annotates one video at a time.

    Attributes:
        number: From 1.
        ready: True once the networks are loaded.
        load_error: Why they could not be loaded.
        task: The current video.
        received: True once the worker has confirmed that it has the task.
        progress: How far the current video is.
        silent_s: Time since its last message, without the time for which it was stopped.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False
        self.load_error: JadferError | None = None
        self.task: Task | None = None
        self.received = False
        self.progress = IDLE
        self.silent_s = 0.0

    def give(self, task: Task) -> bool:
        """Hands over a video; returns False if the worker died while it waited."""
        if not self._send(task):
            return False
        self.task, self.received, self.progress = task, False, IDLE
        self.silent_s = 0.0
        return True

    def pass_time(self, step_s: float) -> None:
        """Adds to the time without a message, unless the worker cannot send any."""
        if not self.is_suspended():
            self.silent_s += step_s

    def is_suspended(self) -> bool:
        """Returns True if the worker's process is known to be stopped."""
        return False

    @abstractmethod
    def _send(self, task: Task) -> bool: ...

    @abstractmethod
    def how_it_ended(self) -> str:
        """Names the signal or exit code."""

    @abstractmethod
    def dismiss(self) -> None:
        """Tells the worker that nothing is left to do; `end` follows."""

    @abstractmethod
    def terminate(self) -> None:
        """Asks the worker to stop in the middle of a video and clean up."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the worker at once."""

    @abstractmethod
    def end(self, grace_s: float) -> None:
        """Waits until the worker has ended, and kills it after `grace_s`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile; call it again with 0.
        """


def end_all(workers: Sequence[WorkerHandle], grace_s: float = GRACE_S) -> None:
    """Waits for all workers together, then removes what they left of unfinished results.

    Those that still run after `grace_s`, or when Ctrl-C is pressed again, are killed.
    """
    until_s = time.monotonic() + grace_s
    for worker in workers:
        try:
            worker.end(max(until_s - time.monotonic(), 0))
        except KeyboardInterrupt:  # the user does not want to wait any longer
            until_s = 0.0
            worker.end(0)
    for worker in workers:
        if worker.task is not None and parts_folder(worker.task.target).is_dir():
            from jadfer_cli.results.unfinished import remove_leftovers

            with contextlib.suppress(OSError):  # the folder may have become read-only
                remove_leftovers(worker.task.target)
