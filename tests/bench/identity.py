"""How often a recogniser confuses people, and how often it misses one: press photographs in pairs.

    python tests/bench/identity.py press_faces.zip press_faces.csv --recogniser FILE

Pictures of named persons, two to six of each, are paired at random: 5,000 pairs of one person and
5,000 pairs of two. For each threshold this gives the share of false matches and of missed ones
(ROC). The other lines show the false matches over all pairs of two persons, which are millions,
both shares for mean embeddings of three pictures, and for a sharp reference with a smaller or
blurred probe.

Many of these people are famous, and famous people were in the sets on which recognisers were
trained. So expect more errors with people of your own.
"""

import argparse
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from jadfer_cli.faces import align
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.quality import perceptual_blur
from jadfer_cli.faces.recognise import Recogniser, unit
from jadfer_cli.options import FaceOptions

MAX_PER_PERSON = 6
N_PAIRS = 5_000  # of one person, and as many of two
N_DEGRADED = 300  # probes that are made smaller or blurred
RATES = (0.1, 0.01, 0.001, 0.0001)
ROUND_THRESHOLDS = (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55)
INTEROCULAR_PX = (8, 10, 12, 15, 20, 25, 30)
BLUR_SIGMA = (0.02, 0.04, 0.06, 0.08)  # of the distance between the eyes


