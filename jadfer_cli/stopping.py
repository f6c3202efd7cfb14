"""Raises signals that end the program as exceptions, so that everything is cleaned up."""

from __future__ import annotations

import signal
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
    """Makes SIGINT, SIGTERM and SIGHUP raise `Stopped`, except those the parent ignores."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _on_signal)


def raise_if_stopped() -> None:
    """Raises the exception of an earlier signal again; to be called in loops.

    Python discards an exception raised while a destructor or a C callback is running.
    """
    if _signals:
        raise Stopped(_signals[0])
