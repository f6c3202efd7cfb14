"""Signals that end the program, raised as exceptions so that everything is cleaned up."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


class Stopped(KeyboardInterrupt):
    """A signal that ends the program: it cleans up and exits with 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


_signals: list[int] = []


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    _signals.append(number)
    raise Stopped(number)


def install() -> None:
    """Lets SIGINT, SIGTERM and SIGHUP raise `Stopped`; what the parent had ignored stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _on_signal)


def raise_if_stopped() -> None:
    """Raises the exception of a signal once more, for loops to call.

    Python drops it where a destructor or a callback from C happens to run.
    """
    if _signals:
        raise Stopped(_signals[0])
