"""Helpers shared by all stages: hashing, times as text, output control, safe writing."""

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

from jadfer_cli.errors import ModelError, OptionError, OutputError

# How network disks report that they cannot lock files, or cannot sync folders.
UNSUPPORTED_ERRNOS = frozenset(
    {
        errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF,
        errno.EACCES, errno.EPERM,
    }
)  # fmt: skip

# Windows replaces no file that a program has open.
_NO_ACCESS = (
    "Close the file if a program such as Excel has it open; otherwise choose another folder."
    if os.name == "nt"
    else "You may not write there; choose another folder."
)


def file_sha256(path: Path, stop: Callable[[], bool] = lambda: False) -> str:
    """Return the hexadecimal SHA-256 of a file, read in chunks.

    Args:
        path: The file.
        stop: Called before each chunk; once it returns True, the rest is not read and the
            result is meaningless.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while not stop() and (chunk := file.read(1 << 20)):
            digest.update(chunk)
    return digest.hexdigest()


def parse_seconds(text: str) -> float:
    """Return the seconds that "90", "1:30" or "0:01:30.5" stand for.

    Raises:
        ValueError: The text has none of these forms, such as "1:90".
    """
    first, *others = (float(part) for part in text.split(":"))
    if not all(0 <= part < 60 for part in others) or len(others) > 2:
        raise ValueError(f"{text} is not a time: minutes and seconds go from 0 to 59.")
    seconds = first
    for part in others:
        seconds = 60 * seconds + part
    return seconds


def clock(seconds: float, *, decimals: int = 0) -> str:
    """Format a time as m:ss or h:mm:ss: 12.4 becomes 0:12, 3725 becomes 1:02:05.

    Args:
        seconds: Zero or more.
        decimals: Digits after the point: with 1, 65.25 becomes 1:05.2.
    """
    units = round(seconds * 10**decimals)
    whole, fraction = divmod(units, 10**decimals)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return text + (f".{fraction:0{decimals}}" if decimals else "")


def short_time(seconds: float) -> str:
    """Format a time with a precision that suits its length: 4.96 s, 1:05.2 or 1:02:05."""
    # the limits are where rounding would reach a full minute or hour
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    return clock(seconds, decimals=1 if seconds < 3599.95 else 0)


def claim_process() -> None:
    """Declare that this process runs only jadfer: a command or a worker, not a notebook.

    Library warnings are then ignored, because users of the command cannot act on them.
    """
    global _owns_process
    _owns_process = True
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def owns_process() -> bool:
    """True if jadfer owns this process, rather than a notebook or another program."""
    return _owns_process


_owns_process = False


@contextlib.contextmanager
def ignored_warnings() -> Iterator[None]:
    """Ignore all warnings inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def suppressed_output() -> Iterator[None]:
    """Discard what libraries print or warn about inside the block; errors still propagate."""
    with (
        ignored_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def require_opencv() -> None:
    """Check that OpenCV can be imported; minimal servers lack system libraries that it needs.

    Raises:
        ModelError: The import fails.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"OpenCV cannot be loaded: {error}.",
            "On Debian or Ubuntu: `apt-get install libgl1 libglib2.0-0`; or replace "
            "opencv-python: pip uninstall opencv-python && pip install opencv-python-headless",
        ) from error


def weights_folder() -> Path:
    """Return the folder of the shipped weights: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def cache_folder() -> Path:
    """Return the folder of this user's jadfer cache, which may not exist yet."""
    from platformdirs import user_cache_path

    return user_cache_path("jadfer")


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised inside the block into an OutputError about `path`, with a hint."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "The disk is full; make room or write elsewhere.",
            errno.EDQUOT: "Your disk quota is used up; make room or write elsewhere.",
            errno.EFBIG: "A limit on file sizes is set (see `ulimit -f`).",
            errno.EACCES: _NO_ACCESS,
            errno.EPERM: _NO_ACCESS,
            errno.EROFS: "That disk is read-only; choose another folder.",
            errno.EISDIR: "That is a folder; name a file.",
            errno.ENAMETOOLONG: "Choose a shorter name.",
            errno.ENOTDIR: "A part of that path is a file, not a folder.",
        }
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"{path} cannot be written: {reason}.", hints.get(error.errno or 0)
        ) from error


def already_exists(path: Path) -> OptionError:
    """Return the error for an output file that exists, where it may be replaced if asked for."""
    return OptionError(
        f"{path} already exists.",
        "Add `if_exists='overwrite'` to replace it, or choose another `out`.",
    )


def check_writable(out: Path) -> None:
    """Check early that `out` can probably be written; the write itself may still fail.

    Raises:
        OutputError: `out` is a folder, or the nearest existing folder above it is not writable.
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
def atomic_write(
    path: Path, *, durable: bool = False, reported_as: Path | None = None
) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed on success and removed on any error.

    Missing parent folders are created.

    Args:
        path: The file to write.
        durable: Return only when the file would survive a power cut.
        reported_as: The file that an error names; `path` by default.

    Raises:
        OutputError: The file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with explain_os_errors(reported_as or path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            if durable:
                fsync_file(part)
            os.replace(part, path)
            if durable:
                fsync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def fsync_file(path: Path) -> None:
    """Make the contents of a file survive a power cut."""
    with path.open("r+b") as file:  # Windows can only flush a file that is open for writing
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut, where the system supports that."""
    if os.name == "nt":  # folders cannot be opened there
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED_ERRNOS:
            raise
