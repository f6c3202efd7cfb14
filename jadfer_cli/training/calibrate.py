"""Calibration: how far probabilities are from frequencies, and a temperature that corrects it.

Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

N_BINS = 15
MIN_IMAGES = 100  # to fit a temperature on


def softmax(logits: npt.NDArray[np.floating], temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities (n, K) of logits (n, K) divided by a temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(1, keepdims=True))
    shares: npt.NDArray[np.float64] = scaled / scaled.sum(1, keepdims=True)
    return shares


def fit_temperature(logits: npt.NDArray[np.floating], classes: npt.NDArray[np.intp]) -> float:
    """Fits the temperature that minimises the negative log-likelihood.

    Args:
        logits: (n, K), of a set that was not trained on.
        classes: (n,), the true class of each.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(classes))

    def loss(log_temperature: float) -> float:
        p = softmax(logits, float(np.exp(log_temperature)))[rows, classes]
        return float(-np.log(np.maximum(p, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], classes: npt.NDArray[np.intp], n_bins: int = N_BINS
) -> float:
    """Mean gap between confidence and accuracy, over equal-width bins of the top probability.

    Args:
        probabilities: (n, K).
        classes: (n,), the true class of each.
        n_bins: Bins between 0 and 1.
    """
    top = probabilities.max(1)
    right = probabilities.argmax(1) == classes
    bins = np.minimum((top * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, right - top, n_bins)  # sum of (accuracy - confidence) per bin
    return float(np.abs(gaps).sum() / len(classes))
