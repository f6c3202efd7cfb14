"""The SHA-256 of a video, computed in a thread while the video is annotated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from jadfer_cli.common import file_sha256

_WAKE_S = 0.2


class VideoHash:
    """Hashes a file in the background; use as a context manager, which ends the thread.

    Args:
        path: The file.

    Attributes:
        warning: A sentence for the user if the file could not be read; set after `wait`.
    """

    def __init__(self, path: str) -> None:
        self.warning: str | None = None
        self._path = Path(path)
        self._sha256: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._hash, name="jadfer-hash")

    def wait(self, on_wait: Callable[[], object] = lambda: None) -> str | None:
        """Waits for the hash, which a slow disk may deliver long after the last frame.

        Args:
            on_wait: Called several times per second, so that the run does not seem to hang.

        Returns:
            The hexadecimal digest, or None if the file could not be read.
        """
        while self._thread.is_alive():
            self._thread.join(_WAKE_S)
            on_wait()
        return self._sha256

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _hash(self) -> None:
        try:
            self._sha256 = file_sha256(self._path, self._stop.is_set)
        except OSError:
            self.warning = "The video could not be read again for its sha256."
