"""Figures of a classifier on a labelled set, by protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.labels import LABELS
from jadfer_cli.training.calibrate import expected_calibration_error, softmax
from jadfer_cli.training.faceset import FaceSet

INTERVALS = ("accuracy", "mean_class_recall", "macro_f1", "ece")


def confusion(
    classes: npt.NDArray[np.intp], guesses: npt.NDArray[np.intp], k: int
) -> npt.NDArray[np.intp]:
    """Counts (K, K): row the true class, column the guess."""
    return np.bincount(classes * k + guesses, minlength=k * k).reshape(k, k)


def scored(
    logits: npt.NDArray[np.floating], faces: FaceSet, protocol: str, temperature: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Probabilities (m, K') and classes (m,) of the images that count.

    K' is the number of expressions that the data set can name; the others are removed before
    the softmax, so that a set without contempt is not scored against it. An image whose winners
    tie has the class that the model prefers, if it is one of them.
    """
    which, classes, tied = faces.protocols[protocol]
    known = np.array(faces.expressions)
    p = softmax(logits[which][:, known], temperature)
    own = np.searchsorted(known, classes)
    if tied is None:
        return p, own
    guesses = p.argmax(1)
    among_winners = tied[np.arange(len(which)), known[guesses]]
    return p, np.where(among_winners, guesses, own)


def n_tied(faces: FaceSet, protocol: str) -> int:
    """The number of images that count and have several winners."""
    tied = faces.protocols[protocol].tied
    return 0 if tied is None else int((tied.sum(1) > 1).sum())


def untied(faces: FaceSet, protocol: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], str]:
    """The images with one winner, which a temperature is fitted on.

    Returns:
        Their indices (m,), their classes (m,), and ", without ties" if others were left out.
    """
    which, classes, tied = faces.protocols[protocol]
    if not n_tied(faces, protocol) or tied is None:
        return which, classes, ""
    alone = tied.sum(1) <= 1
    return which[alone], classes[alone], ", without ties"


def figures(
    logits: npt.NDArray[np.floating], faces: FaceSet, protocol: str, temperature: float = 1.0
) -> dict[str, Any]:
    """Computes accuracy, mean class recall, macro F1 and calibration error under a protocol.

    Args:
        logits: (n, K), of all images of the set.
        faces: The set.
        protocol: One of `faces.protocols`.
        temperature: Divides the logits.

    Returns:
        JSON-ready figures with the protocol's name, n and the confusion counts, and the accuracy
        among all K expressions, as `annotate` chooses.
    """
    p, classes = scored(logits, faces, protocol, temperature)
    labels = [LABELS[i] for i in faces.expressions]
    counts = confusion(classes, p.argmax(1), len(labels))
    recall = np.diag(counts) / np.maximum(counts.sum(1), 1)
    return {
        "data": faces.name,
        "protocol": protocol,
        "n": len(classes),
        "n_tied": n_tied(faces, protocol),
        **_of_counts(counts),
        "accuracy_among_all": _accuracy_among_all(logits, faces, protocol),
        "ece": expected_calibration_error(p, classes),
        "recall": {labels[i]: float(recall[i]) for i in np.flatnonzero(counts.sum(1))},
        "labels": labels,
        "confusion": counts.tolist(),
    }


def _accuracy_among_all(logits: npt.NDArray[np.floating], faces: FaceSet, protocol: str) -> float:
    which, classes, tied = faces.protocols[protocol]
    if not len(which):
        return 0.0
    guesses = logits[which].argmax(1)
    right = guesses == classes
    if tied is not None:
        right |= tied[np.arange(len(which)), guesses]
    return float(right.mean())


