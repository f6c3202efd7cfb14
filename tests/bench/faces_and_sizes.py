"""What a frame and a face cost, by the number of faces and the size of the frame.

    PYTHONPATH=tests python tests/bench/faces_and_sizes.py [--frames 48] [--faces 1] [--heights 720]

Each video has faces of insightface's picture t1.jpg in a grid, each moving a little on its own;
a face has about a fifth of the frame's height. Figures are those of `jadfer bench`: core-ms of
the stages, one after the other, and frames per second of a complete run.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from media import make_video
from people import SIX

from jadfer_cli.installation.bench import Configuration, measure
from jadfer_cli.installation.samples import face_picture
from jadfer_cli.options import AnnotateOptions, FaceOptions

COLUMNS, ROWS = 5, 4


def heads(side: int) -> list[np.ndarray]:
    """The six faces with a margin, side x side px."""
    image = face_picture()
    found = []
    for x1, y1, x2, y2 in SIX.values():
        x, y, half = (x1 + x2) // 2, (y1 + y2) // 2, round(0.7 * (y2 - y1))
        x, y = np.clip(x, half, image.shape[1] - half), np.clip(y, half, image.shape[0] - half)
        head = image[y - half : y + half, x - half : x + half]
        found.append(cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA))
    return found


def frames(n_faces: int, height: int, n_frames: int) -> Iterator[np.ndarray]:
    """Pictures of `n_faces` faces, 16:9 and `height` px high."""
    width = height * 16 // 9 // 2 * 2
    side = height // ROWS - 8
    faces, rng = heads(side), np.random.default_rng(0)
    cells = [(k % COLUMNS, k // COLUMNS) for k in range(COLUMNS * ROWS)]
    if n_faces <= len(faces):  # apart from each other, in two rows of three
        cells = [(2 * (k % 3), 2 * (k // 3)) for k in range(n_faces)]
    for t in range(n_frames):
        frame = np.full((height, width, 3), 110, np.uint8)
        for k, (column, row) in enumerate(cells[:n_faces]):
            x = column * width // COLUMNS + round(4 + 3 * np.sin(t / 6 + k))
            y = row * height // ROWS + round(4 + 3 * np.cos(t / 7 + 2 * k))
            grain = rng.normal(0, 4, (side, side, 3))  # equal crops are scored once
            face = np.clip(faces[k % len(faces)] + grain, 0, 255)
            frame[y : y + side, x : x + side] = face.astype(np.uint8)
        yield frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--faces", type=int, nargs="+", default=[1, 2, 6, 20])
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 720, 1080, 2160])
    parser.add_argument("--repeats", type=int, default=1)
    a = parser.parse_args()
    print("| height | faces | found per frame | decode | detect | track | a face | frames/s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for height in a.heights:
            for n in a.faces:
                clip = Path(folder) / "clip.mp4"
                made = frames(n, height, a.frames)
                make_video(clip, made, gop=250, options={"crf": "20", "preset": "veryfast"})
                options = AnnotateOptions(faces=FaceOptions(detector="centerface"))
                side = measure(str(clip), [Configuration("jadfer", options)], a.repeats)["sides"][0]
                ms = {k: v["core_ms"] for k, v in side["stages_ms_per_frame"].items()}
                print(
                    f"| {height} | {n} | {side['faces'] / side['frames']:.2f} | {ms['decode']:.1f} "
                    f"| {ms['detect']:.1f} | {ms['track']:.1f} | {side['core_ms_of_a_face']:.1f} "
                    f"| {side['frames_per_s']:.1f} |", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
