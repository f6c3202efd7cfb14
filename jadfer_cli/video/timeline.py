"""Read the time of every shown frame from the container, and select the frames to analyse.

Times are never index / fps: phones record at variable rates, editors cut with edit lists, and
recordings start late. The container's presentation time stamps are the truth. They are read
without decoding, except for one picture, which is needed for the rotation.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import VideoError
from jadfer_cli.options import VideoOptions
from jadfer_cli.records import TimeArray, VideoInfo
from jadfer_cli.text import count_text
from jadfer_cli.video.bitstream import PacketInspector
from jadfer_cli.video.container import check_file, open_container
from jadfer_cli.video.kinds import format_name
from jadfer_cli.video.rotation import displayed_rotation

Int64Array = npt.NDArray[np.int64]

_NO_STAMP = -(2**63)  # FFmpeg's AV_NOPTS_VALUE
_RATE_FALLBACK = 25.0  # FFmpeg's assumption for streams without a rate
# Packets of an intact file add up to less than the file. Edit lists and indexes may repeat them, as
# loops do; damaged ones make hours of frames from one second of video.
_MAX_REPEATS = 20


@dataclass
class _Scan:
    """The result of one pass over the packets; 24 bytes per shown frame."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    duration: array[int] = field(default_factory=lambda: array("q"))
    n_packets: int = 0
    picture: Any = None  # the first one that decodes
    error: str = ""  # of the demuxer, if it stopped before the end


def probe(path: str) -> VideoInfo:
    """Read a video's properties, and the time of every frame it shows.

    Packets that an edit list discards, and hidden reference pictures, are not shown. If time
    stamps are missing, or are in decoding order as in AVI, they do not say which picture is shown
    when. The times are still right, but are assigned to pictures by order alone, and
    `VideoInfo.stamped` is False. Memory: about 50 bytes per frame.

    Args:
        path: The file.

    Returns:
        The video's properties and timeline.

    Raises:
        VideoError: The file is missing or unreadable, contains no decodable video, or repeats its
            frames without end.
    """
    size = check_file(path)
    with open_container(path) as (container, stream):
        scan = _scan(container, stream, path, size)
        picture = _require_picture(scan, path, stream.codec_context.name)
        rate = float(stream.average_rate or stream.guessed_rate or 0.0)
        tick_s = float(stream.time_base)
        pts, stamped = _stamps(scan, stream, tick_s, rate)
        # Without reliable time stamps it is unknown which packet is shown last, and for how long.
        last_stated = scan.duration[int(np.argmax(scan.pts))] if stamped else 0
        rotation, as_stated, warnings = displayed_rotation(picture)
        width, height = picture.width, picture.height
        if rotation in (90, 270):
            width, height = height, width
        return VideoInfo(
            path=path,
            container=format_name(container),
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=picture.format.name,
            width_px=width,
            height_px=height,
            rotation_deg=rotation,
            time_s=(pts - pts[0]) * tick_s,
            duration_s=_durations(pts, last_stated, tick_s, rate),
            pts=pts,
            time_base_s=tick_s,
            start_offset_s=float(pts[0]) * tick_s,
            n_packets=scan.n_packets,
            nominal_fps=rate,
            file_bytes=size,
            warnings=tuple(
                warnings + _oddities(scan, stream, format_name(container), pts, stamped)
            ),
            stamped=stamped,
            rotation_overridden=not as_stated,
        )


def _scan(container: Any, stream: Any, path: str, size: int) -> _Scan:
    """Read the packets of the stream, decoding only until the first picture comes out.

    Args:
        container: An open PyAV container.
        stream: Its video stream.
        path: The file, for messages.
        size: Of the file, bytes.

    Raises:
        VideoError: Frames are repeated without end.
    """
    scan, n_bytes = _Scan(), 0
    inspector = PacketInspector(
        stream.codec_context.codec.canonical_name, stream.codec_context.extradata
    )
    stream.thread_type = "NONE"
    packets = container.demux(stream)
    undecoded: list[Any] = []
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except Exception as error:  # a damaged container; keep what was read so far
            scan.error = getattr(error, "strerror", None) or str(error)
            break
        is_end = packet.size == 0 and packet.pts is None and packet.dts is None
        if scan.picture is None and (packet.size or is_end):
            # A packet that is not shown is decoded only if one after it may depend on it: an
            # edit list can contain thousands of them, and no frame.
            undecoded = [] if packet.is_keyframe else undecoded
            undecoded.append(packet)
            if is_end or not packet.is_discard:
                scan.picture = next(
                    filter(None, (_first_picture(stream, p) for p in undecoded)), None
                )
                undecoded = []
        if is_end:
            break
        scan.n_packets += 1
        n_bytes += packet.size
        if n_bytes > size * _MAX_REPEATS:
            raise VideoError(
                f"{path} shows the same frames over and over: its packets are more than "
                f"{_MAX_REPEATS} times as long as the file.",
                "Its edit list or its index is damaged: copy the file again. If the video is a "
                "loop, write it out, e.g. `ffmpeg -i INPUT -c:v libx264 OUTPUT.mp4`.",
            )
        if packet.is_discard or not inspector.inspect(bytes(packet)).shown:
            continue
        scan.pts.append(_NO_STAMP if packet.pts is None else packet.pts)
        scan.dts.append(_NO_STAMP if packet.dts is None else packet.dts)
        scan.duration.append(packet.duration or 0)
    return scan


