"""How often a degraded picture changes the label of a face, which the rule for `usable` rests on.

Run:  python tests/bench/usable.py --press press_faces.zip --labels press_faces.csv \
          --clips CLIPS [--photos 400] [--untouched 10000] [--step 8] [-o faces.csv]

The whole picture is degraded before the face is detected in it, as it would be in a video:

- photographs: JPEG, motion blur, darkness, downscaling; the label of the untouched picture and the
  label of the person who annotated it are both compared;
- clips: each clip is encoded again by x264 at several qualities, at its size and at half its size,
  and every `--step`-th frame is compared with the same frame of the clip;
- pose: all untouched photographs, grouped by the angles that `quality` measures. There is no
  untouched turned face to compare with, so accuracy and the label of the mirrored face are given.

`-o` writes one line per face, with the signs of compression that were tried: block edges, flat
areas, fine detail, and bits per pixel.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces import align, quality
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.geometry import iou
from jadfer_cli.options import FaceOptions, ModelOptions
from jadfer_cli.runtime import settle

CRFS = (18, 23, 28, 32, 36, 40)
JPEG_QUALITIES = (90, 50, 30, 20, 10, 5)
MOTION = (0.1, 0.2, 0.3, 0.5)  # length of the path, in units of the distance between the eyes
LIGHT = (0.4, 0.2, 0.1, 0.05)
_SAVED_EVERY = 100  # records; the whole takes an hour
EYES_PX = (20, 16, 14, 12, 10, 8, 6)


class Judge:
    """Detects, scores and assesses the face of a picture."""

    def __init__(self) -> None:
        runtime = settle(ModelOptions(device="cpu"))
        self.predictor = Predictor(checkpoint.load(), runtime)
        self.detector = load_detector(FaceOptions(detector="centerface"), runtime.threads)
        self.labels = self.predictor.labels

    def face(self, image_rgb: np.ndarray, near: np.ndarray | None = None) -> dict | None:
        """The largest face, or the one that overlaps the box `near`; None if it is not found."""
        faces = self.detector.detect(image_rgb)
        if not len(faces):
            return None
        if near is None:
            best = int(np.prod(faces.boxes_px[:, 2:] - faces.boxes_px[:, :2], axis=1).argmax())
        else:
            overlap = iou(near[None].astype(np.float32), faces.boxes_px)[0]
            best = int(overlap.argmax())
            if overlap[best] < 0.3:
                return None
        one = faces.take(np.array([best]))
        crop = align.crop(image_rgb, one.landmarks_px)
        p = self.predictor.probabilities(np.concatenate([crop, crop[:, :, ::-1]]))
        height, width = image_rgb.shape[:2]
        assessed = quality.assess(crop, one, (width, height))
        return {
            "box": one.boxes_px[0], "landmarks": one.landmarks_px[0],
            "label": self.labels[int(p[0].argmax())],
            "p_max": float(p[0].max()), "mirrored": self.labels[int(p[1].argmax())],
            "eyes_px": float(assessed.interocular_px[0]), "blur": float(assessed.blur[0]),
            "yaw": float(assessed.yaw_deg[0]), "pitch": float(assessed.pitch_deg[0]),
            "score": float(one.scores[0]), "usable": bool(assessed.usable[0]),
            **signs(image_rgb, one.boxes_px[0]),
        }  # fmt: skip


def signs(image_rgb: np.ndarray, box: np.ndarray) -> dict[str, float]:
    """Signs of compression inside a face's box, in pixels of the picture."""
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    x1, y1, x2, y2 = (int(max(v, 0)) for v in box)
    steps = np.abs(np.diff(grey, axis=1))[y1:y2, x1 : max(x2 - 1, x1 + 1)]
    down = np.abs(np.diff(grey, axis=0))[y1 : max(y2 - 1, y1 + 1), x1:x2]
    if not steps.size or not down.size:
        return {"blocks": np.nan, "flat": np.nan, "detail": np.nan}
    edge_x = (np.arange(x1, x1 + steps.shape[1]) + 1) % 8 == 0
    edge_y = (np.arange(y1, y1 + down.shape[0]) + 1) % 8 == 0
    at = np.concatenate([steps[:, edge_x].ravel(), down[edge_y].ravel()])
    between = np.concatenate([steps[:, ~edge_x].ravel(), down[~edge_y].ravel()])
    face = grey[y1:y2, x1:x2]
    return {
        "blocks": float(at.mean() / max(between.mean(), 1e-3)) if at.size else np.nan,
        "flat": float((steps < 0.5).mean()),
        "detail": float(np.abs(cv2.Laplacian(face, cv2.CV_32F)).mean() / max(face.std(), 1e-3)),
    }


