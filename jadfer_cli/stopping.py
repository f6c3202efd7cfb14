"""Raises signals that end the program as exceptions, so that everything is cleaned up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class Stopped(KeyboardInterrupt):
    """A signal that ends the program: clean up, then exit with 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


_signals: list[int] = []


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    _signals.append(number)
    raise Stopped(number)


def install() -> None:
    """Makes SIGINT, SIGTERM and SIGHUP raise `Stopped`, except those the parent ignores.

    Windows has no SIGHUP; there, SIGBREAK is Ctrl-Break and the closing of the window.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _on_signal)


@contextlib.contextmanager
def ignored_by_children() -> Iterator[None]:
    """Lets processes that start meanwhile ignore Ctrl-C, which reaches all; their parent decides.

    Without it, one that is still starting would print a traceback. A process inherits blocked
    signals; the parent gets a Ctrl-C of these few milliseconds afterwards. Windows can only
    ignore it, in the parent as well.
    """
    if hasattr(signal, "pthread_sigmask"):
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return
    if threading.current_thread() is not threading.main_thread():  # cannot change it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def raise_if_stopped() -> None:
    """Raises the exception of an earlier signal again; to be called in loops.

    Python discards an exception raised while a destructor or a C callback is running.
    """
    if _signals:
        raise Stopped(_signals[0])
