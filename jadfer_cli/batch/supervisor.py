"""Supervises a running batch: hands out videos, watches the workers, replaces those that die."""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from jadfer_cli.batch.failures import Failures, why_nothing_can_be_written
from jadfer_cli.batch.outcome import Outcome, Reporter
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import JadferError, OutputError
from jadfer_cli.flags import worded
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.text import count_text

TICK_S = 0.25
LOAD_S = 300.0  # limit for a worker to load the networks
_GRACE_S = 10.0  # limit for a worker to clean up when the batch is stopped
_MAX_LOAD_FAILURES = 3  # in a row, before the batch continues with fewer workers


class WorkerHandle(ABC):
    """A worker as its supervisor sees it: it annotates one video at a time.

    Attributes:
        number: From 1.
        ready: True once the networks are loaded.
        load_error: Why they could not be loaded.
        task: The current video.
        received: True once the worker has confirmed that it has the task.
        frames, total, faces: Progress of the current video.
        last_message_s: When the worker last sent a message, by the monotonic clock.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False
        self.load_error: JadferError | None = None
        self.task: Task | None = None
        self.received = False
        self.frames = self.total = self.faces = 0
        self.last_message_s = time.monotonic()

    def give(self, task: Task) -> bool:
        """Hands over a video; returns False if the worker died while it waited."""
        if not self._send(task):
            return False
        self.task, self.received, self.frames, self.total, self.faces = task, False, 0, 0, 0
        self.last_message_s = time.monotonic()
        return True

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
        """Waits until the worker has ended, and kills it after `grace_s`."""


W = TypeVar("W", bound=WorkerHandle)


class Supervisor(ABC, Generic[W]):
    """Annotates many videos with several workers; subclasses decide where these run.

    A worker that dies, or sends nothing for `stall_s`, costs its current video and is replaced.
    The batch ends early if the first worker cannot load the networks, if no later one can, or if
    no result can be written any more.

    Args:
        options: Options for every video.
        jobs: Number of workers.
        stall_s: Longest time without progress on a video.
        if_exists: What to do if a result exists.
        failures: The list of failures, or None to keep none.
        report: Displays what happens.

    Attributes:
        workers: The handles of the current workers.
        outcome: How the videos ended so far.
    """

    def __init__(
        self,
        options: AnnotateOptions,
        *,
        jobs: int,
        stall_s: float,
        if_exists: IfExists,
        failures: Path | None,
        report: Reporter,
    ) -> None:
        self.options, self.jobs, self.stall_s = options, jobs, stall_s
        self.if_exists, self.failures, self.report = if_exists, Failures(failures), report
        self.workers: list[W] = []
        self.outcome = Outcome()
        self._noted: set[str] = set()
        self._waiting: deque[Task] = deque()
        self._busy: deque[Task] = deque()  # another run is working on them
        self._any_loaded = False  # at least one worker has loaded the networks
        self._load_failures = 0  # in a row since then

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """Runs all tasks; returns when each is done, failed, or done by another run.

        Raises:
            JadferError: The networks cannot be loaded.
            OutputError: The list of failures of an earlier run cannot be changed.
            KeyboardInterrupt: The batch was stopped; all workers have ended.
        """
        self.failures.forget(tasks)
        self._waiting.extend(tasks)
        try:
            for number in range(1, min(self.jobs, len(tasks)) + 1):
                self.workers.append(self._start_worker(number))
            self._supervise()
            for worker in self.workers:
                worker.dismiss()
        except BaseException:
            for worker in self.workers:
                worker.terminate()
            raise
        finally:
            for worker in self.workers:
                worker.end(_GRACE_S)
        with contextlib.suppress(OutputError):
            self.failures.save()
        self.outcome.listed = self.failures.complete
        return self.outcome

    @abstractmethod
    def _start_worker(self, number: int) -> W:
        """Starts one more worker."""

    @abstractmethod
    def _wait(self) -> None:
        """Waits until a worker sends something, at most for a tick."""

    @abstractmethod
    def _listen(self, worker: W) -> bool:
        """Handles a worker's messages; returns False if it is dead or stuck."""

    def _supervise(self) -> None:
        """Hands out videos and watches the workers until nothing is left to do."""
        while True:
            for worker in self.workers:
                if worker.ready and worker.task is None:
                    self._hand_out(worker)
                self.report.worker(
                    worker.number, worker.task, worker.frames, worker.total, worker.faces
                )
            if not (self._waiting or self._busy or any(w.task for w in self.workers)):
                return
            self.report.tick()
            self._wait()
            for worker in [w for w in self.workers if not self._listen(w)]:
                self.replace(worker)

    def replace(self, worker: W) -> None:
        """Replaces a worker that has died, or continues with fewer.

        Raises:
            JadferError: The networks cannot be loaded.
        """
        worker.end(0)
        place = self.workers.index(worker)
        if worker.ready:
            self.workers[place] = self._start_worker(worker.number)
            return
        self._load_failures += 1
        why = worker.load_error or JadferError(
            f"A worker died while loading the networks ({worker.how_it_ended()}).",
            "Try fewer `jobs`; `jadfer doctor` finds faults of the installation.",
        )
        many = self._load_failures >= _MAX_LOAD_FAILURES
        if not self._any_loaded or (many and len(self.workers) == 1):
            raise why
        if many:
            del self.workers[place]
            self._note(f"The batch continues with fewer workers: {why.message}", "warning")
        else:
            self.workers[place] = self._start_worker(worker.number)

    def _hand_out(self, worker: W) -> None:
        """Gives a worker the next task that no other run is working on."""
        from jadfer_cli.results.lock import is_being_written

        for queue in (self._waiting, self._busy):
            for _ in range(len(queue)):
                task = queue.popleft()
                # Lock before file: a run that just released the lock has written its result.
                if is_being_written(task.target):
                    self._busy.append(task)
                elif self.if_exists == IfExists.REFUSE and os.path.exists(task.target):
                    # it did not exist when the batch was planned
                    self.outcome.elsewhere.append(task)
                    self._ended(task, "elsewhere", {})
                elif worker.give(task):
                    return
                else:
                    queue.appendleft(task)
                    return

    def _handle(self, worker: W, kind: str, fields: dict[str, Any]) -> None:
        """Handles one message; `worker` lists the kinds."""
        worker.last_message_s = time.monotonic()
        if kind == "ready":
            worker.ready = self._any_loaded = True
            self._load_failures = 0
            for text in fields["warnings"]:
                self._note(text, "warning")
            if fields["hint"]:
                self._note(fields["hint"], "hint")
        elif kind == "load_failed":
            error = fields["error"]
            worker.load_error = JadferError(error["message"], error["hint"])
        elif kind == "warning":
            self._note(fields["message"], "warning")
        elif kind == "note":
            self.report.note(worded(fields["text"]), kind="hint")
        elif kind == "received":
            worker.received = True
        elif kind == "progress":
            worker.frames, worker.total = fields["frames"], fields["total"]
            worker.faces = fields["faces"]
        elif worker.task is not None and kind in ("busy", "done", "skipped", "failed"):
            task, worker.task = worker.task, None
            self._handle_end(task, kind, fields)

    def _handle_end(self, task: Task, kind: str, fields: dict[str, Any]) -> None:
        """Records the outcome of a video as its worker reports it."""
        if kind == "busy":
            self._busy.append(task)
        elif kind == "failed":
            self._failed(task, fields["error"])
        else:
            if kind == "done":
                self.outcome.done.append((task, fields))
            else:
                self.outcome.skipped.append(task)
            self._ended(task, kind, fields)

    def _note(self, text: str, kind: str) -> None:
        """Shows a message once, however many workers send it."""
        if text not in self._noted:
            self._noted.add(text)
            self.report.note(worded(text), kind=kind)

    def _stalled(self, worker: W) -> bool:
        """Gives up on a worker without progress for too long; returns whether it did."""
        if worker.task is None or time.monotonic() - worker.last_message_s <= self.stall_s:
            return False
        self._give_up(
            worker, "hang", f"There was no progress for {self.stall_s:.0f} s.",
            "The decoder hangs, or the machine is very slow: see `stall`.",
        )  # fmt: skip
        return True

    def _give_up(self, worker: W, stage: str, message: str, hint: str) -> None:
        """Kills a worker and records its current video as failed."""
        from jadfer_cli.results.unfinished import remove_leftovers

        task = worker.task
        worker.kill()
        worker.task = None
        if task is not None:
            with contextlib.suppress(OSError):  # the folder may have become read-only
                remove_leftovers(task.target)
            self._failed(task, {"stage": stage, "message": message, "hint": hint})

    def _ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """Records that a video has a result."""
        with contextlib.suppress(OutputError):
            # another run that shares the work may have listed it as failed
            self.failures.forget([task])
        self.report.ended(task, what, fields)

    def _failed(self, task: Task, error: dict[str, Any]) -> None:
        """Records a failure, in the list too, and stops the batch if nothing can be written."""
        error = error | {
            name: worded(error[name]) for name in ("message", "hint") if error.get(name)
        }
        self.outcome.failed.append((task, error))
        self.report.ended(task, "failed", error)
        try:
            self.failures.add(task, error)
        except OutputError as problem:
            self._note(
                f"{problem.message} Unless that changes, failures are listed here only.", "warning"
            )
        if error["stage"] == "write":
            self._stop_if_nothing_can_be_written()

    def _stop_if_nothing_can_be_written(self) -> None:
        """Gives up on the remaining videos if all would fail, e.g. because the disk is full."""
        left = [*self._waiting, *self._busy]
        why = why_nothing_can_be_written(left)
        if why is not None:
            again = "" if self.if_exists == IfExists.OVERWRITE else " with `if_exists='skip'`"
            self.outcome.stopped = OutputError(
                f"{why.message} So the batch was stopped; "
                f"{count_text(len(left), 'video')} "
                f"{'was' if len(left) == 1 else 'were'} not tried.",
                f"{why.hint or ''} Then run the command again{again}.".strip(),
            )
            self.outcome.untried += left
            self._waiting.clear()
            self._busy.clear()
