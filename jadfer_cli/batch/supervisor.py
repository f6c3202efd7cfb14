"""Supervises a running batch: hands out videos, watches the workers, replaces those that die."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from jadfer_cli.batch.awake import AwakeClock
from jadfer_cli.batch.failures import Failures, why_nothing_can_be_written
from jadfer_cli.batch.handle import WorkerHandle, end_all
from jadfer_cli.batch.outcome import Outcome, Reporter, VideoProgress
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import JadferError, OutputError
from jadfer_cli.flags import worded
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.text import count_text

TICK_S = 0.25
STOPPING = "Stopping and cleaning up; press Ctrl-C again to stop at once."
LOAD_S = 300.0  # limit for a worker to load the networks
_MAX_LOAD_FAILURES = 3  # in a row, before the batch continues with fewer workers


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
        self._hint: str | None = None  # about the networks
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
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                self.report.note(STOPPING, kind="hint")
            for worker in self.workers:
                worker.terminate()
            raise
        finally:
            end_all(self.workers)
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
        clock = AwakeClock()
        while True:
            for worker in self.workers:
                if worker.ready and worker.task is None:
                    self._hand_out(worker)
                self.report.worker(worker.number, worker.task, worker.progress)
            if not self._unfinished():
                return
            self.report.tick()
            self._wait()
            step_s = clock.step()
            for worker in self.workers:
                worker.pass_time(step_s)
            for worker in [w for w in self.workers if not self._listen(w)]:
                if self._unfinished() or not worker.ready:
                    self.replace(worker)

    def _unfinished(self) -> bool:
        """True while a video waits, or is being annotated."""
        return bool(self._waiting or self._busy or any(w.task for w in self.workers))

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
        worker.silent_s = 0.0
        if kind == "ready":
            worker.ready = self._any_loaded = True
            self._load_failures = 0
            for text in fields["warnings"]:
                self._note(text, "warning")
            self._hint = fields["hint"]
        elif kind == "load_failed":
            error = fields["error"]
            worker.load_error = JadferError(error["message"], error["hint"])
        elif kind == "warning":
            self._note(fields["message"], "warning")
        elif kind == "note":
            self.report.note(worded(fields["text"], *_paths(worker.task)), kind="hint")
        elif kind == "received":
            worker.received = True
        elif kind == "progress":
            worker.progress = VideoProgress(**fields)
            if self._hint:  # only once a video is annotated, not if all results are kept
                self._note(self._hint, "hint")
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
        if worker.task is None or worker.silent_s <= self.stall_s:
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
            name: worded(error[name], *_paths(task))
            for name in ("message", "hint")
            if error.get(name)
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


def _paths(task: Task | None) -> tuple[str | Path, ...]:
    """The paths that a message about a video may contain."""
    return () if task is None else (task.video, task.target)
