"""Small things that several stages need and no library gives as they are."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from jadfer_cli.errors import ModelError


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries print and warn off the terminal; errors still rise."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
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
