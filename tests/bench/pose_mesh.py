"""Head pose by five landmarks and by the mesh; gaze and actions of mirrored pictures.

    python tests/bench/pose_mesh.py face_landmarker.task scrfd_500m_kps.onnx results/ clip.mp4 ...

Prints jitter (of results of `annotate --actions`: robust SD of second differences over sqrt 6, in
degrees), then how far apart two answers for the same face are that should be equal: of two
detectors, of a picture and its mirror image, of a picture and the same turned by 20 degrees.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from jadfer_cli.faces import quality
from jadfer_cli.faces.actions import ActionFinder
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.options import FaceOptions

COLUMNS = (*ACTION_COLUMNS, *MEASURE_COLUMNS)
ANGLES = ("yaw", "pitch", "roll")
TURN_DEG = 20
FACES_PER_CLIP = 10


def jitter(results: Path) -> None:
    """Print how much the angles tremble from frame to frame, five landmarks against mesh."""
    for file in sorted(results.glob("*.actions.parquet")):
        rows = pd.read_parquet(file.with_name(file.name.replace(".actions", "")))
        both = rows.merge(pd.read_parquet(file), on=["frame", "track_id"])
        both = both[both["track_id"] == both["track_id"].mode()[0]]
        texts = []
        for angle in ANGLES:
            second = (np.diff(both[f"{prefix}{angle}_deg"], 2) for prefix in ("", "mesh_"))
            five, mesh = (1.4826 * np.median(np.abs(each)) / 6**0.5 for each in second)
            texts.append(f"{angle} {five:.2f} {mesh:.2f}")
        print(f"{file.stem:32s}", *texts)


def answers(image, detector, finder):
    """Angles by five landmarks, angles by the mesh, and all columns, of the best face."""
    faces = detector.detect(np.ascontiguousarray(image))
    if not len(faces):
        return None
    faces = faces.take(np.array([int(np.argmax(faces.scores))]))
    values = finder.find(np.ascontiguousarray(image), faces).values[0]
    found = dict(zip(COLUMNS, values.astype(float), strict=True))
    five = quality.head_pose(faces.landmarks_px, image.shape[1::-1])[0]
    return five, np.array([found[f"mesh_{angle}_deg"] for angle in ANGLES]), found


def compare(clips: list[str], detectors, finder) -> None:
    """Print mean absolute differences between answers that should be equal."""
    apart, biases = defaultdict(list), defaultdict(list)
    for clip in clips:
        with av.open(clip) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        for image in frames[:: max(len(frames) // FACES_PER_CLIP, 1)]:
            height, width = image.shape[:2]
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), -TURN_DEG, 1.0)  # clockwise
            turned = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
            first, second, mirror, rolled = (
                answers(image, detectors[0], finder), answers(image, detectors[1], finder),
                answers(image[:, ::-1], detectors[0], finder),
                answers(turned, detectors[0], finder),
            )  # fmt: skip
            if any(each is None for each in (first, second, mirror, rolled)):
                continue
            for which, name in enumerate(("five", "mesh")):
                a = first[which]
                apart[f"detectors, {name}"].append(np.abs(a - second[which]))
                apart[f"mirrored, {name}"].append(np.abs(a - mirror[which] * [-1, 1, -1]))
                apart[f"turned by {TURN_DEG}, {name}"].append(rolled[which] - a)
            a, b = first[2], mirror[2]
            for name in ("gaze_yaw", "gaze_pitch"):
                sign = -1 if name == "gaze_yaw" else 1
                off = np.abs(a[f"{name}_left_deg"] - sign * b[f"{name}_right_deg"])
                apart[f"mirrored, {name}"].append([off])
            paired = [n for n in ACTION_COLUMNS if n.endswith("_left")]
            off = [a[n] - b[n.replace("left", "right")] for n in paired]
            apart["mirrored, paired actions"].append([np.abs(off).mean()])
            for name in paired:  # a picture and its mirror image have no side in common
                other = name.replace("left", "right")
                biases[name].append((a[name] - a[other] + b[name] - b[other]) / 2)
    print("left - right of actions without a side:", end="")
    for name, values in biases.items():
        if abs(np.mean(values)) >= 0.01:
            print(f" {name.removesuffix('_left')} {np.mean(values):+.3f}", end="")
    print()
    for name, values in sorted(apart.items()):
        print(f"{name:28s} {len(values)} faces, mean", *np.mean(values, 0).round(3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("detector")
    parser.add_argument("results", type=Path)
    parser.add_argument("clips", nargs="+")
    given = parser.parse_args()
    jitter(given.results)
    both = [load_detector(FaceOptions(detector=d), 1) for d in ("centerface", given.detector)]
    compare(given.clips, both, ActionFinder(given.model))
