"""A batch under way: workers that are handed videos, watched, and replaced where they die."""

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
from jadfer_cli.options import AnnotateOptions, IfExists

TICK_S = 0.25
LOAD_S = 300.0  # for a worker to load the networks
_GRACE_S = 10.0  # for a worker to clean up when the batch is stopped
_LOADS = 3  # workers in a row that fail to load the networks, before it goes on with fewer


class Worker(ABC):
    """Somebody who annotates one video at a time, and what is known of them.

    Attributes:
        number: From 1.
        ready: The networks are loaded.
        unready: Why they could not be.
        task: The video at hand.
        taken: The worker has heard of it.
        frames, total, faces: How far it is.
        heard_s: When the worker said something last, by the monotonic clock.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = False
        self.unready: JadferError | None = None
        self.task: Task | None = None
        self.taken = False
        self.frames = self.total = self.faces = 0
        self.heard_s = time.monotonic()

    def give(self, task: Task) -> bool:
        """Hands over a video; False if the worker died while it waited."""
        if not self._send(task):
            return False
        self.task, self.taken, self.frames, self.total, self.faces = task, False, 0, 0, 0
        self.heard_s = time.monotonic()
        return True

    @abstractmethod
    def _send(self, task: Task) -> bool: ...

    @abstractmethod
    def how_it_ended(self) -> str:
        """By which signal or exit code, in words."""

    @abstractmethod
    def dismiss(self) -> None:
        """Nothing is left to do; call `end` then."""

    @abstractmethod
    def terminate(self) -> None:
        """Asks for an end in the middle of a video, with everything cleaned up."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it at once."""

    @abstractmethod
    def end(self, grace_s: float) -> None:
        """Waits for its end, and kills it if that takes longer."""


W = TypeVar("W", bound=Worker)


