"""What an unfinished or killed run leaves of a result, and how it is removed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from jadfer_cli.errors import BusyError
from jadfer_cli.results.companions import COMPANIONS
from jadfer_cli.results.lock import LOCK_NAME, ResultLock
from jadfer_cli.results.parquet import read_attrs, read_schema
from jadfer_cli.results.paths import companion_path, parts_folder, sidecar_describes, sidecar_path

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
            remove_companions(out)
        (parts_folder(out) / PUBLISHING_MARK).unlink()


def remove_companions(out: Path, keep: Sequence[str] = ()) -> None:
    """Remove the files beside a result; foreign files of the same names stay.

    Args:
        out: The result.
        keep: Names of the files that stay, see `companions`.
    """
    for name, companion in COMPANIONS.items():
        path = companion_path(out, name)
        if name in keep:
            continue
        if companion.described and sidecar_describes(sidecar_path(path), companion.columns[0]):
            sidecar_path(path).unlink(missing_ok=True)
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            is_ours = read_schema(path).names == companion.schema().names
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
