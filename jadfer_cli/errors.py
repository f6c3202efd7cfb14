"""Every error that jadfer raises on purpose.

    JadferError                 something the user can act on; has a message and a hint
    ├── OptionError             an option makes no sense, or would replace an older result
    ├── VideoError              the input cannot be read as a video
    ├── ModelError              weights or a detector are missing, damaged or unsuitable
    ├── DeviceError             the device or precision asked for is not available here
    ├── ResultError             a result cannot be read, or is not one
    ├── TrainingError           a data set or a training run cannot be used
    │   └── SplitMissing        a data set has no such split
    └── OutputError             the result cannot be written
        └── BusyError           another run is writing it

The command line turns these into one message and an exit code, in
`jadfer_cli.cli.console.errors_as_exit_codes`: 2 for an OptionError (nothing was tried), 1 for
the others.
"""

from __future__ import annotations


class JadferError(Exception):
    """An error with a message that says what is wrong and a hint that says what to do.

    Attributes:
        message: What is wrong, and with which file or option. One sentence.
        hint: What to do about it; may be None.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class OptionError(JadferError):
    """An option, or a combination of options, makes no sense."""

    exit_code = 2


class VideoError(JadferError):
    """The input is missing, unreadable, or holds no video."""


class ModelError(JadferError):
    """Weights or a detector are missing, damaged or unsuitable."""


class DeviceError(JadferError):
    """The device or precision asked for is not available on this machine."""


class ResultError(JadferError):
    """A result is missing or damaged, or the file is none."""


class TrainingError(JadferError):
    """A data set of labelled faces, or a training run, cannot be used."""


class SplitMissing(TrainingError):
    """The data set has no such split."""


class OutputError(JadferError):
    """The result cannot be written where it was asked for."""


class BusyError(OutputError):
    """Another run is writing the result at this moment."""
