"""Small things that several stages need and no library gives as they are."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from jadfer_cli.errors import ModelError, OutputError


def file_sha256(path: Path, stop: Callable[[], bool] = lambda: False) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces.

    Args:
        path: The file.
        stop: Asked before each piece; once true, the rest is left out.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while not stop() and (piece := file.read(1 << 20)):
            digest.update(piece)
    return digest.hexdigest()


def seconds_of(text: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30.5".

    Raises:
        ValueError: It is none of these.
    """
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def claim_process() -> None:
    """Says that this process runs nothing but jadfer: a command or a worker, not a notebook.

    Users of the command cannot act on what libraries warn of among themselves.
    """
    global _own
    _own = True
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def own_process() -> bool:
    """Whether nobody else's code runs here, that may import anything at any time."""
    return _own


_own = False


@contextlib.contextmanager
def ignored_warnings() -> Iterator[None]:
    """Keeps warnings of libraries to themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries print and warn off the terminal; errors still rise."""
    with (
        ignored_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def require_opencv() -> None:
    """Checks that OpenCV can be imported, which slim servers lack libraries for.

    Raises:
        ModelError: It cannot.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"OpenCV cannot be loaded: {error}.",
            "On Debian or Ubuntu: `apt-get install libgl1 libglib2.0-0`; or replace "
            "opencv-python: pip uninstall opencv-python && pip install opencv-python-headless",
        ) from error


def cache_folder() -> Path:
    """Where this user's cache of jadfer is."""
    from platformdirs import user_cache_path

    return user_cache_path("jadfer")


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turns an OSError about `path` into an OutputError with a hint."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "The disk is full; make room or write elsewhere.",
            errno.EDQUOT: "Your disk quota is used up; make room or write elsewhere.",
            errno.EFBIG: "A limit on file sizes is set here (see `ulimit -f`).",
            errno.EACCES: "You may not write there; choose another folder.",
            errno.EPERM: "You may not write there; choose another folder.",
            errno.EROFS: "That disk is read-only; choose another folder.",
            errno.EISDIR: "That is a folder; name a file.",
            errno.ENAMETOOLONG: "Choose a shorter name.",
            errno.ENOTDIR: "A part of that path is a file, not a folder.",
        }
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"{path} cannot be written: {reason}.", hints.get(error.errno or 0)
        ) from (error)


def check_writable(out: Path) -> None:
    """Checks early that `out` can be written; writing itself may still fail.

    Raises:
        OutputError: Its folder, or the one that would hold it, is not to be written to.
    """
    with explain_os_errors(out):
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")
        folder = next(f for f in (out.parent, *out.parent.resolve().parents) if f.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a name beside `path` to write to; renamed if all went well, removed if not.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def clock(seconds: float) -> str:
    """m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
