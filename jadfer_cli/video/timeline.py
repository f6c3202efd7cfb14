"""The time of every shown frame, from the container, and the choice of those analysed.

Times are never index / fps: phones record at varying rates, editors cut with edit lists,
and recordings start late. The container's presentation stamps are the truth, read without
decoding (but for one picture, which alone tells the rotation).
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
from jadfer_cli.video.bitstream import PacketInspector
from jadfer_cli.video.container import check_file, open_container

Int64Array = npt.NDArray[np.int64]

_NO_STAMP = -(2**63)  # FFmpeg's AV_NOPTS_VALUE
_RATE_FALLBACK = 25.0  # what FFmpeg assumes of streams that state no rate


@dataclass
class _Scan:
    """What one pass over the packets gave; 24 bytes a shown frame."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    duration: array[int] = field(default_factory=lambda: array("q"))
    n_packets: int = 0
    picture: Any = None  # the first one that decodes
    broke_off: str = ""  # the demuxer's error, where it gave up before the end


def probe(path: str) -> VideoInfo:
    """Read what the container says of a video, and the time of every frame it shows.

    Packets that an edit list discards and hidden reference pictures are not shown. Where
    the stamps do not tell which picture is shown when (missing, or given in decoding order
    as AVI does), the times are still right but belong to pictures by their order alone;
    `VideoInfo.stamped` is then False. Memory: some 50 bytes a frame.

    Args:
        path: The file.

    Returns:
        The video's properties and timeline.

    Raises:
        VideoError: There is no such file, it is unreadable, or holds no decodable video.
    """
    size = check_file(path)
    with open_container(path) as (container, stream):
        scan = _scan(container, stream)
        if not scan.pts:
            why = f" ({scan.broke_off})" if scan.broke_off else ""
            raise VideoError(
                f"{path} has a video stream without a single frame{why}.", "Copy it again."
            )
        picture = scan.picture
        if picture is None:
            raise VideoError(
                f"{path} holds {len(scan.pts)} frames of {stream.codec_context.name} video, "
                "but none can be decoded.",
                "Copy it again, or convert it with ffmpeg.",
            )
        rate = float(stream.average_rate or stream.guessed_rate or 0.0)
        tick_s = float(stream.time_base)
        pts, stamped = _stamps(scan, stream, tick_s, rate)
        # Without reliable stamps the last packet shown is unknown, and its duration too.
        last_stated = scan.duration[int(np.argmax(scan.pts))] if stamped else 0
        rotation, odd = _rotation(picture.rotation)
        width, height = picture.width, picture.height
        if rotation in (90, 270):
            width, height = height, width
        return VideoInfo(
            path=path,
            container=container.format.name,
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
            warnings=tuple(odd + _oddities(scan, stream, container.format.name, pts, stamped)),
            stamped=stamped,
        )


def _scan(container: Any, stream: Any) -> _Scan:
    """Read all packets of the stream, decoding only until the first picture comes out."""
    scan = _Scan()
    inspector = PacketInspector(
        stream.codec_context.codec.canonical_name, stream.codec_context.extradata
    )
    stream.thread_type = "NONE"
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except Exception as error:  # a damaged container; what was read so far still counts
            scan.broke_off = getattr(error, "strerror", None) or str(error)
            break
        is_end = packet.size == 0 and packet.pts is None and packet.dts is None
        if scan.picture is None and (packet.size or is_end):
            scan.picture = _first_picture(stream, packet)
        if is_end:
            break
        scan.n_packets += 1
        if packet.is_discard or not inspector.inspect(bytes(packet)).shown:
            continue
        scan.pts.append(_NO_STAMP if packet.pts is None else packet.pts)
        scan.dts.append(_NO_STAMP if packet.dts is None else packet.dts)
        scan.duration.append(packet.duration or 0)
    return scan


def _first_picture(stream: Any, packet: Any) -> Any:
    """The first picture that the decoder puts out for this packet, or None."""
    try:
        return next(iter(stream.decode(packet)), None)
    except Exception:  # a damaged packet; a later one may decode
        return None


