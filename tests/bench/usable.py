"""Accuracy on FER+ by face size, blur, light and pose, which the rule for `usable` rests on.

Run:  python tests/bench/usable.py --data FERPLUS [--images 1200]

Uses validation images with a majority, aligned with the embedded detector. Size: each crop is
reduced until the eyes are N px apart, and enlarged again. Blur: crops with Gaussian blur, grouped
by the blur that `quality` measures. Light: pixel values times a factor, clipped. Pose: unchanged
images, grouped by the angles that `quality` measures.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces import align, quality
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.options import FaceOptions, ModelOptions
from jadfer_cli.runtime import settle
from jadfer_cli.training import ferplus
from jadfer_cli.training.align import find_landmarks
from jadfer_cli.training.data import default_cache

EYES = float(align.TEMPLATE[1, 0] - align.TEMPLATE[0, 0])  # distance in a crop of side 1


def shrunk(crop: np.ndarray, interocular_px: float) -> np.ndarray:
    side = max(round(interocular_px / EYES), 2)
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[:2], interpolation=cv2.INTER_LINEAR)


def line(name: str, right: np.ndarray) -> None:
    n, share = len(right), right.mean() if len(right) else np.nan
    margin = 1.96 * (share * (1 - share) / max(n, 1)) ** 0.5
    print(f"{name:28} n {n:5}  accuracy {share:.3f} +- {margin:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1200)
    a = parser.parse_args()
    runtime = settle(ModelOptions(device="cpu", batch_size=64))
    predictor = Predictor(checkpoint.load(), runtime)
    detector = load_detector(
        FaceOptions(detector="centerface", detection_threshold=0.3), runtime.threads
    )
    faces = ferplus.load(a.data, "valid")
    which, classes, _ = faces.protocols["majority"]
    which, classes = which[: a.images], classes[: a.images]
    faces = faces.take(which)
    marks = find_landmarks(faces, detector.detect, detector.info.sha256, default_cache())
    found = np.flatnonzero(np.isfinite(marks).all((1, 2)))
    marks, classes = marks[found], classes[found]
    crops = np.concatenate(
        [align.crop(faces.image_rgb(i), m[None]) for i, m in zip(found, marks, strict=True)]
    )

    def right(images: np.ndarray) -> np.ndarray:
        return predictor.probabilities(images).argmax(1) == classes

    plain = right(crops)
    line("unchanged", plain)
    for px in (20, 16, 14, 12, 10, 8, 6):
        line(f"eyes {px} px apart", right(np.stack([shrunk(c, px) for c in crops])))
    for gain in (0.1, 0.2, 0.4, 1.5, 2.0, 3.0):
        lit = np.clip(crops.astype(np.float32) * gain, 0, 255).astype(np.uint8)
        line(f"light x {gain}", right(lit))
    measured, hits = [], []
    for sigma in (0, 1, 2, 3, 4, 6):
        soft = np.stack([cv2.GaussianBlur(c, (0, 0), sigma) if sigma else c for c in crops])
        measured.append(quality.perceptual_blur(soft))
        hits.append(plain if sigma == 0 else right(soft))
    blur, hit = np.concatenate(measured), np.concatenate(hits)
    for low, high in (
        (0, 0.5),
        (0.5, 0.6),
        (0.6, 0.65),
        (0.65, 0.7),
        (0.7, 0.75),
        (0.75, 0.8),
        (0.8, 0.85),
        (0.85, 1),
    ):
        line(f"blur {low}-{high}", hit[(blur >= low) & (blur < high)])
    pose = np.abs(quality.head_pose(marks, (1000, 1000)))
    for column, name in ((0, "yaw"), (1, "pitch")):
        for low, high in ((0, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, 90)):
            line(
                f"|{name}| {low}-{high}", plain[(pose[:, column] >= low) & (pose[:, column] < high)]
            )


if __name__ == "__main__":
    main()