class Crew(ABC, Generic[W]):
    """Annotates many videos by some workers; where these run is settled by its children.

    A worker that dies, or says nothing for `stall_s`, costs the video that it is at and is
    replaced. The batch ends early where the first worker cannot load the networks, or no
    later one, and where no result can be written any more.

    Args:
        options: Of every video.
        jobs: Workers.
        stall_s: Longest time without a frame.
        if_exists: What to do where a result exists already.
        failures: File of failures, or None.
        report: Told what happens.
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
        self.outcome = Outcome()
        self._said: set[str] = set()
        self._waiting: deque[Task] = deque()
        self._busy: deque[Task] = deque()  # another run is at them
        self._workers: list[W] = []
        self._loaded = False  # some worker did load the networks
        self._not_loaded = 0  # workers since then that did not

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """Does all tasks; returns when each is done, failed, or done by another run.

        Raises:
            JadferError: The networks cannot be loaded.
            OutputError: The list of failures of an earlier run cannot be changed.
            KeyboardInterrupt: Stopped; the workers have ended.
        """
        self.failures.forget(tasks)
        self._waiting.extend(tasks)
        try:
            for number in range(1, min(self.jobs, len(tasks)) + 1):
                self._workers.append(self._new(number))
            self._work()
            for worker in self._workers:
                worker.dismiss()
        except BaseException:
            for worker in self._workers:
                worker.terminate()
            raise
        finally:
            for worker in self._workers:
                worker.end(_GRACE_S)
        with contextlib.suppress(OutputError):
            self.failures.save()
        self.outcome.listed = self.failures.complete
        return self.outcome

    @abstractmethod
    def _new(self, number: int) -> W:
        """Another worker."""

    @abstractmethod
    def _wait(self) -> None:
        """Until a worker says something, or for a tick."""

    @abstractmethod
    def _hear(self, worker: W) -> bool:
        """Takes a worker's messages; False if it is gone or stuck."""

    def _work(self) -> None:
        """Hands out videos and watches the workers until nothing is left to do."""
        while True:
            for worker in self._workers:
                if worker.ready and worker.task is None:
                    self._hand_out(worker)
                self.report.worker(
                    worker.number, worker.task, worker.frames, worker.total, worker.faces
                )
            if not (self._waiting or self._busy or any(w.task for w in self._workers)):
                return
            self.report.tick()
            self._wait()
            for worker in [w for w in self._workers if not self._hear(w)]:
                self._replace(worker)

    def _replace(self, worker: W) -> None:
        """Puts a new worker in the place of one that is gone, or goes on with fewer.

        Raises:
            JadferError: The networks cannot be loaded.
        """
        worker.end(0)
        place = self._workers.index(worker)
        if worker.ready:
            self._workers[place] = self._new(worker.number)
            return
        self._not_loaded += 1
        why = worker.unready or JadferError(
            f"A worker died while it loaded the networks ({worker.how_it_ended()}).",
            "Try fewer --jobs; `jadfer doctor` tells what is wrong with the installation.",
        )
        if not self._loaded or (self._not_loaded >= _LOADS and len(self._workers) == 1):
            raise why
        if self._not_loaded < _LOADS:
            self._workers[place] = self._new(worker.number)
        else:
            del self._workers[place]
            self._note(f"The batch goes on with fewer workers: {why.message}", "warning")

    def _hand_out(self, worker: W) -> None:
        """The next task that nobody else is at."""
        from jadfer_cli.results.lock import is_being_written

        for queue in (self._waiting, self._busy):
            for _ in range(len(queue)):
                task = queue.popleft()
                if is_being_written(task.target):  # asked first: what ends now exists then
                    self._busy.append(task)
                elif self.if_exists == IfExists.REFUSE and os.path.exists(
                    task.target
                ):  # since the plan
                    self.outcome.elsewhere.append(task)
                    self._ended(task, "elsewhere", {})
                elif worker.give(task):
                    return
                else:
                    queue.appendleft(task)
                    return

    def _message(self, worker: W, kind: str, fields: dict[str, Any]) -> None:
        worker.heard_s = time.monotonic()
        task = worker.task
        if kind == "ready":
            worker.ready = self._loaded = True
            self._not_loaded = 0
            for text in fields["warnings"]:
                self._note(text, "warning")
            if fields["hint"]:
                self._note(fields["hint"], "hint")
        elif kind == "unready":
            error = fields["error"]
            worker.unready = JadferError(error["message"], error["hint"])
        elif kind == "warning":
            self._note(fields["message"], "warning")
        elif kind == "note":
            self.report.note(fields["text"], kind="hint")
        elif kind == "taken":
            worker.taken = True
        elif kind == "begun":
            worker.total = fields["frames"]
        elif kind == "progress":
            worker.frames, worker.faces = fields["frames"], fields["faces"]
        elif task is not None and kind == "busy":
            worker.task = None
            self._busy.append(task)
        elif task is not None and kind == "done":
            worker.task = None
            self.outcome.done.append((task, fields))
            self._ended(task, "done", fields)
        elif task is not None and kind == "skipped":
            worker.task = None
            self.outcome.skipped.append(task)
            self._ended(task, "skipped", fields)
        elif task is not None and kind == "failed":
            worker.task = None
            self._failed(task, fields["error"])

    def _note(self, text: str, kind: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.report.note(text, kind=kind)

    def _stalled(self, worker: W) -> bool:
        """Gives a worker up that says nothing at its video for too long; whether it did so."""
        if worker.task is None or time.monotonic() - worker.heard_s <= self.stall_s:
            return False
        self._lost(
            worker, "hang", f"There was no progress for {self.stall_s:.0f} s.",
            "The decoder hangs, or the machine is very slow: see --stall.",
        )  # fmt: skip
        return True

    def _lost(self, worker: W, stage: str, message: str, hint: str) -> None:
        from jadfer_cli.results.unfinished import remove_leftovers

        task = worker.task
        worker.kill()
        worker.task = None
        if task is not None:
            with contextlib.suppress(OSError):  # the folder may have become read-only
                remove_leftovers(task.target)
            self._failed(task, {"stage": stage, "message": message, "hint": hint})

    def _ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """A video has a result."""
        with contextlib.suppress(OutputError):
            self.failures.forget([task])  # another run that shares the work may have failed on it
        self.report.ended(task, what, fields)

    def _failed(self, task: Task, error: dict[str, Any]) -> None:
        self.outcome.failed.append((task, error))
        self.report.ended(task, "failed", error)
        try:
            self.failures.add(task, error)
        except OutputError as problem:
            self._note(
                f"{problem.message} What fails is listed here only, unless that changes.", "warning"
            )
        if error["stage"] == "write":
            self._stop_if_nothing_can_be_written()

    def _stop_if_nothing_can_be_written(self) -> None:
        """Gives up what waits, where a full disk would fail it all."""
        left = [*self._waiting, *self._busy]
        why = why_nothing_can_be_written(left)
        if why is not None:
            again = "" if self.if_exists == IfExists.OVERWRITE else " with --skip-existing"
            self.outcome.stopped = OutputError(
                f"{why.message} So the batch was stopped; {len(left)} videos were not tried.",
                f"{why.hint or ''} Then run the command again{again}.".strip(),
            )
            self.outcome.untried += left
            self._waiting.clear()
            self._busy.clear()
