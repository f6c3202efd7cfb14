"""One picture through a video encoder and back: what compression does to a still."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt


def h264(image_rgb: npt.NDArray[np.uint8], crf: int) -> npt.NDArray[np.uint8]:
    """The picture as H.264 (x264, 4:2:0) shows it when it is the first of a video.

    Args:
        image_rgb: (H, W, 3) with even sides of at least 16 px.
        crf: Quality of x264: 18 is hardly visible, 23 its default, 40 coarse.

    Returns:
        (H, W, 3).

    Raises:
        ValueError: The sides are odd or too small, which x264 cannot encode in 4:2:0.
    """
    import av

    height, width = image_rgb.shape[:2]
    if min(height, width) < 16 or height % 2 or width % 2:
        raise ValueError(f"sides must be even and at least 16 px, got {width} x {height}")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frame = av.VideoFrame.from_ndarray(image_rgb, format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    shown = [each for packet in packets for each in decoder.decode(packet)]
    shown += decoder.decode(None)
    result: npt.NDArray[np.uint8] = shown[0].to_ndarray(format="rgb24")
    return result
