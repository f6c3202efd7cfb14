"""failures.jsonl: the videos that failed, beside the results of the others."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

from jadfer_cli.batch.plan import Task
from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.errors import OutputError

FAILURES = "failures.jsonl"
_WAIT_S = 5.0  # for another run that changes the list
_PROBE_BYTES = 1 << 20  # a disk with less is full for videos


class Failures:
    """The list, which has one line a video, also where several runs write it.

    It is replaced as a whole, so what stood there stays if that fails; what could not be
    written is tried again with the next change.

    Args:
        file: Where it is, or None to keep none.

    Attributes:
        complete: Whether all is on disk.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._pending: dict[str, bytes] = {}  # lines by their result

    @property
    def complete(self) -> bool:
        """Whether all that was added is on disk."""
        return not self._pending

    def add(self, task: Task, error: dict[str, Any]) -> None:
        """Adds a video, in the place of what was said of it before.

        Raises:
            OutputError: The list cannot be written now.
        """
        line = {"video": task.video, "result": str(task.target), **error,
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}  # fmt: skip
        if self.file is not None:
            self._pending[_key(task.target)] = _bytes_of(line)
            self.save()

    def forget(self, tasks: Iterable[Task]) -> None:
        """Drops what was said of these videos; no list stays if that was all.

        Raises:
            OutputError: The list cannot be written.
        """
        self.save({_key(task.target) for task in tasks})

    def save(self, dropped: Set[str] = frozenset()) -> None:
        """Brings the list up to date.

        Raises:
            OutputError: It cannot be written.
        """
        file = self.file
        if file is None or not (self._pending or file.is_file()):
            return
        with explain_os_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with _alone(file.parent):
                old = file.read_bytes().splitlines() if file.is_file() else []
                gone = dropped | self._pending.keys()
                kept = [line for line in old if _result_of(line) not in gone]
                new = list(self._pending.values())
                if kept + new == old:
                    pass
                elif kept or new:
                    with atomic_write(file) as part:
                        part.write_bytes(b"".join(line + b"\n" for line in kept + new))
                else:
                    file.unlink()
        self._pending.clear()


def _key(result: str | Path) -> str:
    return os.path.abspath(result)


def _bytes_of(line: dict[str, Any]) -> bytes:
    try:
        return json.dumps(line, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a file name that is no text
        return json.dumps(line).encode()


def _result_of(line: bytes) -> str | None:
    """The result that a line is about; None for lines of somebody else."""
    try:
        return _key(json.loads(line)["result"])
    except (ValueError, TypeError, KeyError):
        return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other runs from changing the list meanwhile, where the system has such locks."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            until_s = time.monotonic() + _WAIT_S
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until_s:  # it was stopped in the middle
                        break
                    time.sleep(0.02)
        yield


def why_nothing_can_be_written(tasks: Iterable[Task]) -> OutputError | None:
    """Why no result of these tasks can be written; None if one can, or there are none.

    Some bytes are written, to a file without a name, into the folder of each.
    """
    why = None
    folders = {
        next(f for f in (task.target.parent, *task.target.parent.resolve().parents) if f.exists())
        for task in tasks
    }
    for folder in sorted(folders):
        try:
            with explain_os_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            return None
        except OutputError as error:
            why = error
    return why
