"""Whether web browsers play a video file, and from which time they count."""

from __future__ import annotations

from pathlib import Path

from jadfer_cli.records import VideoInfo
from jadfer_cli.video.container import open_container

# Cautious: what most browsers are known to play, by container. Only Chromium 153 was tried, which
# plays all of it; every other video gets a copy in H.264.
_CODECS = {
    ".mp4": ("h264", "av1", "vp9"),
    ".m4v": ("h264", "av1", "vp9"),
    ".mov": ("h264",),
    ".webm": ("vp8", "vp9", "av1"),
}
_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mp4", ".webm": "webm"}
_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
MEDIA_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
}  # fmt: skip


def playback_problem(info: VideoInfo) -> str | None:
    """Return why browsers would not play a file, or not show the frames of its timeline.

    Args:
        info: The video.

    Returns:
        A clause, such as "browsers do not play mpeg2video"; None if they play it.
    """
    suffix = Path(info.path).suffix.lower()
    if suffix not in _CODECS or _CONTAINERS[suffix] not in info.container.split(","):
        return f"browsers do not play {suffix or 'files without a suffix'}"
    if info.codec not in _CODECS[suffix]:
        return f"not every browser plays {info.codec} in {suffix}"
    if info.pixel_format not in _PIXEL_FORMATS:
        return f"not every browser plays the pixel format {info.pixel_format}"
    if info.rotation_overridden:
        return "browsers would turn the picture otherwise"
    if info.n_packets != info.n_frames and suffix != ".webm":  # WebM has hidden pictures
        return "it is edited, and browsers differ in the frames they show"
    if not info.stamped:
        return "its time stamps do not say which frame is shown when"
    return None


def first_frame_s(info: VideoInfo) -> float:
    """Return when the first frame is shown by the clock of a browser.

    That clock starts with whichever of pictures and sound begins first.

    Args:
        info: The video.

    Raises:
        VideoError: The file can no longer be opened.
    """
    with open_container(info.path) as (container, _):
        earliest_s = (container.start_time or 0) / 1e6
    return max(info.start_offset_s - earliest_s, 0.0)
