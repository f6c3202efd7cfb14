"""How long videos say they are, asked where a broken one does no harm."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

_START_S = 120.0  # for the process to begin
_LIMIT_S = 60.0  # for one video


def seconds_of_all(
    videos: Sequence[str], tell: Callable[[int], object] = lambda n: None
) -> dict[str, float]:
    """How long each video says it is, in s; 0 where that cannot be told.

    Asked in a process of its own, which is replaced where a broken file crashes or hangs it.
    """
    found: dict[str, float] = {}
    asked: _Asked | None = None
    try:
        for video in videos:
            asked = asked or _Asked()
            seconds = asked.seconds(video)
            if seconds is None:
                asked.end()
                asked = None
            found[video] = seconds or 0.0
            tell(len(found))
    finally:
        if asked is not None:
            asked.end()
    return found


class _Asked:
    """A process that opens videos."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._heard(_START_S)  # it is there

    def seconds(self, video: str) -> float | None:
        """A video's length in s; None if the process died of it, or hangs."""
        with contextlib.suppress(OSError):
            self._pipe.send(video)
        return self._heard(_LIMIT_S)

    def _heard(self, limit_s: float) -> float | None:
        with contextlib.suppress(EOFError, OSError):
            if self._pipe.poll(limit_s):
                return float(self._pipe.recv())
        return None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _answer(pipe: Connection) -> None:
    """The life of that process."""
    pipe.send(0.0)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            pipe.send(_seconds(pipe.recv()))


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
