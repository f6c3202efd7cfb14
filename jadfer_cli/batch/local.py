"""A batch on this machine: each worker is a process, supervised by its parent."""

from __future__ import annotations

from multiprocessing import connection
from typing import Any

from jadfer_cli.batch.process import ProcessHandle
from jadfer_cli.batch.supervisor import LOAD_S, TICK_S, Supervisor
from jadfer_cli.batch.worker import work
from jadfer_cli.errors import JadferError


class LocalBatch(Supervisor[ProcessHandle]):
    """Annotates many videos in worker processes; arguments as of `Supervisor`."""

    def _start_worker(self, number: int) -> ProcessHandle:
        return ProcessHandle(number, work, (self.options, self.if_exists, number, self.jobs))

    def _wait(self) -> None:
        watched: list[Any] = [one for worker in self.workers for one in worker.waitables()]
        connection.wait(watched, TICK_S)

    def _listen(self, worker: ProcessHandle) -> bool:
        alive = worker.process.is_alive()  # check first, so that final messages are still read
        for kind, fields in worker.messages():
            self._handle(worker, kind, fields)
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
        if not worker.ready and worker.silent_s > max(self.stall_s, LOAD_S):
            worker.process.kill()
            worker.load_error = JadferError(
                f"A worker did not load the networks within {worker.silent_s:.0f} s."
            )
            return False
        return not self._stalled(worker)
