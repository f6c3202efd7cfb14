"""Figures of a classifier on a labelled set, by protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.expression.checkpoint import LABELS
from jadfer_cli.training.calibrate import expected_calibration_error, softmax
from jadfer_cli.training.datasets import FaceSet, winners


def confusion(classes: npt.NDArray[np.intp], guesses: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Counts (K, K): row the true class, column the guess."""
    k = len(LABELS)
    return np.bincount(classes * k + guesses, minlength=k * k).reshape(k, k)


def figures(
    logits: npt.NDArray[np.floating], faces: FaceSet, protocol: str, temperature: float = 1.0
) -> dict[str, Any]:
    """Accuracy, mean class recall, macro F1 and calibration error under a protocol.

    Args:
        logits: (n, K), of all images of the set.
        faces: The set.
        protocol: One of datasets.PROTOCOLS.
        temperature: Divides the logits.

    Returns:
        JSON-ready figures with the protocol's name, n and the confusion counts.
    """
    which, classes = winners(faces.votes, protocol)
    p = softmax(logits[which], temperature)
    counts = confusion(classes, p.argmax(1))
    hits, true, guessed = np.diag(counts), counts.sum(1), counts.sum(0)
    there = true > 0
    recall = hits[there] / true[there]
    f1 = 2 * hits[there] / np.maximum(true[there] + guessed[there], 1)
    return {
        "data": faces.name,
        "protocol": protocol,
        "n": len(which),
        "accuracy": float(hits.sum() / counts.sum()),
        "mean_class_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "ece": expected_calibration_error(p, classes),
        "recall": {LABELS[i]: float(hits[i] / true[i]) for i in np.flatnonzero(there)},
        "confusion": counts.tolist(),
    }
