"""Is anger mistaken for sadness? FER+ validation faces of a few classes, as a colour video.

    python tests/bench/anger.py --data ../shared/data [--model MODEL] [--per-class 120]

Each picture with a majority becomes half a second of 640x480 H.264 at 10 frames/s: enlarged to
300 px, tinted like skin, moving slowly in front of a coloured wall. The video is annotated; the
last frame of each picture counts. Rows are labels, columns top expressions, in per cent of the
pictures in which a face was found.
"""

import argparse
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

import jadfer_cli
from jadfer_cli.labels import LABELS
from jadfer_cli.options import AnnotateOptions, ModelOptions
from jadfer_cli.training import ferplus

WANTED = ("anger", "sadness", "neutral", "disgust", "fear")
FRAMES = 5  # per picture


def video_frame(picture: np.ndarray, step: int) -> np.ndarray:
    """One frame with the picture, RGB."""
    face = cv2.resize(picture, (300, 300), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    tint = np.array([1.08, 0.92, 0.80], np.float32)
    frame = np.full((480, 640, 3), (96, 112, 120), np.uint8)
    x = 150 + 4 * step
    frame[90:390, x : x + 300] = np.clip(face[:, :, None] * tint, 0, 255).astype(np.uint8)
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--per-class", type=int, default=120)
    a = parser.parse_args()
    faces = ferplus.load(a.data, "valid")
    which, classes, _ = faces.protocols["majority"]
    chosen = [
        (name, int(i))
        for name in WANTED
        for i in which[classes == LABELS.index(name)][: a.per_class]
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=10, options={"crf": "20"})
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            for _, index in chosen:
                for step in range(FRAMES):
                    picture = video_frame(faces.images[index], step)
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode())
        rows = jadfer_cli.annotate(path, AnnotateOptions(model=ModelOptions(model=a.model)))
    rows = rows[rows["face_detected"]]
    rows = rows.sort_values("det_score").drop_duplicates("frame", keep="last").set_index("frame")
    counts = pd.DataFrame(0, index=WANTED, columns=LABELS)
    missed = dict.fromkeys(WANTED, 0)
    for k, (name, _) in enumerate(chosen):
        frame = k * FRAMES + FRAMES - 1
        if frame in rows.index:
            counts.loc[name, rows.loc[frame, "expression"]] += 1
        else:
            missed[name] += 1
    n = counts.sum(axis=1)
    shares = (100 * counts.div(n, axis=0)).round(1)
    shares.insert(0, "n", n)
    shares["no face"] = pd.Series(missed)
    print(shares.to_string())


if __name__ == "__main__":
    main()
