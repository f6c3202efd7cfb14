"""Every error that jadfer raises on purpose.

    JadferError                 a problem that the user can act on; has a message and a hint
    ├── OptionError             an option is invalid, or would replace an existing result
    ├── VideoError              the input cannot be read as a video
    ├── ModelError              weights or a detector are missing, damaged or unsuitable
    ├── DeviceError             the requested device or precision is not available
    ├── ResultError             a file is missing, damaged, or not a result of jadfer
    │   └── DamagedResult       a result has rows or metadata that jadfer never writes
    ├── CodesError              codes of human coders cannot be read, or do not fit the results
    ├── TrainingError           a data set or a training run cannot be used
    │   └── SplitMissing        a data set lacks the requested split
    └── OutputError             the result cannot be written
        └── BusyError           another run is writing it now

`jadfer_cli.cli.console.errors_as_exit_codes` turns each into one message and an exit code: 2 for
an OptionError, which is raised before any work begins, and 1 for the others.
"""

from __future__ import annotations


class JadferError(Exception):
    """An error with a message that says what is wrong, and a hint that says what to do about it.

    Attributes:
        message: One sentence: what is wrong, with which file or option.
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
    """An option or a combination of options is invalid."""

    exit_code = 2


class VideoError(JadferError):
    """The input is missing, unreadable, or contains no video."""


class ModelError(JadferError):
    """Weights or a detector are missing, damaged or unsuitable."""


class DeviceError(JadferError):
    """The requested device or precision is not available on this machine."""


class ResultError(JadferError):
    """A result is missing or damaged, or the file is not a result of jadfer."""


class DamagedResult(ResultError):
    """A result was changed or damaged: its rows or its metadata cannot be right."""


class CodesError(JadferError):
    """Codes of human coders cannot be read, or do not fit the results."""


class TrainingError(JadferError):
    """A data set of labelled faces, or a training run, cannot be used."""


class SplitMissing(TrainingError):
    """The data set lacks the requested split."""


class OutputError(JadferError):
    """The result cannot be written to the requested place."""


class BusyError(OutputError):
    """Another run is writing the result now."""
