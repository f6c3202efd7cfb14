"""What an unfinished or killed run leaves of a result, and how it is removed."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pyarrow as pa

from jadfer_cli.errors import BusyError
from jadfer_cli.results.lock import LOCK_NAME, ResultLock
from jadfer_cli.results.parquet import read_attrs, read_schema
from jadfer_cli.results.paths import landmark_path, parts_folder, sidecar_path
from jadfer_cli.results.schema import landmark_schema

FIRST_PART = "000000.part"
# Present in the folder of parts while finished files are being renamed to their final names.
PUBLISHING_MARK = "publishing"


def was_publishing(out: Path) -> bool:
    """Return whether a run was killed while renaming files, or is renaming them now.

    Whatever lies beside the result then belongs to that run.
    """
    return (parts_folder(out) / PUBLISHING_MARK).exists()


def remove_leftovers(out: Path, *, parts: bool = False) -> None:
    """Remove what a killed run left of a result, unless another process is writing it.

    Args:
        out: The result.
        parts: Also remove parts from which a run could resume.
    """
    folder = parts_folder(out)
    if not folder.is_dir():
        return
    with contextlib.suppress(OSError, BusyError):
        lock = ResultLock(out)
        try:
            withdraw_published(out)
            if parts or not (folder / FIRST_PART).exists():
                clear(folder)
        finally:
            lock.release()


def withdraw_published(out: Path) -> None:
    """Remove files that a killed run published beside a result that it did not publish.

    Call it while holding the lock of the result.
    """
    if was_publishing(out):
        if not out.exists():
            sidecar_path(out).unlink(missing_ok=True)
            remove_landmarks(out)
        (parts_folder(out) / PUBLISHING_MARK).unlink()


def remove_landmarks(out: Path) -> None:
    """Remove the landmarks beside a result; a foreign file of the same name stays."""
    path = landmark_path(out)
    with contextlib.suppress(OSError, ValueError, pa.ArrowException):
        is_ours = read_schema(path).names == landmark_schema().names
        if is_ours and "jadfer" in read_attrs(path):
            path.unlink()


def clear(folder: Path) -> None:
    """Remove everything in a folder of parts except the lock file."""
    for path in folder.iterdir():
        if path.name != LOCK_NAME:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing happens if it is missing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
