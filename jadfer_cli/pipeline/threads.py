"""Stages that work at the same time: each in a thread of its own, a bounded queue between."""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
_WAKE_S = 0.1


class _Left(Exception):
    """Ends a stage that waits for items when all stages end."""


class Stages:
    """Some iterables, each running ahead in a thread of its own.

    Use as a context manager: leaving it stops every thread where it next takes or gives an item,
    closes its iterable there if that is a generator, and waits for all.
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
        """Lets an iterable run in a thread, at most `depth` items ahead of who takes them.

        What it raises is raised where its items are taken, after those that came before.

        Args:
            items: Used in that thread only.
            depth: Items that may wait; then the thread waits itself.
            name: Of the thread.
            idle: Called some times a second, in the thread that takes the items, while it takes
                or waits for them.

        Returns:
            The same items in the same order.
        """
        waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        # a daemon: a generator that nobody closes must not keep the interpreter from its end
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
        raise _Left

    def close(self) -> None:
        """Ends all threads and waits for them."""
        self._stopped.set()
        for thread in self._threads:
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
    """Threads that are still in a library when the interpreter is taken down would crash it."""
    for stages in list(_all):
        stages.close()
