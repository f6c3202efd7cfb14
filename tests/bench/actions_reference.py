"""Landmarks and coefficients of `annotate --actions --mesh` against Google's own package.

The reference runs in an environment of its own, with mediapipe and av; it tracks one face:

    python tests/bench/actions_reference.py reference face_landmarker.task clip.mp4 ... -o ref/
    jadfer annotate clip.mp4 ... -o results/ --actions --mesh
    python tests/bench/actions_reference.py compare ref/ results/
"""

import argparse
from pathlib import Path

import numpy as np

VARIES = 0.05  # SD from which a coefficient counts as varying


def reference(model: str, clips: list[str], out: Path) -> None:
    """Run Google's pipeline over all frames, and keep what it finds as one .npz per clip."""
    import av
    import mediapipe as mp
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    out.mkdir(parents=True, exist_ok=True)
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=model),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=1,  # with more, the crop comes from Google's detector in every frame
        output_face_blendshapes=True,
    )
    for clip in clips:
        frames, points, shapes = [], [], []
        with vision.FaceLandmarker.create_from_options(options) as landmarker, av.open(clip) as it:
            for index, frame in enumerate(it.decode(video=0)):
                image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
                height, width = image.shape[:2]
                found = landmarker.detect_for_video(
                    mp.Image(image_format=mp.ImageFormat.SRGB, data=image), round(frame.time * 1000)
                )
                for face, own in zip(found.face_landmarks, found.face_blendshapes, strict=True):
                    frames.append(index)
                    points.append([(p.x * width, p.y * height) for p in face])
                    shapes.append([each.score for each in own])
        np.savez(out / f"{Path(clip).stem}.npz", frame=frames, points=points, shapes=shapes)


def compare(references: Path, results: Path) -> None:
    """Print the mean distance of landmarks per clip, and r of each coefficient over all clips."""
    import pandas as pd

    from jadfer_cli.labels import ACTION_COLUMNS

    ours, theirs = [], []
    for file in sorted(references.glob("*.npz")):
        google, apart = np.load(file), []
        mesh = pd.read_parquet(results / f"{file.stem}.mesh.parquet").dropna(subset="mesh_px")
        actions = pd.read_parquet(results / f"{file.stem}.actions.parquet").loc[mesh.index]
        points = np.stack(mesh["mesh_px"]).reshape(len(mesh), -1, 3)[:, :, :2]
        values = actions[list(ACTION_COLUMNS)].to_numpy()
        for frame, other, shapes in zip(*(google[k] for k in google.files), strict=True):
            at = np.flatnonzero(mesh["frame"] == frame)
            far = np.linalg.norm(points[at] - other[None, :, :2], axis=2).mean(1)
            far = far / np.ptp(other[:, :2], axis=0).max()  # of the longer side of the mesh
            if len(at) and far.min() < 0.3:  # the same face
                apart.append(far.min())
                ours.append(values[at[far.argmin()]])
                theirs.append(shapes)
        print(f"{file.stem:20s} {len(apart):4d} faces, landmarks {np.mean(apart):.4f} apart")
    a, b = np.array(ours), np.array(theirs)
    r = {name: np.corrcoef(a[:, i], b[:, i])[0, 1] for i, name in enumerate(ACTION_COLUMNS)
         if b[:, i].std() >= VARIES}  # fmt: skip
    for name, value in sorted(r.items(), key=lambda item: item[1]):
        print(f"{name:28s} r {value:.3f}")
    print(f"{sum(v > 0.95 for v in r.values())} of {len(r)} above 0.95, {len(a)} faces")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("reference", "compare"))
    parser.add_argument("paths", nargs="+")
    parser.add_argument("-o", "--out", type=Path, default=Path("ref"))
    given = parser.parse_args()
    if given.what == "reference":
        reference(given.paths[0], given.paths[1:], given.out)
    else:
        compare(*map(Path, given.paths))