def degraded_photos(image: np.ndarray, eyes_px: float) -> Iterator[tuple]:
    """Yields kind, level, picture, scale and bits per pixel of each degradation of a photograph."""
    for q in JPEG_QUALITIES:
        data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, q])[1]
        bits = 8 * len(data) / image[:, :, 0].size
        yield "jpeg", q, cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].copy(), 1.0, bits
    for length in MOTION:
        n = 2 * max(round(length * eyes_px / 2), 0) + 1
        path = np.zeros((n, n), np.float32)
        path[n // 2] = 1 / n
        yield "motion", length, cv2.filter2D(image, -1, path), 1.0, np.nan
    for gain in LIGHT:
        yield "light", gain, (image * np.float32(gain)).round().astype(np.uint8), 1.0, np.nan
    for px in EYES_PX:
        scale = px / eyes_px
        if scale < 1:
            size = [max(round(side * scale), 8) for side in image.shape[1::-1]]
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            yield "eyes", px, small, scale, np.nan


def photos(judge: Judge, archive: Path, table: pd.DataFrame, n: int) -> Iterator[dict]:
    """One record per photograph and degradation; the first `n` photographs are degraded."""
    with zipfile.ZipFile(archive) as files:
        for i, (name, truth) in enumerate(zip(table["file"], table["label"], strict=True)):
            image = cv2.imdecode(np.frombuffer(files.read(name), np.uint8), cv2.IMREAD_COLOR)
            image = image[:, :, ::-1].copy()
            plain = judge.face(image)
            base = {"source": "photo", "name": name, "truth": truth}
            if plain is None:
                continue
            base["before"] = plain["label"]
            yield base | {"kind": "none", "level": 0} | plain
            if i >= n:
                continue
            for kind, level, worse, scale, bits in degraded_photos(image, plain["eyes_px"]):
                found = judge.face(worse, plain["box"] * scale)
                yield base | {"kind": kind, "level": level, "bits": bits} | (found or {})


def decoded(file) -> Iterator[np.ndarray]:
    with av.open(file) as source:
        for frame in source.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def encoded(frames: list[np.ndarray], crf: int, fps: Fraction) -> tuple[list[np.ndarray], float]:
    """The frames after x264, and the bits per pixel of the stream."""
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=fps, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = np.ascontiguousarray(frame[:height, :width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    bits = 8 * len(target.getvalue()) / (len(frames) * width * height)
    target.seek(0)
    return list(decoded(target)), bits


def clips(judge: Judge, folder: Path, step: int) -> Iterator[dict]:
    """One record per examined frame and quality of each clip; the largest face of a frame."""
    for path in sorted(folder.iterdir()):
        frames = list(decoded(str(path)))
        with av.open(str(path)) as source:
            fps = source.streams.video[0].average_rate or Fraction(25)
        plain = {i: judge.face(frames[i]) for i in range(0, len(frames), step)}
        plain = {i: face for i, face in plain.items() if face is not None}
        for i, face in plain.items():
            yield {"source": "clip", "name": path.stem, "kind": "none", "level": 0, "frame": i,
                   "before": face["label"]} | face  # fmt: skip
        for scale in (1.0, 0.5) if plain else ():
            sized = frames
            if scale < 1:
                sized = [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                         for f in frames]  # fmt: skip
            for crf in CRFS:
                after, bits = encoded(sized, crf, Fraction(fps))
                for i, before in plain.items():
                    found = judge.face(after[i], before["box"] * scale)
                    yield {"source": "clip", "name": path.stem, "kind": f"x264 {scale:g}",
                           "level": crf, "frame": i, "before": before["label"],
                           "bits": bits} | (found or {})  # fmt: skip


def share(hits: pd.Series) -> str:
    """A share in per cent with its 95 % interval (normal approximation)."""
    n, p = len(hits), hits.mean() if len(hits) else np.nan
    return f"{100 * p:5.1f} +- {196 * (p * (1 - p) / max(n, 1)) ** 0.5:4.1f}"


def report(rows: pd.DataFrame) -> None:
    """Prints the tables."""
    rows["found"] = rows["label"].notna()
    rows["changed"] = rows["label"] != rows["before"]
    rows["right"] = rows["label"] == rows.get("truth")
    found = rows[rows["found"]].astype({"usable": bool})
    print("\nLabels that change when the picture is degraded, % of the faces found")
    keys = ["source", "kind", "level"]
    for (source, kind, level), group in rows[rows["kind"] != "none"].groupby(keys):
        seen = group[group["found"]].astype({"usable": bool})
        usable = seen[seen["usable"]]
        print(
            f"{source:6}{kind:10}{level:6g}  n {len(group):5}",
            f"not found {1 - group['found'].mean():4.0%}",
            f"changed {share(seen['changed'])}",
            f"usable {len(usable) / max(len(seen), 1):4.0%}",
            f"changed of usable {share(usable['changed'])}",
            f"right {seen['right'].mean():.3f}",
            sep="  ",
        )
    is_compressed = found["kind"].str.startswith(("x264", "jpeg"))
    print("\nSigns of compression: changed labels by fifths of each sign, usable faces only")
    for source, group in found[is_compressed & found["usable"]].groupby("source"):
        for name in ("blocks", "flat", "detail", "bits", "blur", "eyes_px", "score", "p_max"):
            fifths = pd.qcut(group[name], 5, duplicates="drop")
            cells = [
                f"{cell.left:.3g} to {cell.right:.3g}: {100 * part['changed'].mean():.1f}"
                for cell, part in group.groupby(fifths, observed=True)
            ]
            print(f"{source:6}{name:8}", *cells, f"(n {len(group)})", sep="  ")
    pose(found[(found["source"] == "photo") & (found["kind"] == "none")])


def pose(plain: pd.DataFrame) -> None:
    """Prints accuracy by angle; the mirrored face should get the same label."""
    print("\nPose: untouched photographs")
    edges = (0, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 90)
    for name in ("yaw", "pitch"):
        for low, high in pairwise(edges):
            part = plain[plain[name].abs().between(low, high, inclusive="left")]
            print(
                f"|{name}| {low}-{high}: n {len(part):5}  right {share(part['right'])}",
                f"mirrored differs {share(part['mirrored'] != part['label'])}",
                sep="  ",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--press", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--photos", type=int, default=400, help="how many are degraded")
    parser.add_argument("--untouched", type=int, default=10_000, help="how many are looked at")
    parser.add_argument("--step", type=int, default=8)
    parser.add_argument("--faces", type=Path, help="report on the faces of an earlier run")
    parser.add_argument("-o", dest="out", type=Path)
    a = parser.parse_args()
    if a.faces:
        report(pd.read_csv(a.faces))
        return
    judge = Judge()
    rows = []
    sources = [clips(judge, a.clips, a.step)] if a.clips else []
    if a.press:
        table = pd.read_csv(a.labels)
        table = table[table["source"] == "press"].sample(frac=1, random_state=0)
        table["turn"] = table.groupby("label").cumcount()  # rare labels come early
        table = table.sort_values(["turn", "label"], kind="stable").head(a.untouched)
        sources.append(photos(judge, a.press, table, a.photos))
    for record in chain(*sources):
        rows.append(record)
        if a.out and len(rows) % _SAVED_EVERY == 0:
            pd.DataFrame(rows).drop(columns=["box", "landmarks"]).to_csv(a.out, index=False)
    faces = pd.DataFrame(rows).drop(columns=["box", "landmarks"])
    if a.out:
        faces.to_csv(a.out, index=False)
    report(faces)


if __name__ == "__main__":
    main()
