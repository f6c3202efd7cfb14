"""Figures of the model card that `jadfer evaluate` does not print: humans, detection, conditions.

Scores are those that `annotate` writes by default. All functions take arrays and give JSON-ready
tables; `evidence.py` fills them and `card.py` prints them.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from scipy.stats import rankdata

from jadfer_cli.faces import quality
from jadfer_cli.labels import LABELS

Array = np.ndarray[Any, Any]
HALVES = 20
_RESAMPLES = 500
_EYES_OF_CROP = 0.365  # distance between the eyes, of the side of a crop, by the template
EYES_PX, LIGHT, JPEG, MOTION = (24, 16, 12, 8), (0.4, 0.2, 0.1), (40, 20), (0.2, 0.4)


def with_humans(p: Array, votes: Array) -> dict[str, Any]:
    """Agreement of scores (n, K) with raters' votes (n, K + 1), and of raters with each other.

    One rater against the others counts each vote in turn: the winner of the other votes is the
    truth, ties count in part. Distributions are compared by halves of each picture's raters, drawn
    at random: one half with the other, and the scores with the same other half.
    """
    counts = votes[:, :-1].astype(int)
    enough = counts.sum(1) >= 2
    counts, p = counts[enough], p[enough]
    n, top = counts.sum(1), p.argmax(1)
    rows = np.arange(len(p))
    pairs = (counts * (counts - 1)).sum(1) / (n * (n - 1))
    rater = np.zeros(len(p))
    model = np.zeros(len(p))
    for k in range(counts.shape[1]):
        others = counts.copy()
        others[:, k] = np.maximum(others[:, k] - 1, 0)
        wins = others == others.max(1, keepdims=True)
        each = wins / wins.sum(1, keepdims=True) * (counts[:, k] / n)[:, None]
        rater += each[:, k]
        model += each[rows, top]
    return {
        "n": len(p),
        "same_label": {"rater": pairs.mean(), "model": (counts[rows, top] / n).mean()},
        "against_others": {"rater": rater.mean(), "model": model.mean()},
        **_by_halves(p, counts),
    }


def _by_halves(p: Array, counts: Array) -> dict[str, Any]:
    """Total variation distance and correlation with a half of the raters, mean of halves."""
    found: dict[str, list[Array]] = {}
    for seed in range(HALVES):
        rng = np.random.default_rng(seed)
        one = rng.multivariate_hypergeometric  # of one picture at a time
        first = np.stack([one(row, int(row.sum()) // 2) for row in counts])
        second = counts - first
        a, b = (half / half.sum(1, keepdims=True) for half in (first, second))
        for who, shares in (("rater", a), ("model", p)):
            distance = np.abs(shares - b).sum(1).mean() / 2
            r = [_correlation(shares[:, k], b[:, k]) for k in range(p.shape[1])]
            all_r = _correlation(shares.ravel(), b.ravel())
            found.setdefault(who, []).append(np.array([distance, all_r, *r]))
    means = {who: np.mean(each, 0) for who, each in found.items()}
    return {
        "distance": {who: m[0] for who, m in means.items()},
        "correlation": {who: m[1] for who, m in means.items()},
        "correlation_by_class": {
            label: {who: m[2 + k] for who, m in means.items()} for k, label in enumerate(LABELS)
        },
    }


def _correlation(a: Array, b: Array) -> float:
    """Pearson's r; 0 if one does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0