def _of_counts(counts: npt.NDArray[np.intp]) -> dict[str, float]:
    """Accuracy, and recall and F1 averaged over the classes that occur."""
    hits, true, guessed = np.diag(counts), counts.sum(1), counts.sum(0)
    present = true > 0
    return {
        "accuracy": float(hits.sum() / max(counts.sum(), 1)),
        "mean_class_recall": _mean(hits[present] / true[present]),
        "macro_f1": _mean(2 * hits[present] / (true[present] + guessed[present])),
    }


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def intervals(
    logits: npt.NDArray[np.floating],
    faces: FaceSet,
    protocol: str,
    temperature: float = 1.0,
    *,
    clusters: npt.NDArray[np.intp] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Computes 95 % percentile bootstrap intervals (Efron and Tibshirani 1993, ch. 13).

    Clusters of images are drawn, so that copies of one photograph count as one draw. The intervals
    show the effect of the choice of test images, not of differences between training runs.
    Resampling increases the calibration error, a mean of absolute gaps: its interval is shifted
    by the mean excess of the resamples over the estimate.

    Args:
        logits: (n, K), of all images of the set.
        faces: The set.
        protocol: One of `faces.protocols`.
        temperature: Divides the logits.
        clusters: (n,), the cluster of each image of the set; None if each is its own.
        draws: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Low and high end of each of INTERVALS.
    """
    p, classes = scored(logits, faces, protocol, temperature)
    guesses, k = p.argmax(1), len(faces.expressions)
    which = faces.protocols[protocol].which
    _, cluster = np.unique(which if clusters is None else clusters[which], return_inverse=True)
    n_clusters = int(cluster.max(initial=0)) + 1
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in INTERVALS}
    for _ in range(draws):
        drawn_clusters = rng.integers(0, n_clusters, n_clusters)
        times = np.bincount(drawn_clusters, minlength=n_clusters)
        index = np.repeat(np.arange(len(cluster)), times[cluster])
        drawn = _of_counts(confusion(classes[index], guesses[index], k))
        drawn["ece"] = expected_calibration_error(p[index], classes[index])
        for name in INTERVALS:
            found[name].append(drawn[name])
    ends = {name: np.percentile(values, (2.5, 97.5)) for name, values in found.items()}
    excess = float(np.mean(found["ece"])) - expected_calibration_error(p, classes)
    ends["ece"] = np.maximum(ends["ece"] - excess, 0)
    return {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def pooled_recall(counts: npt.NDArray[np.intp]) -> float:
    """Mean class recall that no small class can swing: each recall is shrunk to the accuracy.

    To each of the K classes that occur, m = n / (8 K) images are added that are right as often as
    all n images. In accuracy + 0.25 x this mean, one image of class k weighs about
    1 + 0.25 n / (K (n_k + m)) times 1 / n, which is less than 3, however rare the class. With the
    mean of plain recalls, a single contempt image of FER+ validation weighs as much as eight
    neutral ones.

    Args:
        counts: (K, K), row the true class, column the guess.
    """
    hits, true = np.diag(counts), counts.sum(1)
    present = true > 0
    if not present.any():
        return 0.0
    m = true.sum() / (8 * present.sum())
    accuracy = hits.sum() / true.sum()
    return _mean((hits[present] + m * accuracy) / (true[present] + m))


def selection_figures(logits: npt.NDArray[np.floating], faces: FaceSet) -> dict[str, float]:
    """Computes accuracy and mean recall by protocol, and the "score" that chooses the epoch.

    The score is accuracy + 0.25 x pooled recall on the main protocol, so that rare expressions
    count, but no image of a rare one counts three times as much as another image. Of joined sets
    it is the mean of their scores by `choice_weights`.
    """
    if faces.parts:
        return _joined_figures(logits, faces)
    result = {}
    for protocol in faces.protocols:
        found = figures(logits, faces, protocol)
        result[f"{protocol}_accuracy"] = found["accuracy"]
        result[f"{protocol}_recall"] = found["mean_class_recall"]
        if protocol == faces.main_protocol:
            pooled = pooled_recall(np.array(found["confusion"]))
    result["score"] = result[f"{faces.main_protocol}_accuracy"] + 0.25 * pooled
    return result


def split_rows(
    rows: npt.NDArray[np.floating], faces: FaceSet
) -> Iterator[tuple[str, FaceSet, npt.NDArray[np.floating]]]:
    """Name, faces and rows of each of the joined sets, or of the one set."""
    start = 0
    for name, part in (faces.parts or {faces.name: faces}).items():
        yield name, part, rows[start : start + len(part)]
        start += len(part)


def _joined_figures(logits: npt.NDArray[np.floating], faces: FaceSet) -> dict[str, float]:
    result: dict[str, float] = {}
    scores = []
    for name, part, own in split_rows(logits, faces):
        found = selection_figures(own, part)
        scores.append(found.pop("score"))
        result |= {f"{name}_{key}": value for key, value in found.items()}
    weights = None if faces.mixture is None else faces.mixture.choice_weights
    if weights is not None and not weights.sum():
        weights = None
    result["score"] = float(np.average(scores, weights=weights))
    return result