def _stamps(scan: _Scan, stream: Any, tick_s: float, rate: float) -> tuple[Int64Array, bool]:
    """The sorted stamps of the shown frames, and whether a stamp names its picture."""
    pts, dts = np.array(scan.pts, np.int64), np.array(scan.dts, np.int64)
    has_pts, has_dts = pts != _NO_STAMP, dts != _NO_STAMP
    if has_pts.all():
        # With reordered pictures, stamps that never step back are in decoding order.
        in_decoding_order = len(pts) > 1 and bool((np.diff(pts) >= 0).all())
        reordered = bool(stream.codec_context.has_b_frames)
        return np.sort(pts), not (in_decoding_order and reordered)
    if has_dts.all():
        return np.sort(dts), False
    # Raw streams: count the durations up, or the stated rate where there are none.
    step = round(1.0 / (rate or _RATE_FALLBACK) / tick_s)
    steps = np.array(scan.duration, np.int64)
    steps[steps <= 0] = max(step, 1)
    return np.concatenate([[0], np.cumsum(steps[:-1])]).astype(np.int64), False


def _durations(pts: Int64Array, last_stated: int, tick_s: float, rate: float) -> TimeArray:
    """How long each frame is shown: until the next; the last by its packet or the median."""
    gaps = np.diff(pts).astype(np.float64)
    if last_stated > 0:
        last = float(last_stated)
    elif len(gaps):
        last = float(np.median(gaps))
    else:
        last = 1.0 / (rate or _RATE_FALLBACK) / tick_s
    durations: TimeArray = np.append(gaps, last) * tick_s
    return durations


def _rotation(counterclockwise_deg: float) -> tuple[int, list[str]]:
    """The clockwise turn of the display matrix, and a warning where it is no quarter turn."""
    clockwise = round(-counterclockwise_deg) % 360
    if clockwise % 90 == 0:
        return clockwise, []
    return 0, [f"The rotation of {clockwise} degrees is no quarter turn and is not applied."]


def _oddities(
    scan: _Scan, stream: Any, container_names: str, pts: Int64Array, stamped: bool
) -> list[str]:
    """What the user should know of this file."""
    found = []
    if scan.broke_off:
        found.append(f"The file is damaged or cut short: reading stopped ({scan.broke_off}).")
    held = scan.n_packets
    if "avi" in container_names and scan.dts[-1] != _NO_STAMP:
        held = max(held, scan.dts[-1] + 1)  # AVI also counts the empty chunks of a pause
    if stream.frames > held:
        found.append(
            f"The file announces {stream.frames} frames but holds {held}: it is damaged or cut "
            "short, and times after the damage may be early."
        )
    if not stamped and _NO_STAMP in scan.pts:
        found.append("Frames without time stamps: their times follow from the stated frame rate.")
    same = int((np.diff(pts) == 0).sum())
    if same:
        found.append(f"{same} frames have the same time stamp as the frame before.")
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        found.append(f"Pixels are not square ({ratio}); coordinates are in stored pixels.")
    return found


def select(info: VideoInfo, options: VideoOptions) -> Int64Array:
    """The frames that the options ask for.

    A frame is in range from `start_s` up to, not including, `end_s`. Both ends have the same
    tolerance, so that the segments [a, b) and [b, c) share no frame and leave none out.

    `every` takes the first frame in range and each Nth after it. `fps` divides the time
    from the first frame in range into slots of 1/fps and takes the first frame of each, so
    that at most so many are taken a second at any rate of the source, varying ones too.

    Args:
        info: The video.
        options: `every` or `fps`, `start_s`, `end_s`.

    Returns:
        int64 (n,), ascending indices of shown frames; never empty.

    Raises:
        VideoError: No frame lies between start and end.
    """
    # A container that rounds to milliseconds says 0.033 for 1/30: allow one tick. But a tick
    # of AVI is a whole frame; a tenth of one never reaches the frame before.
    tolerance_s = max(min(info.time_base_s, 0.1 * float(np.median(info.duration_s))), 1e-9)
    start_s = options.start_s or 0.0
    end_s = np.inf if options.end_s is None else options.end_s
    inside = (info.time_s >= start_s - tolerance_s) & (info.time_s < end_s - tolerance_s)
    indices = np.flatnonzero(inside).astype(np.int64)
    if not len(indices):
        length_s = float(info.time_s[-1] + info.duration_s[-1])
        wish = f"--start {start_s:g}" + (f" --end {end_s:g}" if np.isfinite(end_s) else "")
        raise VideoError(
            f"{info.path} has no frame within {wish}: it is {length_s:.3f} s long.",
            "Choose times inside the video; its first shown frame is at 0 s.",
        )
    if options.fps is None:
        return indices[:: options.every]
    since_s = info.time_s[indices] - info.time_s[indices[0]]
    tolerance_s = min(tolerance_s, 0.1 / options.fps)
    slot = np.floor((since_s + tolerance_s) * options.fps).astype(np.int64)
    taken: Int64Array = indices[np.concatenate([[True], np.diff(slot) > 0])]
    return taken