def _require_picture(scan: _Scan, path: str, codec: str) -> Any:
    """The first picture of a scan.

    Raises:
        VideoError: The stream has no frames, or none can be decoded.
    """
    if not scan.pts:
        why = f" ({scan.error})" if scan.error else ""
        raise VideoError(f"{path} has a video stream without frames{why}.", "Copy it again.")
    if scan.picture is None:
        raise VideoError(
            f"{path} contains {len(scan.pts)} frames of {codec} video, but none can be decoded.",
            "Copy it again, or convert it with ffmpeg.",
        )
    return scan.picture


def _first_picture(stream: Any, packet: Any) -> Any:
    """The first picture that the decoder returns for this packet, or None."""
    try:
        return next(iter(stream.decode(packet)), None)
    except Exception:  # a damaged packet; a later one may decode
        return None


def _stamps(scan: _Scan, stream: Any, tick_s: float, rate: float) -> tuple[Int64Array, bool]:
    """The sorted time stamps of the shown frames, and whether they identify pictures."""
    pts, dts = np.array(scan.pts, np.int64), np.array(scan.dts, np.int64)
    has_pts, has_dts = pts != _NO_STAMP, dts != _NO_STAMP
    if has_pts.all():
        # If pictures are reordered, ascending time stamps must be in decoding order.
        in_decoding_order = len(pts) > 1 and bool((np.diff(pts) >= 0).all())
        reordered = bool(stream.codec_context.has_b_frames)
        return np.sort(pts), not (in_decoding_order and reordered)
    if has_dts.all():
        return np.sort(dts), False
    # Raw streams: add up the durations, or use the stated rate if there are none.
    step = round(1.0 / (rate or _RATE_FALLBACK) / tick_s)
    steps = np.array(scan.duration, np.int64)
    steps[steps <= 0] = max(step, 1)
    return np.concatenate([[0], np.cumsum(steps[:-1])]).astype(np.int64), False


def _durations(pts: Int64Array, last_stated: int, tick_s: float, rate: float) -> TimeArray:
    """How long each frame is shown: until the next one. The last: by its packet, or the median."""
    gaps = np.diff(pts).astype(np.float64)
    if last_stated > 0:
        last = float(last_stated)
    elif len(gaps):
        last = float(np.median(gaps))
    else:
        last = 1.0 / (rate or _RATE_FALLBACK) / tick_s
    durations: TimeArray = np.append(gaps, last) * tick_s
    return durations


def _oddities(
    scan: _Scan, stream: Any, container_names: str, pts: Int64Array, stamped: bool
) -> list[str]:
    """Warnings about this file for the user."""
    found = []
    if scan.error:
        found.append(f"The file is damaged or cut short: reading stopped ({scan.error}).")
    n_found = scan.n_packets
    if "avi" in container_names and scan.dts[-1] != _NO_STAMP:
        n_found = max(n_found, scan.dts[-1] + 1)  # AVI also counts the empty chunks of a pause
    if stream.frames > n_found:
        found.append(
            f"The file announces {stream.frames} frames but contains {n_found}: it is damaged or "
            "cut short, and times after the damage may be too early."
        )
    if not stamped and _NO_STAMP in scan.pts:
        found.append("Frames have no time stamps; their times follow from the stated frame rate.")
    n_same = int((np.diff(pts) == 0).sum())
    if n_same:
        have = "has" if n_same == 1 else "have"
        found.append(
            f"{count_text(n_same, 'frame')} {have} the same time stamp as the previous frame."
        )
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        found.append(f"Pixels are not square ({ratio}); coordinates are in stored pixels.")
    return found


def select(info: VideoInfo, options: VideoOptions) -> Int64Array:
    """Select the frames that the options request.

    The range includes `start_s` and excludes `end_s`. Both ends have the same tolerance, so the
    segments [a, b) and [b, c) neither share a frame nor omit one.

    `every` selects the first frame in range and each Nth after it. `fps` divides the time from
    the first frame in range into slots of 1/fps and selects the first frame in each, so it is an
    upper limit per second, whatever the source's rate is and even if that varies.

    Args:
        info: The video.
        options: `every` or `fps`, `start_s`, `end_s`.

    Returns:
        int64 (n,), ascending indices of shown frames; never empty.

    Raises:
        VideoError: No frame is between start and end.
    """
    # A container that rounds to milliseconds stores 0.033 for 1/30, so allow one tick. In AVI a
    # tick is a whole frame, so allow a tenth of a frame at most.
    tolerance_s = max(min(info.time_base_s, 0.1 * float(np.median(info.duration_s))), 1e-9)
    start_s = options.start_s or 0.0
    end_s = np.inf if options.end_s is None else options.end_s
    inside = (info.time_s >= start_s - tolerance_s) & (info.time_s < end_s - tolerance_s)
    indices = np.flatnonzero(inside).astype(np.int64)
    if not len(indices):
        length_s = float(info.time_s[-1] + info.duration_s[-1])
        requested = f"`start_s` {start_s:g}" + (f" `end_s` {end_s:g}" if np.isfinite(end_s) else "")
        raise VideoError(
            f"{info.path} has no frame within {requested}: it is {length_s:.3f} s long.",
            "Choose times inside the video; its first frame is at 0 s.",
        )
    if options.fps is None:
        return indices[:: options.every]
    since_s = info.time_s[indices] - info.time_s[indices[0]]
    tolerance_s = min(tolerance_s, 0.1 / options.fps)
    slot = np.floor((since_s + tolerance_s) * options.fps).astype(np.int64)
    selected: Int64Array = indices[np.concatenate([[True], np.diff(slot) > 0])]
    return selected
