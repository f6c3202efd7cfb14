"""Figures of a classifier on a labelled set, by protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.expression.checkpoint import LABELS
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
    the softmax, so that a set without contempt is not scored against it.
    """
    which, classes = faces.protocols[protocol]
    known = np.array(faces.expressions)
    return softmax(logits[which][:, known], temperature), np.searchsorted(known, classes)


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
        **_of_counts(counts),
        "accuracy_among_all": _accuracy_among_all(logits, faces, protocol),
        "ece": expected_calibration_error(p, classes),
        "recall": {labels[i]: float(recall[i]) for i in np.flatnonzero(counts.sum(1))},
        "labels": labels,
        "confusion": counts.tolist(),
    }


def _accuracy_among_all(logits: npt.NDArray[np.floating], faces: FaceSet, protocol: str) -> float:
    which, classes = faces.protocols[protocol]
    return float((logits[which].argmax(1) == classes).mean()) if len(which) else 0.0


def _of_counts(counts: npt.NDArray[np.intp]) -> dict[str, float]:
    """Accuracy, and recall and F1 averaged over the classes that occur."""
    hits, true, guessed = np.diag(counts), counts.sum(1), counts.sum(0)
    present = true > 0
    return {
        "accuracy": float(hits.sum() / max(counts.sum(), 1)),
        "mean_class_recall": float((hits[present] / true[present]).mean()),
        "macro_f1": float((2 * hits[present] / (true[present] + guessed[present])).mean()),
    }


def intervals(
    logits: npt.NDArray[np.floating],
    faces: FaceSet,
    protocol: str,
    temperature: float = 1.0,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Computes 95 % percentile bootstrap intervals over images (Efron and Tibshirani 1993, ch. 13).

    They show the effect of the choice of test images, not of differences between training runs.
    Resampling increases the calibration error, a mean of absolute gaps: its interval is shifted
    by the mean excess of the resamples over the estimate.

    Args:
        logits: (n, K), of all images of the set.
        faces: The set.
        protocol: One of `faces.protocols`.
        temperature: Divides the logits.
        draws: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Low and high end of each of INTERVALS.
    """
    p, classes = scored(logits, faces, protocol, temperature)
    guesses, k, n = p.argmax(1), len(faces.expressions), len(classes)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in INTERVALS}
    for _ in range(draws):
        index = rng.integers(0, n, n)
        drawn = _of_counts(confusion(classes[index], guesses[index], k))
        drawn["ece"] = expected_calibration_error(p[index], classes[index])
        for name in INTERVALS:
            found[name].append(drawn[name])
    ends = {name: np.percentile(values, (2.5, 97.5)) for name, values in found.items()}
    excess = float(np.mean(found["ece"])) - expected_calibration_error(p, classes)
    ends["ece"] = np.maximum(ends["ece"] - excess, 0)
    return {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def selection_figures(logits: npt.NDArray[np.floating], faces: FaceSet) -> dict[str, float]:
    """Computes accuracy and mean recall by protocol, and the "score" that chooses the epoch.

    The score is accuracy + 0.25 x mean class recall on the main protocol, so that rare
    expressions count.
    """
    result = {}
    for protocol in faces.protocols:
        found = figures(logits, faces, protocol)
        result[f"{protocol}_accuracy"] = found["accuracy"]
        result[f"{protocol}_recall"] = found["mean_class_recall"]
    main = faces.main_protocol
    result["score"] = result[f"{main}_accuracy"] + 0.25 * result[f"{main}_recall"]
    return result