def pictures(archive: Path, table: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """RGB pictures of the press part, and the number of the person in each."""
    rows = pd.read_csv(table)
    rows = rows[rows["source"] == "press"].sort_values("file")
    rows = rows[rows.groupby("person").cumcount() < MAX_PER_PERSON]
    rows = rows[rows.groupby("person")["file"].transform("size") > 1]
    with zipfile.ZipFile(archive) as files:
        found = [
            cv2.imdecode(np.frombuffer(files.read(name), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            for name in rows["file"]
        ]
    return found, pd.factorize(rows["person"])[0]


def landmarks_of(detector, image: np.ndarray) -> np.ndarray | None:
    """Landmarks (5, 2) of the face in the middle; None without a face."""
    faces = detector.detect(np.ascontiguousarray(image))
    if not len(faces):
        return None
    centre = np.array(image.shape[1::-1]) / 2
    distance = np.linalg.norm((faces.boxes_px[:, :2] + faces.boxes_px[:, 2:]) / 2 - centre, axis=1)
    return faces.landmarks_px[int(distance.argmin())]


def smaller(image: np.ndarray, points: np.ndarray, interocular_px: float):
    """The picture and its landmarks, shrunk so that the eyes are that far apart."""
    factor = interocular_px / max(float(np.linalg.norm(points[1] - points[0])), 1.0)
    size = [max(round(side * factor), 1) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), points * factor


def blurred(image: np.ndarray, points: np.ndarray, share: float):
    """The picture under a Gaussian blur whose sigma is a share of the distance of the eyes."""
    sigma = share * float(np.linalg.norm(points[1] - points[0]))
    return cv2.GaussianBlur(image, (0, 0), sigma), points


def pairs(person: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of indices (N, 2): of one person, and of two."""
    same = [(i, j) for k in np.unique(person)
            for at in [np.flatnonzero(person == k)]
            for n, i in enumerate(at) for j in at[n + 1 :]]  # fmt: skip
    same = np.array(same)
    same = same[rng.permutation(len(same))[:N_PAIRS]]
    other = rng.integers(0, len(person), (4 * N_PAIRS, 2))
    other = other[person[other[:, 0]] != person[other[:, 1]]][:N_PAIRS]
    return same, other


def of_means(vectors: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of mean embeddings of three pictures each: of one person, and of two."""
    full = [at for k in np.unique(person)
            for at in [np.flatnonzero(person == k)] if len(at) == MAX_PER_PERSON]  # fmt: skip
    half = MAX_PER_PERSON // 2
    one, two = (unit(np.stack([vectors[at[part]].mean(0) for at in full]))
                for part in (slice(half), slice(half, None)))  # fmt: skip
    cosine = one @ two.T
    return np.diag(cosine), cosine[~np.eye(len(full), dtype=bool)]


def threshold_at(rate: float, others: np.ndarray) -> float:
    """The smallest similarity that at most this share of the pairs of two persons reach."""
    ordered = np.sort(others)[::-1]
    return float(np.nextafter(ordered[int(rate * len(ordered))], 2))


def report(name: str, same: np.ndarray, others: np.ndarray, thresholds: list[float]) -> None:
    for threshold in thresholds:
        false, missed = (others >= threshold).mean(), (same < threshold).mean()
        print(f"{name:32} {threshold:9.3f} {false:13.4%} {missed:8.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--recogniser", required=True)
    parser.add_argument("--detector", default="centerface")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--roc", type=Path, help="Write the curve, a CSV file.")
    given = parser.parse_args()
    detector = load_detector(
        FaceOptions(detector=given.detector, detection_size=192), given.threads
    )
    recogniser = Recogniser(given.recogniser, given.threads)
    images, person = pictures(given.archive, given.table)
    points = [landmarks_of(detector, image) for image in images]
    seen = [i for i, p in enumerate(points) if p is not None]
    print(f"{len(images):,} pictures, a face in {len(seen):,}", file=sys.stderr)
    images, points, person = [images[i] for i in seen], [points[i] for i in seen], person[seen]

    def vectors(which, change=lambda image, at: (image, at)) -> np.ndarray:
        changed = (change(images[i], points[i]) for i in which)
        return np.concatenate([recogniser.embed(np.ascontiguousarray(image), at[None])
                               for image, at in changed])  # fmt: skip

    sharp = vectors(range(len(images)))
    same, other = pairs(person, np.random.default_rng(1))
    print(f"{len(np.unique(person)):,} persons; {len(same):,} pairs of one, {len(other):,} of two")
    of_one, of_two = ((sharp[p[:, 0]] * sharp[p[:, 1]]).sum(1) for p in (same, other))
    print(f"{'probe':32} threshold false matches   missed")
    chosen = [threshold_at(rate, of_two) for rate in RATES]
    report("5,000 pairs each", of_one, of_two, chosen)
    cosine = sharp @ sharp.T
    upper = np.triu_indices(len(sharp), 1)
    all_two = cosine[upper][(person[:, None] != person[None])[upper]]
    every = [threshold_at(rate, all_two) for rate in RATES]
    report(f"{len(all_two):,} pairs of two", of_one, all_two, [*every, *ROUND_THRESHOLDS])
    at = every[RATES.index(0.001)]
    report("means of three pictures", *of_means(sharp, person), list(ROUND_THRESHOLDS))
    some = same[:N_DEGRADED]
    changes = {f"eyes {px} px apart": lambda i, p, px=px: smaller(i, p, px)
               for px in INTEROCULAR_PX}  # fmt: skip
    changes |= {f"blurred, sigma {share}": lambda i, p, share=share: blurred(i, p, share)
                for share in BLUR_SIGMA}  # fmt: skip
    for name, change in changes.items():
        probe = vectors(some[:, 1], change)
        cosine = probe @ sharp.T
        two = cosine[person[some[:, 1], None] != person[None]]
        report(name, (sharp[some[:, 0]] * probe).sum(1), two, [at])
        if name.startswith("blurred"):
            crops = [align.crop(i, p[None])[0]
                     for i, p in (change(images[i], points[i]) for i in some[:, 1])]  # fmt: skip
            print(f"  column blur: {np.median(perceptual_blur(np.stack(crops))):.2f} in the middle")
    if given.roc:
        grid = np.round(np.arange(-0.2, 1.001, 0.01), 2)
        pd.DataFrame({
            "threshold": grid,
            "false_match_rate": [(of_two >= t).mean() for t in grid],
            "false_non_match_rate": [(of_one < t).mean() for t in grid],
        }).to_csv(given.roc, index=False)  # fmt: skip


if __name__ == "__main__":
    main()
