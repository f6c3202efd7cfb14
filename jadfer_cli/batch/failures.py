"""failures.jsonl: the list of the videos that failed, beside the results of the others."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from jadfer_cli.batch.plan import Task
from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.errors import OutputError
from jadfer_cli.text import json_text, parsed_json

_LOCK_LIMIT_S = 5.0  # to wait for another run that is changing the list
_PROBE_BYTES = 1 << 20  # a disk with less free space counts as full


class Failures:
    """The list of failures, one line per video, even if several runs write to it.

    Each change replaces the file atomically, so earlier lines survive a failure to write. Lines
    that could not be written are retried with the next change.

    Args:
        file: The file, or None to keep no list.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._pending: dict[str, bytes] = {}  # line by its key

    @property
    def complete(self) -> bool:
        """True if everything that was added is on disk."""
        return not self._pending

    def add(self, task: Task, error: dict[str, Any]) -> None:
        """Adds a video, and replaces an earlier line about it.

        Raises:
            OutputError: The list cannot be written at the moment.
        """
        line = {"video": task.video, "result": task.target.as_posix(), **error,
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}  # fmt: skip
        if self.file is not None:
            self._pending[_key(task.target)] = json_text(line).encode()
            self.save()

    def forget(self, tasks: Iterable[Task]) -> None:
        """Removes the lines about these videos, and the file if no line is left.

        Raises:
            OutputError: The list cannot be written.
        """
        self.save({_key(task.target) for task in tasks})

    def save(self, dropped: Set[str] = frozenset()) -> None:
        """Writes pending lines and removes those whose key is in `dropped`.

        Raises:
            OutputError: It cannot be written.
        """
        file = self.file
        if file is None or not (self._pending or file.is_file()):
            return
        with explain_os_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(file.parent):
                old = file.read_bytes().splitlines() if file.is_file() else []
                obsolete = dropped | self._pending.keys()
                kept = [line for line in old if _key_of(line) not in obsolete]
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


def _key_of(line: bytes) -> str | None:
    """Returns the key of a line; None if jadfer did not write it."""
    try:
        return _key(parsed_json(line)["result"])
    except (ValueError, TypeError, KeyError):
        return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other runs from changing the list, on systems with such locks."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            until_s = time.monotonic() + _LOCK_LIMIT_S
            while not lock_descriptor(handle, blocking=False):
                if time.monotonic() > until_s:  # its owner was suspended
                    break
                time.sleep(0.02)
        yield


def why_nothing_can_be_written(tasks: Iterable[Task]) -> OutputError | None:
    """Returns why no result of these tasks can be written; None if one can, or without tasks.

    Tries it by writing some bytes to an unnamed temporary file in the folder of each task.
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
