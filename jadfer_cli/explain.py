"""What an exception means for a user: the one place where any error gets a message and a hint."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from jadfer_cli.common import explain_os_errors
from jadfer_cli.errors import JadferError, OutputError
from jadfer_cli.runtime import gpu_memory_exhausted

# A file that is only read can cause none of these.
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# How PyTorch, ONNX Runtime and the shared memory of worker processes report exhausted memory.
_NO_MEMORY = (
    "out of memory", "can't allocate memory", "Failed to allocate memory", "bad allocation",
    "bad_alloc", "Bus error", "shared memory (shm)",
)  # fmt: skip


def explain(
    error: BaseException, report: str = "run the command again with `debug`"
) -> JadferError:
    """Turns any exception into an error with a message and a hint.

    Args:
        error: What was raised.
        report: How to get the traceback of an unexpected error, as an imperative.

    Returns:
        The same object if it is a JadferError already.
    """
    if isinstance(error, JadferError):
        return error
    if "torch" in sys.modules and gpu_memory_exhausted(error):
        return JadferError(
            "The GPU's memory is exhausted.",
            "Try a smaller `batch_size`, fewer `jobs`, or `device` cpu.",
        )
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return JadferError(
            "The machine ran out of memory.",
            "Try a smaller `batch_size` or fewer `jobs`; in training also `workers` 0.",
        )
    if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
        try:
            with explain_os_errors(Path(error.filename or "A file")):
                raise error
        except OutputError as explained:
            return explained
    if isinstance(error, PermissionError):
        return JadferError(
            f"{error.filename or 'A file'} cannot be accessed: permission denied.",
            "Check who may read and write there.",
        )
    return JadferError(
        f"Something unexpected went wrong: {type(error).__name__}: {error}",
        f"This is a bug in jadfer; {report} and report what it prints.",
    )
