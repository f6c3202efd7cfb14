"""Small videos for tests, encoded on the fly with PyAV, and helpers that read and damage them.

A frame can show its own number as bars (`numbered_frame`). `read_number` decodes them even after
lossy coding, scaling and rotation, so a test knows which frame it was given.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from jadfer_cli.records import Frame
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

ImageArray = npt.NDArray[np.uint8]

os.environ.setdefault("SVT_LOG", "1")  # otherwise the AV1 encoder prints its settings to stderr

BITS = 8
# Without scene cuts, key frames are evenly spaced, so it is known how far damage propagates.
FAST: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "x264-params": "bframes=2:scenecut=0:log-level=none"},
    "libx265": {"preset": "ultrafast", "x265-params": "bframes=2:scenecut=0:log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "svtav1-params": "pred-struct=1"},
    "mpeg4": {"bf": "2", "q": "4"},
    "mjpeg": {"q": "3"},
}


def numbered_frame(number: int, width: int = 128, height: int = 96) -> ImageArray:
    """A grey picture with `number` as eight bright or dark bars, lowest bit on the left.

    A red block marks the top left corner, so that rotations can be distinguished.
    """
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[height // 4 :, left:right] = 220 if number >> bit & 1 else 30
    image[: height // 4, : width // 4] = (220, 30, 30)
    return image


def read_number(image: ImageArray) -> int:
    """The number in a picture from `numbered_frame`, which may have any size but is upright."""
    height, width = image.shape[:2]
    bars = image[height // 2 : height * 7 // 8].mean(axis=(0, 2))
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if bars[x - 2 : x + 3].mean() > 128)


def numbered_frames(n: int, width: int = 128, height: int = 96) -> list[ImageArray]:
    """Pictures with the numbers 0 to n - 1."""
    return [numbered_frame(number, width, height) for number in range(n)]


def make_video(
    path: Path | str,
    frames_rgb: Iterable[ImageArray],
    fps: float | Fraction = 25,
    codec: str = "libx264",
    pix_fmt: str | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    audio: bool = False,
    gop: int = 12,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode pictures into a video; the extension of `path` selects the container.

    Args:
        path: File to write.
        frames_rgb: uint8 (height, width, 3) each, all of the same size with even sides.
        fps: Frames per second if `pts` is None.
        codec: Name of an encoder, e.g. "libx265".
        pix_fmt: E.g. "yuv420p10le"; by default the codec's usual one.
        pts: Time stamps of the frames in `time_base`, for variable rates.
        time_base: Seconds per tick of `pts`; 1/1000 by default.
        rotation: Clockwise rotation that players apply, in degrees.
        audio: Add a second of silence.
        gop: Frames from one key frame to the next.
        options: Options of the encoder, instead of those in `FAST`.

    Returns:
        The path.
    """
    frames = list(frames_rgb)
    rate = Fraction(fps).limit_denominator(1001)
    base = (time_base or Fraction(1, 1000)) if pts is not None else 1 / rate
    stamps = range(len(frames)) if pts is None else pts
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(
            codec, rate=rate, options=dict(FAST.get(codec, {}) if options is None else options)
        )
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        if rotation:
            stream.set_display_rotation(-rotation)  # FFmpeg's angle is counterclockwise
        sound: Any = out.add_stream("aac", rate=8000) if audio else None
        for image, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate = 8000
            out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
    return Path(path)


def make_audio(path: Path | str) -> Path:
    """Write a second of silence into a container that usually contains video."""
    return run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "1", to=path)


def run_ffmpeg(*arguments: str, to: Path | str) -> Path:
    """Run the ffmpeg of the package imageio-ffmpeg, e.g. to remux without encoding."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments, str(to)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return Path(to)


def packet_spans(path: Path | str) -> list[tuple[int, int, int]]:
    """(offset, size, pts) of every video packet in the file, in decoding order."""
    with av.open(str(path)) as container:
        return [
            (int(p.pos or 0), p.size, int(p.pts or 0)) for p in container.demux(video=0) if p.size
        ]


def damage(path: Path | str, to: Path | str, offset: int, data: bytes) -> Path:
    """Copy a file and overwrite some bytes of the copy."""
    content = bytearray(Path(path).read_bytes())
    content[offset : offset + len(data)] = data
    Path(to).write_bytes(content)
    return Path(to)


def damage_packet(path: Path, to: Path, number: int, data: bytes, skip: int = 12) -> Path:
    """Copy a video and overwrite the packet of frame `number` after its first `skip` bytes."""
    pts = int(probe(str(path)).pts[number])
    offset, size = next((at, n) for at, n, stamp in packet_spans(path) if stamp == pts)
    return damage(path, to, offset + skip, data[: size - skip - 2])


def read_video(path: Path, indices: Any = None) -> tuple[list[Frame], VideoReader]:
    """The frames at `indices` (None: all), and the reader that returned them."""
    info = probe(str(path))
    wanted = np.arange(info.n_frames) if indices is None else np.asarray(indices, np.int64)
    with VideoReader(info, wanted) as reader:
        return list(reader), reader


def numbers_in(frames: Iterable[Frame]) -> list[int | None]:
    """The number that each frame shows; None for a frame without an image."""
    return [None if f.image_rgb is None else read_number(f.image_rgb) for f in frames]


def with_status(frames: Iterable[Frame], status: int) -> list[int]:
    """The indices of the frames with this status."""
    return [frame.index for frame in frames if frame.status == status]
