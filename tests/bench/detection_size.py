"""CenterFace's search of the whole frame at several input sizes: time, and recall by face size.

    python tests/bench/detection_size.py --clips ../shared/clips

The picture of six faces (insightface's t1.jpg) lies zoomed and shifted in frames of 1280 x 720; its
boxes were checked by eye. Of clips, every fifth frame counts, against the faces found at 960 px.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from jadfer_cli.faces.detect import load_detector
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

SIZES = (320, 416, 512, 640)
SIX = np.array(
    [(58, 262, 169, 396), (269, 147, 371, 266), (465, 265, 573, 416), (746, 339, 846, 481),
     (905, 54, 1013, 204), (1131, 271, 1226, 399)], np.float32,
)  # fmt: skip
EDGES = (0, 12, 16, 20, 24, 32, 48, 64, 1000)


def detector(size):
    return load_detector(FaceOptions(detector="centerface", detection_size=size, min_face_px=0), 1)


def six_faces(positions):
    """Frames 1280 x 720 with the picture at several zooms and places, and the true boxes."""
    from insightface.data import get_image

    image = get_image("t1")[:, :, ::-1]
    rng = np.random.default_rng(0)
    for zoom in np.geomspace(0.09, 0.8, 14):
        for _ in range(positions):
            x, y = rng.uniform(0, (1280 - 1280 * zoom, max(720 - 886 * zoom, 1)))
            flags = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
            small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=flags)
            frame = np.full((720, 1280, 3), 90, np.uint8)
            small = small[: 720 - int(y)]
            frame[int(y) : int(y) + len(small), int(x) : int(x) + small.shape[1]] = small
            boxes = SIX * zoom + np.tile((int(x), int(y)), 2)
            yield frame, boxes[boxes[:, 3] < 715].astype(np.float32)


def recall(frames, detectors):
    """One row per true face and size: its shorter side, and whether it was found; times."""
    rows, times = [], {size: [] for size in detectors}
    for frame, boxes in frames:
        for size, one in detectors.items():
            began = time.process_time()
            found = one.detect(frame)
            times[size].append(time.process_time() - began)
            best = iou(boxes, found.boxes_px).max(1, initial=0)
            sides = (boxes[:, 2:] - boxes[:, :2]).min(1)
            rows += [(size, side, hit) for side, hit in zip(sides, best >= 0.4, strict=True)]
    table = pd.DataFrame(rows, columns=["size", "side_px", "found"])
    table["side_px"] = pd.cut(table["side_px"], EDGES)
    shares = table.pivot_table(index="size", columns="side_px", values="found", observed=True)
    print(shares.round(3).to_string())
    print("n", (table.groupby("side_px", observed=True).size() // len(detectors)).tolist())
    print({size: round(1000 * float(np.median(t)), 1) for size, t in times.items()}, "core-ms")


def of_clip(path, every):
    info = probe(str(path))
    reference = detector(960)
    for frame in VideoReader(info, np.arange(0, info.n_frames, every)):
        if frame.image_rgb is not None:
            boxes = reference.detect(frame.image_rgb).boxes_px
            if len(boxes):
                yield frame.image_rgb, boxes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--positions", type=int, default=4)
    parser.add_argument("--every", type=int, default=5)
    a = parser.parse_args()
    detectors = {size: detector(size) for size in SIZES}
    print("six faces in 1280 x 720")
    recall(six_faces(a.positions), detectors)
    for path in sorted(a.clips.iterdir()) if a.clips else ():
        if path.suffix in (".mp4", ".mkv", ".mov", ".mpg"):
            print(path.name)
            recall(of_clip(path, a.every), detectors)


if __name__ == "__main__":
    main()
