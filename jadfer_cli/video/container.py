"""Open a file as a video: refuse what is not one, and choose its video stream.

FFmpeg opens much more than videos: text (as terminal art), pictures, playlists that refer to
other files or addresses. It also reports all failures alike. So everything that can be checked
without FFmpeg is checked here first, with a message of its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jadfer_cli.errors import VideoError

# Formats that FFmpeg reads although they are not videos: text and pictures, by their demuxer, and
# playlists or scripts, which would make FFmpeg open other files or the network.
_NOT_VIDEO = {"tty", "bin", "xbin", "adf", "idf", "lrc", "image2", "ico", "ffmetadata"}
_PLAYLISTS = {"hls", "concat", "dash", "sdp", "rtsp", "imf", "webm_dash_manifest"}
# Still pictures that accompany a song or a recording.
_STILLS = ("attached_pic", "still_image", "timed_thumbnails")
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


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
        raise VideoError(f"{path} does not exist.", "Check the spelling of the path.") from None
    except (OSError, ValueError) as error:
        raise VideoError(f"{path} cannot be opened: {error}.", "Check the path.") from None
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
        raise VideoError(f"{path} cannot be read: {error}.", "Check the disk.") from None
    return mode.st_size


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

    try:
        container = av.open(
            file_url(path), metadata_errors="replace", options={"protocol_whitelist": "file"}
        )
    except Exception as error:  # FFmpeg's errors have many types
        raise _unreadable(path, error) from None
    try:
        names = set(container.format.name.split(","))
        if names & _PLAYLISTS:
            raise VideoError(
                f"{path} is a playlist ({container.format.name}), not a video.",
                "Give the paths of the videos that it lists.",
            )
        if names & _NOT_VIDEO or container.format.name.endswith("_pipe"):
            kind = "text" if names & {"tty", "lrc", "ffmetadata"} else "a picture"
            raise VideoError(f"{path} is {kind}, not a video.", "Give video files only.")
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


def _unreadable(path: str, error: Exception) -> VideoError:
    """The error for a file that FFmpeg cannot open; its first bytes decide the message."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(16)
    except OSError:
        head = b""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if head[4:8] in _ISO_BOXES:
        return VideoError(
            f"{path} is an MP4 or MOV file without a usable index (moov): it was cut short "
            f"or damaged ({reason}).",
            "Copy it again, or repair the recording (e.g. with untrunc).",
        )
    if head[:4] in (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV\x01"):
        return VideoError(
            f"{path} starts like a video but is damaged or cut short ({reason}).", "Copy it again."
        )
    return VideoError(f"{path} is not a video ({reason}).", "Give video files only.")