def auc(score: Array, positive: Array) -> float:
    """Area under the ROC curve: how often a face of the class scores above another."""
    n = int(positive.sum())
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def detection(p: Array, classes: Array, least: int = 5) -> dict[str, Any]:
    """By expression: AUC with its interval, and the threshold with the best F1.

    The threshold is found on all faces; its precision and recall are those of thresholds found
    on one half and judged on the other, mean of 20 halves. Rare expressions are left out.
    """
    found = {}
    rng = np.random.default_rng(0)
    for k, label in enumerate(LABELS):
        positive, score = classes == k, p[:, k]
        if positive.sum() < least:
            continue
        draws = []
        for _ in range(_RESAMPLES):
            i = rng.integers(len(score), size=len(score))
            if 0 < positive[i].sum() < len(i):
                draws.append(auc(score[i], positive[i]))
        judged = []
        for seed in range(HALVES):
            half = np.random.default_rng(seed).random(len(score)) < 0.5
            if positive[half].any() and positive[~half].any():
                at = _best_threshold(score[half], positive[half])
                judged.append(_precision_recall(score[~half] >= at, positive[~half]))
        precision, recall = np.mean(judged, 0)
        found[label] = {
            "n": int(positive.sum()), "auc": auc(score, positive),
            "interval": list(np.quantile(draws, (0.025, 0.975))),
            "threshold": _best_threshold(score, positive), "precision": precision, "recall": recall,
        }  # fmt: skip
    return found


def _precision_recall(said: Array, positive: Array) -> tuple[float, float]:
    hits = float((said & positive).sum())
    return hits / max(float(said.sum()), 1), hits / float(positive.sum())


def _best_threshold(score: Array, positive: Array) -> float:
    grid = np.round(np.arange(0.02, 1, 0.02), 2)
    best = [2 * (score[positive] >= t).sum() / ((score >= t).sum() + positive.sum()) for t in grid]
    return float(grid[int(np.argmax(best))])


def conditions(crops: Array) -> Iterator[tuple[str, Array]]:
    """Crops (n, S, S, 3) made worse, with the name of each condition."""
    side = crops.shape[1]
    for px in EYES_PX:
        small = max(round(px / _EYES_OF_CROP), 4)
        if small >= side:  # the crop is no larger
            continue
        yield f"eyes {px} px apart", np.stack([_resized(crop, small) for crop in crops])
    for gain in LIGHT:
        yield f"light x {gain:g}", (crops * np.float32(gain)).round().astype(np.uint8)
    for q in JPEG:
        yield f"JPEG {q}", np.stack([_jpeg(crop, q) for crop in crops])
    for length in MOTION:
        n = 2 * round(length * _EYES_OF_CROP * side / 2) + 1
        path = np.zeros((n, n), np.float32)
        path[n // 2] = 1 / n
        yield f"motion of {length:g} eye distances", np.stack([
            cv2.filter2D(crop, -1, path) for crop in crops
        ])  # fmt: skip


def _resized(crop: Array, side: int) -> Array:
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _jpeg(crop: Array, q: int) -> Array:
    data = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, q])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1]


def as_found(
    crops: Array, landmarks_px: Array, size: tuple[int, int]
) -> dict[str, tuple[Array, tuple[float, ...]]]:
    """What varies in the pictures as they are: values (n,), and the limits of groups.

    Args:
        crops: uint8 (n, S, S, 3).
        landmarks_px: (n, 5, 2); NaN where no face was found.
        size: Width and height of the pictures.
    """
    seen = np.isfinite(landmarks_px).all((1, 2))
    angles = np.full((len(crops), 3), np.nan)
    if seen.any():
        angles[seen] = quality.head_pose(landmarks_px[seen].astype(float), size)
    return {
        "yaw": (np.abs(angles[:, 0]), (0, 10, 20, 30, 999)),
        "pitch": (np.abs(angles[:, 1]), (0, 10, 20, 999)),
        "light": (quality.light(crops)[0], (0, 0.5, 0.7, 999)),
        "blur": (quality.perceptual_blur(crops), (0, 0.35, 0.45, 0.55, 999)),
    }


def grouped(values: Array, limits: tuple[float, ...], right: Array) -> list[dict[str, Any]]:
    """Accuracy by group of a value, with Wilson's 95 % interval."""
    found = []
    for low, high in pairwise(limits):
        inside = (values >= low) & (values < high)
        n = int(inside.sum())
        if n:
            entry = {"from": low, "to": high, "n": n, "accuracy": float(right[inside].mean())}
            found.append(entry | {"interval": wilson(entry["accuracy"], n)})
    return found


def wilson(share: float, n: int) -> list[float]:
    """Wilson's 95 % interval of a share of n."""
    z2 = 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return [float(middle - half), float(middle + half)]
