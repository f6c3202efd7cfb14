"""Makes a video of six faces: insightface's picture t1.jpg in 1280 x 720, with a moving camera.

    python tests/bench/panned.py OUT.mp4 [--seconds 4]

For speed with several faces. The camera goes to the right, a little down, and back, at 24 frames
per second; all faces stay in the picture.
"""

import argparse
from pathlib import Path

import av
import cv2
import numpy as np
from insightface.data import get_image

WIDTH, HEIGHT, FPS, ZOOM, DOWN_PX = 1280, 720, 24, 1.1, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=4)
    a = parser.parse_args()
    picture = cv2.resize(get_image("t1"), None, fx=ZOOM, fy=ZOOM)
    room = np.array([picture.shape[1] - WIDTH, DOWN_PX])
    n = round(a.seconds * FPS)
    with av.open(str(a.out), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(n):
            x, y = np.round(room * (1 - np.cos(2 * np.pi * i / n)) / 2).astype(int)
            view = np.ascontiguousarray(picture[y : y + HEIGHT, x : x + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
