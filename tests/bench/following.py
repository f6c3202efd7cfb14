"""Faces followed between detections in full frames, compared with detection in every frame.

    python tests/bench/following.py --clips ../shared/clips [CLIP ...]

For each clip and follower: the percentage of the plain path's faces that the fast path finds (IoU
0.5), the mean and largest difference of their probabilities, the percentage with another label,
tracks and identity switches, faces that only the fast path has, and the core time of both.

With --noise, also a search of every frame moved by a few pixels: how far the detector agrees with
itself, and so how small a difference can be at all.
"""

import argparse
import contextlib
import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd

from jadfer_cli import annotate
from jadfer_cli.faces.detector import Detector
from jadfer_cli.geometry import iou
from jadfer_cli.options import AnnotateOptions, FaceOptions
from jadfer_cli.records import Faces

BOX = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]
NOISE = ((1, 1), (3, 2))  # px, right and down
CLIPS = (".mp4", ".mov", ".mkv", ".mpg", ".webm", ".avi")


def compare(plain: pd.DataFrame, fast: pd.DataFrame) -> dict[str, float]:
    """Matches every face of the plain path to one of the fast path."""
    plain, fast = plain[plain.face_detected], fast[fast.face_detected]
    p_columns = [name for name in plain if name.startswith("p_") and name != "p_max"]
    found, differences, switches, names, flips = 0, [], 0, {}, 0
    groups = dict(tuple(fast.groupby("frame")))
    for frame, rows in plain.groupby("frame"):
        others = groups.get(frame)
        if others is None:
            continue
        overlap = iou(rows[BOX].to_numpy(np.float32), others[BOX].to_numpy(np.float32))
        for i in range(len(rows)):
            j = int(overlap[i].argmax())
            if overlap[i, j] < 0.5:
                continue
            found += 1
            gap = rows[p_columns].iloc[i] - others[p_columns].iloc[j]
            differences.append(np.abs(gap.to_numpy(float)))
            flips += rows.expression.iloc[i] != others.expression.iloc[j]
            ours, theirs = int(rows.track_id.iloc[i]), int(others.track_id.iloc[j])
            switches += names.get(ours, theirs) != theirs
            names[ours] = theirs
    d = np.array(differences) if differences else np.zeros((1, len(p_columns)))
    return {
        "faces": len(plain),
        "found %": 100 * found / max(len(plain), 1),
        "more": len(fast) - found,
        "p mean": d.mean(),
        "p max": d.max(),
        "flips %": 100 * flips / max(found, 1),
        "tracks": plain.track_id.nunique(),
        "tracks fast": fast.track_id.nunique(),
        "switches": switches,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=Path("../shared/clips"))
    parser.add_argument("--redetect", type=float, default=0.3)
    parser.add_argument("--detector", default="centerface")
    parser.add_argument("--follower", nargs="+", default=["detector", "network"])
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("clip", type=Path, nargs="*")
    a = parser.parse_args()
    table = []
    for clip in a.clip or sorted(f for f in a.clips.iterdir() if f.suffix in CLIPS):
        plain, plain_s = timed(clip, a, 0.0, "detector")
        for follower in a.follower:
            fast, fast_s = timed(clip, a, a.redetect, follower)
            found = {"clip": clip.name[:20], "by": follower[-12:], **compare(plain, fast)}
            table.append({**found, "core s": plain_s, "core s fast": fast_s})
        for by in NOISE if a.noise else ():
            with moved(*by):
                other, other_s = timed(clip, a, 0.0, "detector")
            found = {"clip": clip.name[:20], "by": f"moved {by}", **compare(plain, other)}
            table.append({**found, "core s": plain_s, "core s fast": other_s})
        print(pd.DataFrame(table).round(4).to_string(index=False), flush=True)
    if a.csv:
        pd.DataFrame(table).to_csv(a.csv, index=False)


@contextlib.contextmanager
def moved(right, down):
    """Moves each frame before it is searched, and its faces back."""
    search = Detector.detect_all

    def detect_all(self, images_rgb):
        found = []
        for image in images_rgb:
            other = np.zeros_like(image)
            other[down:, right:] = image[:-down, :-right]
            (faces,) = search(self, [other])
            step = np.float32([right, down])
            boxes, marks = faces.boxes_px - np.tile(step, 2), faces.landmarks_px - step
            found.append(Faces(boxes, faces.scores, marks, faces.followed))
        return found

    Detector.detect_all = detect_all
    try:
        yield
    finally:
        Detector.detect_all = search


def timed(clip, a, redetect_s, follower):
    """The rows, and the seconds of all cores."""
    faces = FaceOptions(detector=a.detector, redetect_s=redetect_s, follower=follower)
    began = time.process_time()
    rows = annotate(clip, dataclasses.replace(AnnotateOptions(), faces=faces))
    return rows, time.process_time() - began


if __name__ == "__main__":
    main()
