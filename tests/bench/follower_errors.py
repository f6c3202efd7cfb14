"""Landmarks of the follower on clips, against SCRFD's in every frame; CenterFace's beside them.

    python tests/bench/follower_errors.py --scrfd ../shared/models/scrfd_2.5g_kps.onnx CLIP ...

Errors are means of five distances, in units of that between SCRFD's eyes, but at least half of that
from eyes to mouth, which in profile is larger. `jitter` is the mean change of the error from one
frame to the next.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.follow import follow
from jadfer_cli.faces.follower import load_follower
from jadfer_cli.faces.motion import MotionTracker
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe


def frames_of(clip):
    info = probe(str(clip))
    yield from VideoReader(info, np.arange(info.n_frames))


def matched(reference, faces):
    """For each face of the reference, the offset of landmarks in its units, (5, 2), or None."""
    overlap = iou(reference.boxes_px, faces.boxes_px)
    for i, points in enumerate(reference.landmarks_px):
        j = int(overlap[i].argmax()) if overlap.shape[1] else -1
        if j < 0 or overlap[i, j] < 0.4:
            yield None
            continue
        height = np.linalg.norm(points[3:].mean(0) - points[:2].mean(0))
        unit = max(np.linalg.norm(points[1] - points[0]), height / 2)
        yield (faces.landmarks_px[j] - points) / unit, bool(faces.followed[j])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrfd", required=True)
    parser.add_argument("--follower", default="network")
    parser.add_argument("clip", type=Path, nargs="+")
    a = parser.parse_args()
    scrfd = load_detector(FaceOptions(detector=a.scrfd), 1)
    centerface = load_detector(FaceOptions(detector="centerface"), 1)
    table = []
    for clip in a.clip:
        errors = {"CenterFace": [], "follower": [], "follower to CenterFace": []}
        jitter, lost, n = {"CenterFace": [], "follower": []}, 0, 0
        last = {}
        motion = MotionTracker(load_follower(a.follower), 16)
        for one in follow(frames_of(clip), centerface, 0.3, motion=motion):
            if one.frame.image_rgb is None:
                continue
            reference = scrfd.detect(one.frame.image_rgb)
            plain = centerface.detect(one.frame.image_rgb)
            pairs = zip(matched(reference, plain), matched(reference, one.faces), strict=True)
            for k, (detected, followed) in enumerate(pairs):
                n += 1
                lost += detected is not None and followed is None
                if detected is None or followed is None or not followed[1]:
                    last.pop(k, None)
                    continue
                both = {"CenterFace": detected[0], "follower": followed[0]}
                for name, offset in both.items():
                    errors[name].append(np.linalg.norm(offset, axis=1).mean())
                    if k in last:
                        step = np.linalg.norm(offset - last[k][name], axis=1).mean()
                        jitter[name].append(step)
                apart = detected[0] - followed[0]
                errors["follower to CenterFace"].append(np.linalg.norm(apart, axis=1).mean())
                last[k] = both
        table.append(
            {"clip": clip.name, "faces": n, "lost": lost, "followed": len(errors["follower"])}
            | {name: float(np.mean(values)) for name, values in errors.items()}
            | {f"jitter {name}": float(np.mean(values)) for name, values in jitter.items()}
        )
        print(pd.DataFrame(table).round(4).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
