"""Makes examples/demo.mp4 from the portrait of Eileen Collins that scikit-image provides.

A virtual camera moves over the picture (NASA, public domain). It zooms in, turns away for 0.6 s
and returns, then turns away for 2 s and returns. The face keeps its track ID over the short
absence, and gets a new one after the long absence.

Run:  pip install scikit-image && python examples/make_demo.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

FPS = 25
WIDTH_PX, HEIGHT_PX = 320, 240
FACE = (225.0, 118.0)  # centre of the face in the portrait, which is 512 x 512 px
AWAY = (430.0, 300.0)  # her sleeve and the model of the shuttle; no face

# time in s, centre of the view, width of the view; in pixels of the portrait
CAMERA = [
    (0.0, FACE, 300.0),
    (2.0, FACE, 170.0),
    (2.6, FACE, 170.0),
    (2.9, AWAY, 170.0),
    (3.2, AWAY, 170.0),
    (3.5, FACE, 170.0),
    (4.6, FACE, 240.0),
    (5.2, FACE, 240.0),
    (5.6, AWAY, 160.0),
    (7.4, AWAY, 160.0),
    (7.8, FACE, 220.0),
    (9.0, FACE, 150.0),
]


def view(portrait_rgb: np.ndarray, time_s: float) -> np.ndarray:
    """The view of the camera at a time: uint8 RGB (240, 320, 3)."""
    times = [key[0] for key in CAMERA]
    x, y, width = (
        np.interp(time_s, times, values)
        for values in zip(*((*centre, width) for _, centre, width in CAMERA), strict=True)
    )
    scale = WIDTH_PX / width
    matrix = np.array([[scale, 0, WIDTH_PX / 2 - scale * x], [0, scale, HEIGHT_PX / 2 - scale * y]])
    return cv2.warpAffine(
        portrait_rgb,
        matrix,
        (WIDTH_PX, HEIGHT_PX),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def main(out: Path) -> None:
    """Writes the clip."""
    portrait_rgb = data.astronaut()
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.options = {"crf": "26", "preset": "veryslow", "threads": "1"}
        for index in range(round(CAMERA[-1][0] * FPS)):
            frame = av.VideoFrame.from_ndarray(view(portrait_rgb, index / FPS), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("demo.mp4"))
