"""What unexpected exceptions mean for a user."""

import errno

import pytest

from jadfer_cli.errors import JadferError, OutputError, VideoError
from jadfer_cli.explain import explain


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(errno.ENOSPC, "No space", "out/a.csv"), OutputError,
         "out/a.csv cannot be written: No space left on device."),
        # it may have been read only, so nothing is said of writing
        (PermissionError(errno.EACCES, "Permission denied", "labels.csv"), JadferError,
         "labels.csv cannot be accessed: permission denied."),
        (MemoryError(), JadferError, "The machine ran out of memory."),
        (RuntimeError("std::bad_alloc"), JadferError, "The machine ran out of memory."),
        (KeyError("x"), JadferError, "Something unexpected went wrong: KeyError: 'x'"),
    ],
)  # fmt: skip
def test_an_exception_becomes_a_message(error, kind, message):
    explained = explain(error)
    assert type(explained) is kind and explained.message == message
    assert explained.hint


def test_an_error_of_jadfer_stays_itself():
    error = VideoError("a.mp4 is empty.")
    assert explain(error) is error
