"""Measures how long videos are, in a separate process, where a broken file can do no harm."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from jadfer_cli.batch.awake import AwakeClock
from jadfer_cli.stopping import ignored_by_children

_POLL_S = 0.25
_START_LIMIT_S = 120.0  # for the process to start
_VIDEO_LIMIT_S = 60.0  # for one video


def measure_durations(
    videos: Sequence[str], on_measured: Callable[[int], object] = lambda n: None
) -> dict[str, float]:
    """Reads the duration of each video from its container, in seconds; 0 where it is unknown.

    A separate process does it, and is replaced if a broken file crashes it or makes it hang.

    Args:
        videos: Paths.
        on_measured: Called after each video with the number measured so far.
    """
    found: dict[str, float] = {}
    process: _MeasuringProcess | None = None
    try:
        for video in videos:
            process = process or _MeasuringProcess()
            seconds = process.measure(video)
            if seconds is None:
                process.end()
                process = None
            found[video] = seconds or 0.0
            on_measured(len(found))
    finally:
        if process is not None:
            process.end()
    return found


class _MeasuringProcess:
    """A process that opens videos and answers with their durations."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with ignored_by_children():
            self._process.start()
        theirs.close()
        self._receive(_START_LIMIT_S)  # its first message says that it has started

    def measure(self, video: str) -> float | None:
        """Returns a video's duration in seconds; None if the process died or hangs."""
        with contextlib.suppress(OSError):
            self._pipe.send(video)
        return self._receive(_VIDEO_LIMIT_S)

    def _receive(self, limit_s: float) -> float | None:
        clock, waited_s = AwakeClock(), 0.0
        with contextlib.suppress(EOFError, OSError):
            # while this process is stopped, the other one is, too
            while waited_s < limit_s:
                if self._pipe.poll(_POLL_S):
                    return float(self._pipe.recv())
                waited_s += clock.step()
        return None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection) -> None:
    """Answers until the pipe is closed; runs in the separate process."""
    pipe.send(0.0)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            pipe.send(_duration_s(pipe.recv()))


def _duration_s(video: str) -> float:
    from jadfer_cli.video.container import check_file, open_container

    try:
        check_file(video)
        with open_container(video) as (container, stream):
            if container.duration:
                return float(container.duration) / 1e6
            return float((stream.duration or 0) * (stream.time_base or 0))
    except Exception:
        return 0.0
