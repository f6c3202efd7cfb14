"""Open a file as a video: refuse what is not one, and choose its video stream.

FFmpeg opens much more than videos, and reports all failures alike. So everything that can be
checked without FFmpeg is checked first, with a message of its own; `kinds` decides what a file is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jadfer_cli.errors import VideoError
from jadfer_cli.video import kinds
from jadfer_cli.video.edits import refuse_long_edit_list

# Still pictures that accompany a song or a recording.
_STILLS = ("attached_pic", "still_image", "timed_thumbnails")


def check_file(path: str) -> int:
    """Check everything about a video file that does not require parsing it.

    Args:
        path: The file.

    Returns:
        Its size in bytes.

    Raises:
        VideoError: It is missing, a folder, a special file, empty or unreadable.
    """
    try:
        mode = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise VideoError(
                f"{path} is a symbolic link to {os.readlink(path)}, which does not exist.",
                "Connect the disk that it points to, or correct the link.",
            ) from None
        raise VideoError(f"{path} does not exist.", "Check the spelling of the path.") from None
    except (OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be opened: {_reason(error)}.", "Check the path.") from None
    if stat.S_ISDIR(mode.st_mode):
        raise VideoError(
            f"{path} is a folder, not a video.",
            "Give the path of a video; `jadfer annotate` also accepts folders.",
        )
    if not stat.S_ISREG(mode.st_mode):
        # The timeline is read before the frames are decoded, and a pipe cannot be read twice.
        raise VideoError(
            f"{path} is a device or a pipe, not a file.", "Save the video to a file first."
        )
    if mode.st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes).", "Copy it again, or record it again.")
    try:
        with Path(path).open("rb"):
            pass
    except PermissionError:
        raise VideoError(
            f"{path} cannot be read: permission denied.", "Grant yourself read access to it."
        ) from None
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {_reason(error)}.", "Check the disk.") from None
    return mode.st_size


def _reason(error: Exception) -> str:
    """What went wrong, without the path, which Python adds to its messages."""
    return getattr(error, "strerror", None) or str(error)


def file_url(path: str) -> str:
    """The path as a URL, so that FFmpeg does not mistake "12:30.mp4" for a protocol."""
    return "file:" + os.path.abspath(path)


@contextmanager
def open_container(path: str) -> Iterator[tuple[Any, Any]]:
    """Open a checked file with PyAV.

    Args:
        path: The file.

    Yields:
        The container and its video stream.

    Raises:
        VideoError: It is not a video, was cut short, or has no video stream.
    """
    import av

    head = kinds.read_head(path)
    kinds.refuse_text(path, head)
    demuxer = kinds.demuxer_of(head)
    if demuxer == "mov":
        refuse_long_edit_list(path)
    try:
        container = av.open(
            file_url(path), format=demuxer, metadata_errors="replace",
            options={"protocol_whitelist": "file", "format_whitelist": kinds.DEMUXERS},
        )  # fmt: skip
    except Exception as error:  # FFmpeg's errors have many types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise kinds.unreadable(path, head, reason) from None
    try:
        yield container, choose_stream(container, path)
    finally:
        container.close()


def choose_stream(container: Any, path: str) -> Any:
    """Choose the video stream: the best one by FFmpeg's rule, but never a cover picture.

    Args:
        container: An open PyAV container.
        path: The file, for messages.

    Raises:
        VideoError: There is no video stream, or FFmpeg has no decoder for it.
    """
    moving = [s for s in container.streams.video if not _is_still(s)]
    if not moving:
        sound = any(s.type == "audio" for s in container.streams)
        # FFmpeg mistakes some text files for audio, so the message does not claim it is audio.
        what = f"; FFmpeg reads it as audio ({container.format.name})" if sound else ""
        raise VideoError(f"{path} has no video stream{what}.", "Give a file with video.")
    best = container.streams.best("video")
    stream = next((s for s in moving if best is not None and s.index == best.index), moving[0])
    if stream.codec_context is None:
        raise VideoError(
            f"{path} uses a video codec that this FFmpeg cannot decode.",
            "Convert it, e.g. `ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4`.",
        )
    return stream


def _is_still(stream: Any) -> bool:
    """True if the stream is a cover or thumbnail."""
    from av.stream import Disposition

    return any(stream.disposition & getattr(Disposition, name) for name in _STILLS)
