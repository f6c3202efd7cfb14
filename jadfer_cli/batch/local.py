"""A batch on this machine: each worker is a process, supervised by its parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from multiprocessing import connection
from typing import Any

from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.supervisor import LOAD_S, TICK_S, Supervisor, WorkerHandle
from jadfer_cli.batch.worker import work
from jadfer_cli.errors import JadferError
from jadfer_cli.options import AnnotateOptions, IfExists


class ProcessHandle(WorkerHandle):
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
        """Names the signal or exit code."""
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def dismiss(self) -> None:
        """Lets the process end by itself, or ends it while it still loads."""
        if not self.ready:  # it replaces one that died at the last video
            self.process.terminate()
            return
        with contextlib.suppress(OSError):
            self.pipe.send(None)

    def terminate(self) -> None:
        """Sends SIGTERM, after which the worker cleans up."""
        self.process.terminate()

    def kill(self) -> None:
        """Sends SIGKILL and waits."""
        self.process.kill()
        self.process.join()

    def end(self, grace_s: float) -> None:
        """Closes the pipe, waits for the process, and kills it after `grace_s`."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


class LocalBatch(Supervisor[ProcessHandle]):
    """Annotates many videos in worker processes; arguments as of `Supervisor`."""

    def _start_worker(self, number: int) -> ProcessHandle:
        return ProcessHandle(number, self.options, self.if_exists, self.jobs)

    def _wait(self) -> None:
        watched: list[Any] = [w.pipe for w in self.workers]
        connection.wait(watched + [w.process.sentinel for w in self.workers], TICK_S)

    def _listen(self, worker: ProcessHandle) -> bool:
        alive = worker.process.is_alive()  # check first, so that final messages are still read
        with contextlib.suppress(EOFError, OSError):
            while worker.pipe.poll():
                self._handle(worker, *worker.pipe.recv())
        if not alive:
            if worker.task is not None and not worker.received:  # it died while it waited
                self._waiting.appendleft(worker.task)
            elif worker.task is not None:
                self._give_up(
                    worker, "crash",
                    f"The worker died while annotating this video ({worker.how_it_ended()}).",
                    "A library crashed or memory ran out. Convert the video, or try fewer `jobs`.",
                )  # fmt: skip
            return False
        silent_s = time.monotonic() - worker.last_message_s
        if not worker.ready and silent_s > max(self.stall_s, LOAD_S):
            worker.process.kill()
            worker.load_error = JadferError(
                f"A worker did not load the networks within {silent_s:.0f} s."
            )
            return False
        return not self._stalled(worker)
