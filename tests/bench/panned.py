"""Makes a video of six faces in 1280 x 720 with a moving camera, for speed with several faces.

    PYTHONPATH=tests python tests/bench/panned.py OUT.mp4 [--seconds 4]

The picture is insightface's t1.jpg. The camera goes to the right, a little down, and back, at 24
frames per second; all faces stay in the picture.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from media import make_video

from jadfer_cli.installation.samples import face_picture

WIDTH, HEIGHT, FPS, ZOOM, DOWN_PX = 1280, 720, 24, 1.1, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=4)
    a = parser.parse_args()
    picture = cv2.resize(face_picture(), None, fx=ZOOM, fy=ZOOM)
    room = np.array([picture.shape[1] - WIDTH, DOWN_PX])
    turn = np.arange(round(a.seconds * FPS))[:, None] * 2 * np.pi / round(a.seconds * FPS)
    corners = np.round(room * (1 - np.cos(turn)) / 2).astype(int)
    views = (np.ascontiguousarray(picture[y : y + HEIGHT, x : x + WIDTH]) for x, y in corners)
    make_video(a.out, views, fps=FPS, gop=250, options={"crf": "20"})


if __name__ == "__main__":
    main()
