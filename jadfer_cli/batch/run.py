"""A batch under way: workers that are handed videos, watched, and replaced where they die."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.worker import work
from jadfer_cli.errors import JadferError, OutputError
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.runtime import usable_cores

FAILURES = "failures.jsonl"
_TICK_S = 0.25
_LOAD_S = 300.0  # for a worker to load the networks
_GRACE_S = 10.0  # for a worker to clean up when the batch is stopped


@dataclass
class Outcome:
    """What came of a batch; lists in the order of their ends."""

    done: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    failed: list[tuple[Task, dict[str, Any]]] = field(default_factory=list)
    skipped: list[Task] = field(default_factory=list)  # had a result of the same settings
    elsewhere: list[Task] = field(default_factory=list)  # another run did them meanwhile


class Reporter(Protocol):
    """How a batch tells what it does."""

    def note(self, text: str, *, kind: str) -> None:
        """Something the user should read; kind is "hint" or "warning"."""

    def worker(self, number: int, task: Task | None, done: int, total: int, faces: int) -> None:
        """What a worker is at; no task while it loads or waits."""

    def ended(self, task: Task, what: str, fields: dict[str, Any]) -> None:
        """A video is done with: "done", "failed", "skipped" or "elsewhere"."""

    def tick(self) -> None:
        """Called several times a second."""


class _Worker:
    """A process and what is known of it."""

    def __init__(self, number: int, options: AnnotateOptions, existing: str) -> None:
        self.number = number
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, options, existing), name=f"jadfer-worker-{number}"
        )
        self.process.start()
        theirs.close()
        self.ready = False
        self.task: Task | None = None
        self.frames = self.total = self.faces = 0
        self.heard_s = time.monotonic()

    def give(self, task: Task) -> None:
        self.task, self.frames, self.total, self.faces = task, 0, 0, 0
        self.heard_s = time.monotonic()
        self.pipe.send(task)

    def end(self, grace_s: float) -> None:
        """Waits for the process to end, and ends it if that takes longer."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class Batch:
    """Annotates many videos in worker processes.

    A worker that dies, or says nothing for `stall_s`, costs the video that it is at and is
    replaced. One that cannot load the networks ends the batch.

    Args:
        options: Of every video.
        jobs: Workers.
        stall_s: Longest time without a frame.
        existing: What to do where a result exists: "refuse", "skip" or "overwrite".
        failures: File of failures, or None.
        report: Told what happens.
    """

    def __init__(
        self,
        options: AnnotateOptions,
        *,
        jobs: int,
        stall_s: float,
        existing: str,
        failures: Path | None,
        report: Reporter,
    ) -> None:
        self.options, self.jobs, self.stall_s = options, jobs, stall_s
        self.existing, self.failures, self.report = existing, failures, report
        self.outcome = Outcome()
        self._said: set[str] = set()
        self._busy: deque[Task] = deque()  # another run is at them

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """Does all tasks; returns when each is done, failed or done by another run.

        Raises:
            JadferError: The networks cannot be loaded.
            KeyboardInterrupt: Stopped; the workers have ended.
        """
        forget_failures(self.failures, tasks)
        waiting = deque(tasks)
        busy_elsewhere = self._busy = deque[Task]()
        workers: list[_Worker] = []
        numbers = range(1, min(self.jobs, len(tasks)) + 1)
        try:
            workers += [self._new(number) for number in numbers]
            while True:
                for worker in workers:
                    if worker.ready and worker.task is None:
                        self._hand_out(worker, waiting, busy_elsewhere)
                    self.report.worker(
                        worker.number, worker.task, worker.frames, worker.total, worker.faces
                    )
                if not (waiting or busy_elsewhere or any(w.task for w in workers)):
                    break
                self.report.tick()
                watched: list[Any] = [w.pipe for w in workers] + [
                    w.process.sentinel for w in workers
                ]
                connection.wait(watched, _TICK_S)
                for i, worker in enumerate(workers):
                    if self._hear(worker):
                        continue
                    worker.end(0)
                    workers[i] = self._new(worker.number)
            for worker in workers:
                with contextlib.suppress(OSError):
                    worker.pipe.send(None)
        except BaseException:
            for worker in workers:
                worker.process.terminate()  # it cleans up
            raise
        finally:
            for worker in workers:
                worker.end(_GRACE_S)
        return self.outcome

    def _new(self, number: int) -> _Worker:
        """A worker with its share of the machine."""
        model = self.options.model
        if model.threads is None and self.jobs > 1:
            model = dataclasses.replace(model, threads=max(usable_cores() // self.jobs, 1))
        if model.device == "auto" and self.jobs > 1 and (n := _n_gpus()) > 1:
            model = dataclasses.replace(model, device=f"cuda:{(number - 1) % n}")
        options = dataclasses.replace(self.options, model=model)
        return _Worker(number, options, self.existing)

    def _hand_out(self, worker: _Worker, waiting: deque[Task], busy_elsewhere: deque[Task]) -> None:
        """The next task that nobody else is at."""
        from jadfer_cli.results.parts import is_being_written

        for queue in (waiting, busy_elsewhere):
            for _ in range(len(queue)):
                task = queue.popleft()
                if is_being_written(task.target):  # asked first: what ends now exists then
                    busy_elsewhere.append(task)
                elif self.existing == "refuse" and task.target.exists():  # since the plan
                    self.outcome.elsewhere.append(task)
                    self.report.ended(task, "elsewhere", {})
                else:
                    worker.give(task)
                    return

    def _hear(self, worker: _Worker) -> bool:
        """Takes a worker's messages; False if it is gone or stuck."""
        with contextlib.suppress(EOFError, OSError):
            while worker.pipe.poll():
                self._message(worker, *worker.pipe.recv())
        if not worker.process.is_alive():
            code = worker.process.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            if worker.task is None and not worker.ready:
                raise JadferError(
                    f"A worker died while it loaded the networks ({how}).",
                    "`jadfer doctor` tells what is wrong with the installation.",
                )
            if worker.task is not None:
                self._lost(
                    worker, "crash", f"The worker died at this video ({how}).",
                    "A library crashed on it, or memory ran out; convert it, or try fewer --jobs.",
                )  # fmt: skip
            return False
        silent_s = time.monotonic() - worker.heard_s
        if not worker.ready and silent_s > max(self.stall_s, _LOAD_S):
            raise JadferError(f"A worker did not load the networks in {silent_s:.0f} s.")
        if worker.task is not None and silent_s > self.stall_s:
            self._lost(
                worker, "hang", f"There was no progress for {self.stall_s:.0f} s.",
                "The decoder hangs, or the machine is very slow: see --stall.",
            )  # fmt: skip
            return False
        return True

    def _message(self, worker: _Worker, kind: str, fields: dict[str, Any]) -> None:
        worker.heard_s = time.monotonic()
        task = worker.task
        if kind == "ready":
            worker.ready = True
            for text in fields["warnings"]:
                self._note(text, "warning")
            if fields["hint"]:
                self._note(fields["hint"], "hint")
        elif kind == "unready":
            error = fields["error"]
            raise JadferError(error["message"], error["hint"])
        elif kind == "begun":
            worker.total = fields["frames"]
        elif kind == "progress":
            worker.frames, worker.faces = fields["frames"], fields["faces"]
        elif kind == "note":
            self.report.note(fields["text"], kind="hint")
        elif task is not None and kind == "done":
            worker.task = None
            self.outcome.done.append((task, fields))
            self.report.ended(task, "done", fields)
        elif task is not None and kind == "skipped":
            worker.task = None
            self.outcome.skipped.append(task)
            self.report.ended(task, "skipped", fields)
        elif task is not None and kind == "busy":
            worker.task = None
            self._busy.append(task)
        elif task is not None and kind == "failed":
            worker.task = None
            self._failed(task, fields["error"])

    def _note(self, text: str, kind: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.report.note(text, kind=kind)

    def _lost(self, worker: _Worker, stage: str, message: str, hint: str) -> None:
        from jadfer_cli.results.parts import remove_leftovers

        task, worker.task = worker.task, None
        worker.process.kill()
        worker.process.join()
        if task is not None:
            remove_leftovers(task.target)
            self._failed(task, {"stage": stage, "message": message, "hint": hint})

    def _failed(self, task: Task, error: dict[str, Any]) -> None:
        self.outcome.failed.append((task, error))
        add_failure(self.failures, task, error)
        self.report.ended(task, "failed", error)


def _n_gpus() -> int:
    import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def add_failure(file: Path | None, task: Task, error: dict[str, Any]) -> None:
    """Adds a line to failures.jsonl."""
    if file is None:
        return
    line = {"video": task.video, "result": str(task.target), **error,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}  # fmt: skip
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:  # one write: whole lines of several runs
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error_:
        raise OutputError(f"{file} cannot be written ({error_.strerror}).") from error_


def forget_failures(file: Path | None, tasks: Sequence[Task]) -> None:
    """Drops what an earlier run said of these videos."""
    if file is None or not file.is_file():
        return
    ours = {str(task.target) for task in tasks}
    kept = []
    for line in file.read_text("utf-8").splitlines():
        try:
            if json.loads(line).get("result") in ours:
                continue
        except (ValueError, AttributeError):
            pass
        kept.append(line)
    if kept:
        part = file.with_name(file.name + f".{os.getpid()}")
        part.write_text("\n".join(kept) + "\n", "utf-8")
        os.replace(part, file)
    else:
        file.unlink()


def seconds_of_all(
    videos: Sequence[str], tell: Callable[[int], object] = lambda n: None
) -> dict[str, float]:
    """How long each video says it is, in s; 0 where that cannot be told.

    Asked in a process of its own, as opening a broken file can crash one.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    found: dict[str, float] = {}
    pool = ProcessPoolExecutor(1, context)
    try:
        for video in videos:
            try:
                found[video] = pool.submit(_seconds, video).result()
            except BrokenProcessPool:
                found[video] = 0.0
                pool = ProcessPoolExecutor(1, context)
            tell(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _seconds(video: str) -> float:
    from jadfer_cli.video.container import check_file, open_container

    try:
        check_file(video)
        with open_container(video) as (container, stream):
            if container.duration:
                return float(container.duration) / 1e6
            return float((stream.duration or 0) * (stream.time_base or 0))
    except Exception:
        return 0.0
