"""A batch on this machine: each worker is a process, which its parent watches."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from multiprocessing import connection
from typing import Any

from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.supervisor import LOAD_S, TICK_S, Crew, Worker
from jadfer_cli.batch.worker import work
from jadfer_cli.errors import JadferError
from jadfer_cli.options import AnnotateOptions, IfExists


class _Process(Worker):
    """A worker in a process of its own on this machine."""

    def __init__(
        self, number: int, options: AnnotateOptions, if_exists: IfExists, jobs: int
    ) -> None:
        super().__init__(number)
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=work,
            args=(theirs, options, if_exists, number, jobs),
            name=f"jadfer-worker-{number}",
        )
        self.process.start()
        theirs.close()

    def _send(self, task: Task) -> bool:
        try:
            self.pipe.send(task)
        except OSError:
            return False
        return True

    def how_it_ended(self) -> str:
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def dismiss(self) -> None:
        if not self.ready:  # the replacement of one that died at the last video
            self.process.terminate()
            return
        with contextlib.suppress(OSError):
            self.pipe.send(None)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def end(self, grace_s: float) -> None:
        with contextlib.suppress(OSError):
            self.pipe.close()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class Batch(Crew[_Process]):
    """Annotates many videos in worker processes; arguments as of `Crew`."""

    def _new(self, number: int) -> _Process:
        return _Process(number, self.options, self.if_exists, self.jobs)

    def _wait(self) -> None:
        watched: list[Any] = [w.pipe for w in self._workers]
        connection.wait(watched + [w.process.sentinel for w in self._workers], TICK_S)

    def _hear(self, worker: _Process) -> bool:
        alive = worker.process.is_alive()  # asked first: what it says last is heard too
        with contextlib.suppress(EOFError, OSError):
            while worker.pipe.poll():
                self._message(worker, *worker.pipe.recv())
        if not alive:
            if worker.task is not None and not worker.taken:  # it died while it waited
                self._waiting.appendleft(worker.task)
            elif worker.task is not None:
                self._lost(
                    worker, "crash", f"The worker died at this video ({worker.how_it_ended()}).",
                    "A library crashed on it, or memory ran out; convert it, or try fewer --jobs.",
                )  # fmt: skip
            return False
        silent_s = time.monotonic() - worker.heard_s
        if not worker.ready and silent_s > max(self.stall_s, LOAD_S):
            worker.process.kill()
            worker.unready = JadferError(f"A worker did not load the networks in {silent_s:.0f} s.")
            return False
        return not self._stalled(worker)
