"""Landmarks and coefficients of `annotate --actions --mesh` against Google's own package.

The reference runs in an environment of its own, with mediapipe and av; it tracks one face:

    python tests/bench/actions_reference.py reference face_landmarker.task clip.mp4 ... -o ref/
    jadfer annotate clip.mp4 ... -o results/ --actions --mesh
    python tests/bench/actions_reference.py compare ref/ results/
    python tests/bench/actions_reference.py control ref/ face_landmarker.task clip.mp4 ...

`control` runs jadfer's code with three habits of Google's, to show that nothing else differs: the
crop follows the mesh of the frame before, pixel centres lie at whole numbers, and landmarks are
smoothed over time (One Euro filter, Casiez et al. 2012; constants of MediaPipe's
face_landmarks_detector_graph.cc).
"""

import argparse
from pathlib import Path

import numpy as np

VARIES = 0.05  # SD from which a coefficient counts as varying
MIN_CUTOFF, BETA, DERIVATIVE_CUTOFF = 0.05, 80.0, 1.0


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
        frames, times, points, shapes = [], [], [], []
        with vision.FaceLandmarker.create_from_options(options) as landmarker, av.open(clip) as it:
            for index, frame in enumerate(it.decode(video=0)):
                image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
                height, width = image.shape[:2]
                found = landmarker.detect_for_video(
                    mp.Image(image_format=mp.ImageFormat.SRGB, data=image), round(frame.time * 1000)
                )
                for face, own in zip(found.face_landmarks, found.face_blendshapes, strict=True):
                    frames.append(index)
                    times.append(round(frame.time * 1000) / 1000)
                    points.append([(p.x * width, p.y * height) for p in face])
                    shapes.append([each.score for each in own])
        kept = {"frame": frames, "time_s": times, "points": points, "shapes": shapes}
        np.savez(out / f"{Path(clip).stem}.npz", **kept)


def compare(references: Path, results: Path) -> None:
    """Print the mean distance of landmarks per clip, and r of each coefficient over all clips."""
    import pandas as pd

    from jadfer_cli.labels import ACTION_COLUMNS

    ours, theirs = [], []
    for file in sorted(references.glob("*.npz")):
        google, apart = np.load(file), []
        if not (results / f"{file.stem}.mesh.parquet").exists():
            print(f"{file.stem}: no mesh in {results}")
            continue
        mesh = pd.read_parquet(results / f"{file.stem}.mesh.parquet").dropna(subset="mesh_px")
        actions = pd.read_parquet(results / f"{file.stem}.actions.parquet").loc[mesh.index]
        points = np.stack(mesh["mesh_px"]).reshape(len(mesh), -1, 3)[:, :, :2]
        values = actions[list(ACTION_COLUMNS)].to_numpy()
        for i in followed(google["frame"]):
            at = np.flatnonzero(mesh["frame"] == google["frame"][i])
            far = [distance(each, google["points"][i]) for each in points[at]]
            if len(at) and min(far) < 0.3:  # the same face
                apart.append(min(far))
                ours.append(values[at[int(np.argmin(far))]])
                theirs.append(google["shapes"][i])
        print(f"{file.stem:20s} {len(apart):4d} faces, landmarks {np.mean(apart):.4f} apart")
    print_correlations(ours, theirs)


def control(references: Path, model: Path, clips: list[str]) -> None:
    """Print the same for jadfer's graphs, with Google's crops and Google's filter."""
    import av

    from jadfer_cli.faces import align, landmarker

    own_warp = align.warp

    def warp(image_rgb, matrices, size_px):
        shifted = np.array(matrices, np.float64)  # centres at whole numbers, not at halves
        shifted[:, :, 2] -= 0.5 * shifted[:, :, :2].sum(2) - 0.5
        return own_warp(image_rgb, shifted, size_px)

    align.warp = warp
    finder, ours, theirs = landmarker.Landmarker(model), [], []
    for clip in clips:
        google, apart = np.load(references / f"{Path(clip).stem}.npz"), []
        at, tracked = {int(k): i for i, k in enumerate(google["frame"])}, followed(google["frame"])
        smooth, mesh = OneEuro(), np.empty((0, 2))
        with av.open(clip) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if (i := at.get(index)) is None:
                    continue
                if i not in tracked:  # Google has just detected the face: begin where it begins
                    mesh, smooth = google["points"][i], OneEuro()
                    smooth(mesh, google["time_s"][i])
                    continue
                image = frame.to_ndarray(format="rgb24")
                mesh, _ = finder._points(image, landmarker.square_of_mesh(mesh))
                mesh = mesh[:, :2]
                smoothed = smooth(mesh, google["time_s"][i])
                apart.append(distance(smoothed, google["points"][i]))
                ours.append(finder._blendshapes(smoothed))
                theirs.append(google["shapes"][i])
        print(f"{Path(clip).stem:20s} {len(apart):4d} faces, landmarks {np.mean(apart):.4f} apart")
    print_correlations(ours, theirs)


class OneEuro:
    """The filter of landmarks: slow movements are smoothed more than fast ones."""

    def __init__(self):
        self.time_s = None

    def __call__(self, points, time_s):
        """Return the smoothed points (478, 2) at a later time."""
        if self.time_s is None:
            self.speed, self.smoothed = np.zeros_like(points), points
        else:
            rate = 1 / (time_s - self.time_s)
            speed = (points - self.raw) * rate / np.ptp(points, axis=0).mean()  # in face sizes
            self.speed = mixed(self.speed, speed, DERIVATIVE_CUTOFF, rate)
            cutoff = MIN_CUTOFF + BETA * np.abs(self.speed)
            self.smoothed = mixed(self.smoothed, points, cutoff, rate)
        self.time_s, self.raw = time_s, points
        return self.smoothed


def mixed(old, new, cutoff, rate):
    """One step of a low-pass filter with this cutoff frequency."""
    alpha = 1 / (1 + rate / (2 * np.pi * cutoff))
    return alpha * new + (1 - alpha) * old


def followed(frames):
    """Positions of the faces that Google had in the frame before, so that it tracked them."""
    return {i for i in range(1, len(frames)) if frames[i] == frames[i - 1] + 1}


def distance(points, reference):
    """Mean distance of landmarks, as a part of the longer side of the reference's mesh."""
    return np.linalg.norm(points - reference, axis=1).mean() / np.ptp(reference, axis=0).max()


def print_correlations(ours, theirs):
    """Print r of each coefficient that varies."""
    from jadfer_cli.labels import ACTION_COLUMNS

    a, b = np.array(ours), np.array(theirs)
    r = {name: np.corrcoef(a[:, i], b[:, i])[0, 1] for i, name in enumerate(ACTION_COLUMNS)
         if b[:, i].std() >= VARIES}  # fmt: skip
    for name, value in sorted(r.items(), key=lambda item: item[1]):
        print(f"{name:28s} r {value:.3f}")
    print(f"{sum(v > 0.95 for v in r.values())} of {len(r)} above 0.95, {len(a)} faces")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("reference", "compare", "control"))
    parser.add_argument("paths", nargs="+")
    parser.add_argument("-o", "--out", type=Path, default=Path("ref"))
    given = parser.parse_args()
    if given.what == "reference":
        reference(given.paths[0], given.paths[1:], given.out)
    elif given.what == "control":
        control(Path(given.paths[0]), Path(given.paths[1]), given.paths[2:])
    else:
        compare(*map(Path, given.paths))
