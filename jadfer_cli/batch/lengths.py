"""How long videos say they are, asked where a broken one does no harm."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence


def seconds_of_all(
    videos: Sequence[str], tell: Callable[[int], object] = lambda n: None
) -> dict[str, float]:
    """How long each video says it is, in s; 0 where that cannot be told.

    Asked in a process of its own, as opening a broken file can crash one.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    found: dict[str, float] = {}
    pool = ProcessPoolExecutor(1, context)
    try:
        for video in videos:
            try:
                found[video] = pool.submit(_seconds, video).result()
            except BrokenProcessPool:
                found[video] = 0.0
                pool = ProcessPoolExecutor(1, context)
            tell(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


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
