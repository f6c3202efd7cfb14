"""Encode pictures as a small MP4, for the self-test and the benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from jadfer_cli.records import ImageArray

# In order of preference; not every build of PyAV has all of them.
_ENCODERS = {"libx264": "h264", "libopenh264": "h264", "mpeg4": "mpeg4"}
_FPS = 25


def encode(
    path: Path, pictures_rgb: Iterable[ImageArray], *, fps: float = _FPS, crf: int | None = None
) -> str:
    """Write pictures as a video.

    Args:
        path: The .mp4 file to write.
        pictures_rgb: uint8 (height, width, 3) each, all of one size; a last odd row or column is
            left out. At least one.
        fps: Frames per second.
        crf: Constant rate factor of libx264; None for its default. Other encoders have none.

    Returns:
        The codec: "h264" or "mpeg4".
    """
    import av

    encoder = next(name for name in _ENCODERS if name in av.codecs_available)
    rate = Fraction(fps).limit_denominator(1001)
    options = {} if crf is None else {"crf": str(crf)}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        for number, picture_rgb in enumerate(pictures_rgb):
            height, width = (side - side % 2 for side in picture_rgb.shape[:2])
            if number == 0:
                stream.height, stream.width = height, width
            picture = np.ascontiguousarray(picture_rgb[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return _ENCODERS[encoder]
