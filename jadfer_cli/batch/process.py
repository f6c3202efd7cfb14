"""A worker in a process of its own on this machine, as its parent sees it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from jadfer_cli.batch.handle import WorkerHandle
from jadfer_cli.batch.plan import Task
from jadfer_cli.stopping import ignored_by_children

_KEPT_LINES = 20  # of what the libraries in a worker print


class ProcessHandle(WorkerHandle):
    """A worker process, the pipe for its messages, and what its libraries print.

    The libraries print through C and C++, where nothing can be redirected one by one: decord and
    ONNX Runtime warn on stderr, InsightFace on stdout. So all output of the process goes into a
    pipe. It would otherwise tear the bars, and break the lines of --log-json, as it still can on
    Windows, where a pipe is no file descriptor.

    Args:
        number: From 1.
        target: Runs in the process, with the other end of the pipe and `arguments`.
        arguments: Must be picklable.
        capture: False to let the output through.

    Attributes:
        pipe: For messages.
        process: The process.
        printed: The last lines that it has printed.
    """

    def __init__(
        self,
        number: int,
        target: Callable[..., object],
        arguments: tuple[Any, ...],
        *,
        capture: bool = True,
    ) -> None:
        super().__init__(number)
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._output: Connection | None = None
        writable: Connection | None = None
        if capture and os.name != "nt":
            self._output, writable = context.Pipe(duplex=False)
        self.printed: deque[str] = deque(maxlen=_KEPT_LINES)
        self._unfinished_line = b""
        self.process = context.Process(
            target=_run,
            args=(target, theirs, writable, arguments),
            name=f"jadfer-worker-{number}",
        )
        with ignored_by_children():
            self.process.start()
        theirs.close()
        if writable is not None:
            writable.close()

    def waitables(self) -> list[Any]:
        """What to wait for until something happens in the process."""
        output = [] if self._output is None else [self._output]
        return [self.pipe, self.process.sentinel, *output]

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields what the process has sent, and reads what it has printed."""
        self._read_output()
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                yield self.pipe.recv()

    def _read_output(self) -> None:
        while self._output is not None:
            with contextlib.suppress(OSError):
                if not self._output.poll():
                    return
                if data := os.read(self._output.fileno(), 1 << 16):
                    *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
                    self.printed.extend(line.decode("utf-8", "replace") for line in lines if line)
                    self._unfinished_line = self._unfinished_line[-1000:]
                    continue
            self._output.close()
            self._output = None

    def is_suspended(self) -> bool:
        """Returns True if the process is stopped, as by SIGSTOP; known on Linux only."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_bytes()
        except OSError:
            return False
        return stat.rpartition(b")")[2].split()[0] in (b"T", b"t")

    def _send(self, task: Task) -> bool:
        try:
            self.pipe.send(task)
        except OSError:
            return False
        return True

    def how_it_ended(self) -> str:
        """Names the signal or exit code, and the last line that the process printed."""
        code = self.process.exitcode or 0
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{ended}; last output: {self.printed[-1]}" if self.printed else ended

    def dismiss(self) -> None:
        """Lets the process end by itself, or ends it while it still loads."""
        if not self.ready:  # it replaces one that died at the last video
            self.process.terminate()
            return
        with contextlib.suppress(OSError):
            self.pipe.send(None)

    def terminate(self) -> None:
        """Sends SIGTERM, after which the worker cleans up; one that still loads is killed."""
        if self.ready:
            self.process.terminate()
        else:
            self.process.kill()

    def kill(self) -> None:
        """Sends SIGKILL and waits."""
        self.process.kill()
        self.process.join()

    def end(self, grace_s: float) -> None:
        """Closes the pipes, waits for the process, and kills it after `grace_s`.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        """
        with contextlib.suppress(OSError):
            self.pipe.close()
        if self._output is not None:
            self._output.close()
            self._output = None
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _run(
    target: Callable[..., object],
    pipe: Connection,
    output: Connection | None,
    arguments: tuple[Any, ...],
) -> None:
    """Runs in the process: sends its output into the pipe, then does its work."""
    if output is not None:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        output.close()
    target(pipe, *arguments)
