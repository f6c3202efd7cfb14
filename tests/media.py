"""Small videos for tests, made on the spot with PyAV's encoders.

Every frame can carry its own number as bars (`numbered_frame`), which `read_number` reads
back after lossy coding, scaling and turning: so a test sees which frame it was given.
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

ImageArray = npt.NDArray[np.uint8]

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder writes its settings to stderr otherwise

BITS = 8
# Without scene cuts and with a fixed distance of key frames, damage has a known reach.
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
    """A grey picture with `number` as eight bright or dark bars, the lowest bit on the left.

    A red block marks the top left corner, so that turned pictures can be told apart.
    """
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[height // 4 :, left:right] = 220 if number >> bit & 1 else 30
    image[: height // 4, : width // 4] = (220, 30, 30)
    return image


def read_number(image: ImageArray) -> int:
    """The number that `numbered_frame` wrote into a picture (upright, any size)."""
    height, width = image.shape[:2]
    bars = image[height // 2 : height * 7 // 8].mean(axis=(0, 2))
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(centres) if bars[x - 2 : x + 3].mean() > 128)


def numbered_frames(n: int, width: int = 128, height: int = 96) -> list[ImageArray]:
    """The numbered pictures 0 to n - 1."""
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
    """Encode pictures into a video; the suffix of the path chooses the container.

    Args:
        path: Where to.
        frames_rgb: uint8 (height, width, 3) each, all of one size, even sides.
        fps: Frames a second, where `pts` is not given.
        codec: An encoder's name, e.g. "libx265".
        pix_fmt: e.g. "yuv420p10le"; by default what the codec is commonly used with.
        pts: Stamps of the frames in `time_base`, for varying rates.
        time_base: Seconds a tick of `pts`; 1/1000 by default.
        rotation: Clockwise turn that players apply, in degrees.
        audio: Also a second of silence.
        gop: Frames from one key frame to the next.
        options: For the encoder, instead of `FAST`.

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
            stream.set_display_rotation(-rotation)  # FFmpeg counts counterclockwise
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
    """A second of silence, in a container that could hold video."""
    return run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "1", to=path)


def run_ffmpeg(*arguments: str, to: Path | str) -> Path:
    """Run the ffmpeg that comes with imageio-ffmpeg, e.g. to remux without encoding."""
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
    """A copy of a file with some bytes overwritten."""
    content = bytearray(Path(path).read_bytes())
    content[offset : offset + len(data)] = data
    Path(to).write_bytes(content)
    return Path(to)
