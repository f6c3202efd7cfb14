"""A single video in a worker process, so that it can always be stopped, whatever a library does.

This process imports nothing slow: Ctrl-C takes effect at once, also while the networks load or a
decoder hangs.
"""

from __future__ import annotations

import time
from multiprocessing import connection
from typing import Any, Protocol

from jadfer_cli.batch.awake import AwakeClock
from jadfer_cli.batch.handle import GRACE_S, end_all
from jadfer_cli.batch.outcome import Reporter, VideoProgress
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.process import ProcessHandle
from jadfer_cli.batch.supervisor import LOAD_S, STOPPING, TICK_S
from jadfer_cli.batch.worker import work_single
from jadfer_cli.common import check_writable
from jadfer_cli.errors import JadferError, OptionError
from jadfer_cli.flags import worded
from jadfer_cli.options import AnnotateOptions, IfExists

_LOADING = "loading the networks"


class SingleReporter(Reporter, Protocol):
    """Displays what happens to a single video."""

    def stage(self, task: Task, text: str) -> None:
        """Shows what is done before the first frame."""


class SingleRun:
    """Annotates one video in a process of its own.

    Args:
        options: All options.
        stall_s: Longest time without progress.
        if_exists: What to do if a result exists.
        report: Displays what happens.
        debug: Let the output of libraries, and tracebacks, through.
    """

    def __init__(
        self,
        options: AnnotateOptions,
        *,
        stall_s: float,
        if_exists: IfExists,
        report: SingleReporter,
        debug: bool = False,
    ) -> None:
        self.options, self.stall_s, self.if_exists = options, stall_s, if_exists
        self.report, self.debug = report, debug
        self._loading = False
        self._hint: str | None = None
        self._warned: set[str] = set()

    def run(self, task: Task) -> None:
        """Annotates the video, or keeps its result, and reports how it ended.

        Raises:
            JadferError: The video cannot be annotated.
            KeyboardInterrupt: The run was stopped; the worker has ended.
        """
        worker = ProcessHandle(
            1, work_single, (self.options, self.if_exists, task, self.debug),
            capture=not self.debug,
        )  # fmt: skip
        worker.task = task  # until its last message: what is left of it then is removed
        clock, grace_s = AwakeClock(), 0.0  # nothing is left to clean up after its last message
        try:
            while not self._has_ended(worker, task):
                self.report.tick()
                connection.wait(worker.waitables(), TICK_S)
                worker.pass_time(clock.step())
        except KeyboardInterrupt as error:
            grace_s = GRACE_S
            self.report.note(STOPPING, kind="hint")
            worker.terminate()
            try:
                _wait_for_notes(worker, error)
            except KeyboardInterrupt:  # the user does not want to wait any longer
                grace_s = 0.0
            raise error from None
        finally:
            end_all([worker], grace_s)

    def check(self, task: Task) -> None:
        """Refuses at once what needs neither the networks nor FFmpeg.

        Raises:
            OptionError, OutputError: The result exists, or cannot be written.
            VideoError: The video is missing or unreadable, or no file.
        """
        from jadfer_cli.results.companions import companions_of
        from jadfer_cli.results.paths import result_files
        from jadfer_cli.results.targets import refuse_existing
        from jadfer_cli.video.container import check_file

        out, overwrite = task.target, self.if_exists == IfExists.OVERWRITE
        if self.if_exists != IfExists.SKIP or not out.exists():
            refuse_existing(result_files(out, companions_of(self.options)), overwrite=overwrite)
        check_writable(out)
        check_file(task.video)

    def _has_ended(self, worker: ProcessHandle, task: Task) -> bool:
        """Handles the worker's messages; returns True once the video has ended.

        Raises:
            JadferError: It failed.
        """
        alive = worker.process.is_alive()  # check first, so that final messages are still read
        for kind, fields in worker.messages():
            worker.silent_s = 0.0
            if self._handle(worker, task, kind, fields):
                return True
        if not alive:
            raise _error(
                "crash",
                f"A library crashed while {task.video} was annotated ({worker.how_it_ended()}).",
                "Memory may have run out, or the video is damaged: convert it, and try again.",
            )
        limit_s = max(self.stall_s, LOAD_S) if self._loading else self.stall_s
        if worker.silent_s > limit_s:
            worker.kill()
            raise _error(
                "hang",
                f"There was no progress on {task.video} for {limit_s:.0f} s.",
                "The decoder hangs, or the machine is very slow: see `stall`.",
            )
        return False

    def _handle(self, worker: ProcessHandle, task: Task, kind: str, fields: dict[str, Any]) -> bool:
        """Handles one message, see `worker`; returns True if it is the last one."""
        if kind == "stage":
            self._loading = fields["text"] == _LOADING
            self.report.stage(task, fields["text"])
        elif kind == "ready":
            worker.ready, self._loading, self._hint = True, False, fields["hint"]
            self._warn(task, fields["warnings"])
        elif kind == "progress":
            if self._hint:
                self.report.note(worded(self._hint, task.video, task.target), kind="hint")
                self._hint = None
            self.report.worker(1, task, VideoProgress(**fields))
        elif kind == "warning":
            self._warn(task, [fields["message"]])
        elif kind == "note":
            self.report.note(worded(fields["text"], task.video, task.target), kind="hint")
        elif kind == "failed":
            worker.task = None
            raise _error(**fields["error"])
        elif kind in ("done", "skipped"):
            self._warn(task, fields.get("warnings", []))
            worker.task = None
            self.report.ended(task, kind, fields)
            return True
        return False

    def _warn(self, task: Task, warnings: list[str]) -> None:
        for text in warnings:
            if text not in self._warned:
                self._warned.add(text)
                self.report.note(worded(text, task.video, task.target), kind="warning")


def _wait_for_notes(worker: ProcessHandle, error: KeyboardInterrupt) -> None:
    """Adds to an interruption what the worker says about going on later."""
    until_s = time.monotonic() + GRACE_S
    while worker.process.is_alive() and time.monotonic() < until_s:
        connection.wait(worker.waitables(), TICK_S)
        for kind, fields in worker.messages():
            if kind == "interrupted":
                for note in fields["notes"]:
                    error.add_note(note)
                return


def _error(stage: str, message: str, hint: str | None, exit_code: int = 1) -> JadferError:
    """The error that ended a worker; it carries the stage in which it happened."""
    kind = OptionError if exit_code == OptionError.exit_code else JadferError
    error = kind(message, hint)
    error.stage = stage  # type: ignore[attr-defined]
    return error
