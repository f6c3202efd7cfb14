"""Encode pictures as a small MP4, for the self-test and the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from jadfer_cli.records import ImageArray

# In order of preference; not every build of PyAV has all of them.
_ENCODERS = {"libx264": "h264", "libopenh264": "h264", "mpeg4": "mpeg4"}
_FPS = 25


def encode(path: Path, pictures_rgb: Sequence[ImageArray]) -> str:
    """Write pictures as a video of 25 frames per second.

    Args:
        path: The .mp4 file to write.
        pictures_rgb: uint8 (height, width, 3) each, all of one size with even sides.

    Returns:
        The codec: "h264" or "mpeg4".
    """
    import av

    encoder = next(name for name in _ENCODERS if name in av.codecs_available)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=Fraction(_FPS))
        stream.height, stream.width = pictures_rgb[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture_rgb in pictures_rgb:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture_rgb), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return _ENCODERS[encoder]
