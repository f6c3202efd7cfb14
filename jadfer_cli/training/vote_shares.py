"""How well scores predict the share of raters who chose an expression, for sets with votes.

Three definitions are compared: the majority's probability, softmax without a temperature, and the
vote share (`expression.scores`). Subsets are the images with a majority, those without
("ambiguous"), and all. The subsets are formed by the votes themselves, so no score that is right
on average can be right on both: ambiguous images have lower shares than their pictures suggest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.expression.scores import MAJORITY, VOTE_SHARE, Calibration
from jadfer_cli.training.calibrate import MIN_IMAGES, calibration_gap, fit_vote_share
from jadfer_cli.training.faceset import FaceSet

UNCALIBRATED = "temperature_1"


def compare(
    logits: npt.NDArray[np.floating],
    faces: FaceSet,
    scores: Mapping[str, Calibration],
    clusters: npt.NDArray[np.intp] | None = None,
) -> dict[str, Any] | None:
    """Compares the definitions on a set with votes.

    If the vote share has not been fitted and the set is for validation, it is fitted on half of
    the images, and all definitions are judged on the other half; twins stay in one half.

    Args:
        logits: (n, K), of all images of the set.
        faces: The set.
        scores: The model's calibrations by definition.
        clusters: (n,), the cluster of twins of each image.

    Returns:
        JSON-ready, or None if the set has no votes: "definitions" by name and subset, with n, KL
        divergence of the scores from the shares, calibration errors and correlations.
    """
    if faces.votes is None:
        return None
    named = faces.votes[:, :-1].sum(1) > 0
    judged, fitted_on = named, "stored in the model"
    used = {UNCALIBRATED: Calibration(), **scores}
    if VOTE_SHARE not in scores:
        fitted_on = "not fitted"
        if faces.name.endswith(" valid") and named.sum() >= 2 * MIN_IMAGES:
            half = _half(np.arange(len(faces)) if clusters is None else clusters)
            used[VOTE_SHARE] = fit_vote_share(logits[named & half], faces.votes[named & half])
            judged, fitted_on = named & ~half, "the other half of the images"
    majority = np.zeros(len(faces), bool)
    majority[faces.protocols[faces.main_protocol].which] = True
    subsets = {"majority": judged & majority, "ambiguous": judged & ~majority, "all": judged}
    order = (MAJORITY, UNCALIBRATED, VOTE_SHARE)
    return {
        "vote_share_fitted_on": fitted_on,
        "unknown_share": {
            name: _mean((faces.votes[:, -1] / np.maximum(faces.votes.sum(1), 1))[mask])
            for name, mask in subsets.items()
        },
        "calibrations": {name: used[name].as_table() for name in order if name in used},
        "definitions": {
            name: {
                subset: against_votes(used[name].probabilities(logits[mask]), faces.votes[mask])
                for subset, mask in subsets.items()
                if mask.any()
            }
            for name in order
            if name in used
        },
    }


def _half(clusters: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Half of the clusters at random, as a mask over the images."""
    numbers, of_image = np.unique(clusters, return_inverse=True)
    chosen = np.random.default_rng(0).permutation(len(numbers)) < len(numbers) // 2
    mask: npt.NDArray[np.bool_] = chosen[of_image]
    return mask


def _mean(values: npt.NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else 0.0


def against_votes(p: npt.NDArray[np.floating], votes: npt.NDArray[np.floating]) -> dict[str, float]:
    """Figures of probabilities (n, K) against votes (n, K + 1), the last for no expression.

    "kl" is the mean of KL(shares, p) in nats. "ece_top" is the gap between the highest score and
    the share of raters for that expression; "ece_by_class" that between scores and shares, mean
    over the expressions; "ece_winner" that between the highest score and whether a winner of the
    votes has it. "correlation" is over all images and expressions. Shares are of the raters who
    named an expression; "..._all_raters" has shares of all raters.
    """
    p = np.asarray(p, np.float64)
    counts = np.asarray(votes, np.float64)
    shares = counts[:, :-1] / counts[:, :-1].sum(1, keepdims=True)
    of_all = counts[:, :-1] / counts.sum(1, keepdims=True)
    rows, top = np.arange(len(p)), p.argmax(1)
    log_ratio = np.log(np.maximum(shares, 1e-12) / np.maximum(p, 1e-12))
    wins = shares[rows, top] == shares.max(1)
    return {
        "n": len(p),
        "kl": float((shares * log_ratio).sum(1).mean()),
        "ece_top": calibration_gap(p.max(1), shares[rows, top]),
        "ece_by_class": float(
            np.mean([calibration_gap(p[:, k], shares[:, k]) for k in range(p.shape[1])])
        ),
        "ece_winner": calibration_gap(p.max(1), wins),
        "accuracy": _mean(wins.astype(float)),
        "correlation": _correlation(p, shares),
        "ece_top_all_raters": calibration_gap(p.max(1), of_all[rows, top]),
        "correlation_all_raters": _correlation(p, of_all),
    }


def _correlation(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else 0.0
