"""Stages that run at the same time, each in a thread of its own, with bounded queues between."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
_WAKE_S = 0.1  # how often waiting threads check whether they should end


class _Stopped(Exception):
    """Ends a stage that waits for items while all stages are being stopped."""


class Stages:
    """Iterables that run ahead, each in a thread of its own.

    Use as a context manager. Leaving it stops every thread when it next takes or passes on an
    item, closes its iterable in that thread if it is a generator, and waits for all threads.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        _all.add(self)

    def ahead(
        self,
        items: Iterable[T],
        depth: int,
        name: str,
        idle: Callable[[], object] = lambda: None,
    ) -> Iterator[T]:
        """Runs an iterable in a thread, at most `depth` items ahead of its consumer.

        An exception in the thread is raised in the consumer, after the items before it.

        Args:
            items: Iterated in that thread only.
            depth: Items that may wait in the queue.
            name: Name of the thread.
            idle: Called several times per second, in the thread of the consumer, while it takes
                items or waits for them.

        Returns:
            The same items in the same order.
        """
        waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)  # (kind, value)
        # a daemon, because a generator that nobody closes must not keep the interpreter alive
        thread = threading.Thread(
            target=self._work, args=(items, waiting), name=f"jadfer-{name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()
        return self._take(waiting, idle)

    def _put(self, waiting: queue.Queue[tuple[str, Any]], kind: str, value: Any) -> bool:
        while not self._stopped.is_set():
            try:
                waiting.put((kind, value), timeout=_WAKE_S)
            except queue.Full:
                continue
            return True
        return False

    def _work(self, items: Iterable[Any], waiting: queue.Queue[tuple[str, Any]]) -> None:
        iterator: Any = None
        try:
            iterator = iter(items)
            for item in iterator:
                if not self._put(waiting, "item", item):
                    break
            else:
                self._put(waiting, "end", None)
        except BaseException as error:
            self._put(waiting, "error", error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _take(
        self, waiting: queue.Queue[tuple[str, Any]], idle: Callable[[], object]
    ) -> Iterator[Any]:
        while not self._stopped.is_set():
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
        raise _Stopped

    def close(self) -> None:
        """Stops all threads and waits for them."""
        self._stopped.set()
        for thread in self._threads:
            with contextlib.suppress(RuntimeError):  # an interrupt came before it had started
                thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_all: weakref.WeakSet[Stages] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Stops all threads: one inside a C library would crash the interpreter at shutdown."""
    for stages in list(_all):
        stages.close()
