"""The lock that lets one run at a time write a result."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

from jadfer_cli.common import UNSUPPORTED_ERRNOS
from jadfer_cli.errors import BusyError
from jadfer_cli.results.paths import parts_folder

LOCK_NAME = "lock"
# `is_being_written` in another process holds the lock for a moment, so try more than once.
_RETRY_WAITS_S = (0.02, 0.05, 0.1, 0.0)


class ResultLock:
    """The exclusive right to write one result, held from construction until `release`.

    The lock file is in the folder of parts, which is created if necessary. The operating system
    drops the lock when the process ends, however it ends. On a disk that cannot lock files the
    lock always succeeds; there the last run wins.

    Args:
        out: The result.

    Raises:
        BusyError: Another run holds the lock.
        OSError: The lock file cannot be created.
    """

    def __init__(self, out: Path) -> None:
        self._folder = parts_folder(out)
        self._path = self._folder / LOCK_NAME
        for wait_s in _RETRY_WAITS_S:
            self._folder.mkdir(parents=True, exist_ok=True)
            # FileNotFoundError: the last owner removed the folder meanwhile
            with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
                file: BinaryIO = stack.enter_context(open(self._path, "a+b"))
                if self._is_held_by(file):
                    stack.pop_all()
                    self._file = file
                    return
            time.sleep(wait_s)
        raise BusyError(
            f"Another run of jadfer is writing {out} now.",
            "Wait until it has finished, or write elsewhere.",
        )

    def _is_held_by(self, file: BinaryIO) -> bool:
        try:
            if not lock_descriptor(file.fileno(), blocking=False):
                return False
        except OSError as error:
            if error.errno in UNSUPPORTED_ERRNOS:
                return True
            raise
        # The last owner may have removed the file after we opened it. Our lock on the removed
        # file would not stop a run that creates it again.
        return os.path.samestat(os.fstat(file.fileno()), self._path.stat())

    def release(self) -> None:
        """End the lock, and remove the folder if it holds nothing but the lock file."""
        if os.name == "nt":  # an open file cannot be removed there
            self._file.close()
        with contextlib.suppress(OSError):
            if [path.name for path in self._folder.iterdir()] == [LOCK_NAME]:
                self._path.unlink()  # before the lock ends: after it the file may be another's
                self._folder.rmdir()
        self._file.close()


def is_being_written(out: Path) -> bool:
    """Return whether another process is writing this result now."""
    try:
        with open(parts_folder(out) / LOCK_NAME, "r+b") as file:
            return not lock_descriptor(file.fileno(), blocking=False)
    except OSError:  # no such file, or a disk that cannot lock
        return False
