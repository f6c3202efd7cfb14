"""Calibration of one model on each of several sources of faces.

A network that is calibrated on one source is not on another: its pictures and its frequencies of
expressions differ. For each source a temperature and class biases are fitted on its validation
images, and judged on the half of them that did not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.expression.scores import Calibration
from jadfer_cli.labels import LABELS
from jadfer_cli.training import calibrate
from jadfer_cli.training.evaluate import untied
from jadfer_cli.training.faceset import FaceSet


def by_source(
    logits: npt.NDArray[np.floating], faces: FaceSet, model: Calibration
) -> dict[str, Any]:
    """Fits and judges the calibration of one source.

    Args:
        logits: (n, K), of all images of the set.
        faces: A validation set.
        model: What the model uses for all sources.

    Returns:
        JSON-ready: "n"; with enough images also "own", the temperature and biases fitted on all
        of them, and "ece" and "ece_by_class" of "uncalibrated", "model" and "own" scores on the
        half that did not fit ("own" is fitted on the other half for that).
    """
    which, classes, left_out = untied(faces, faces.main_protocol)
    z = np.asarray(logits[which], np.float64)
    result: dict[str, Any] = {"set": f"{faces.name}, {faces.main_protocol}{left_out}"}
    result["n"] = len(classes)
    if len(classes) < 2 * calibrate.MIN_IMAGES:
        return result
    half = np.random.default_rng(0).permutation(len(classes)) < len(classes) // 2
    judged = {
        "uncalibrated": Calibration(),
        "model": model,
        "own": _fitted(z[half], classes[half], faces.expressions),
    }
    for name, calibration in judged.items():
        result[name] = class_wise(calibration.probabilities(z[~half]), classes[~half])
    result["own"] |= _fitted(z, classes, faces.expressions).as_table()
    return result


def _fitted(
    z: npt.NDArray[np.float64], classes: npt.NDArray[np.intp], expressions: tuple[int, ...]
) -> Calibration:
    """Temperature and biases; expressions that the source cannot name have the bias 0."""
    known = list(expressions)
    votes = np.eye(len(LABELS) + 1)[classes][:, [*known, len(LABELS)]]
    found = calibrate.fit_vote_share(z[:, known], votes, biases=True)
    bias = np.zeros(len(LABELS))
    bias[known] = found.bias
    return Calibration(found.temperature, tuple(map(float, bias)))


def class_wise(p: npt.NDArray[np.floating], classes: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Calibration errors of probabilities (n, K): of the highest one, and of each class.

    "ece_by_class" is the mean over the classes that occur (Kull et al. 2019, arXiv 1910.12656).
    """
    true = np.eye(p.shape[1])[classes]
    gaps = {
        LABELS[k]: calibrate.calibration_gap(p[:, k], true[:, k])
        for k in np.flatnonzero(true.any(0))
    }
    return {
        "ece": calibrate.expected_calibration_error(p, classes),
        "ece_by_class": float(np.mean(list(gaps.values()))),
        "by_class": gaps,
    }
