"""Stages that work at the same time: each in a thread of its own, a bounded queue between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
_WAKE_S = 0.1


@contextmanager
def ahead(
    items: Iterable[T], depth: int, name: str, idle: Callable[[], object] = lambda: None
) -> Iterator[Iterator[T]]:
    """Lets an iterable run in a thread of its own, at most `depth` items ahead.

    What it raises is raised where its items are taken, after those that came before. Leaving
    the context stops the thread after the item that it is at, closes the iterable there if it
    is a generator, and waits for it.

    Args:
        items: Used in that thread only.
        depth: Items that may wait; then the thread waits itself.
        name: Of the thread.
        idle: Called some times a second, in the thread that takes the items, while it takes
            or waits for them.

    Yields:
        The same items in the same order.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put((kind, value), timeout=_WAKE_S)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put("item", item):
                    break
            else:
                put("end", None)
        except BaseException as error:
            put("error", error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def take() -> Iterator[T]:
        while True:
            try:
                kind, value = waiting.get(timeout=_WAKE_S)
            except queue.Empty:
                idle()
                continue
            idle()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value

    thread = threading.Thread(target=work, name=f"jadfer-{name}")
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()
