"""Calibration by source: what is fitted corrects what is wrong, on images that did not fit it."""

import numpy as np
import pytest

from jadfer_cli.expression.scores import Calibration
from jadfer_cli.labels import LABELS
from jadfer_cli.training.faceset import Counted, FaceSet
from jadfer_cli.training.source_calibration import by_source, class_wise


def source(n, factor, shift, expressions=(0, 1, 2), seed=0):
    """Images whose logits are `factor` times too large, and by `shift` too high for class 0."""
    rng = np.random.default_rng(seed)
    true = np.full((n, 8), -30.0)
    true[:, list(expressions)] = rng.normal(0, 1.5, (n, len(expressions)))
    p = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    classes = np.array([rng.choice(8, p=row) for row in p])
    logits = factor * true
    logits[:, 0] += factor * shift
    logits[:, [k for k in range(8) if k not in expressions]] = 0  # it cannot be compared
    targets = np.eye(8, dtype=np.float32)[classes]
    names = [str(i) for i in range(n)]
    every = {"all": Counted(np.arange(n), classes)}
    images = [np.zeros((4, 4), np.uint8)] * n
    return FaceSet("made valid", images, names, targets, every, expressions), logits


def test_own_temperature_and_bias_correct_a_source():
    faces, logits = source(4000, factor=3.0, shift=1.0)
    logits[:, 3:] = -90  # as a network that knows the set
    found = by_source(logits, faces, Calibration(1.0))
    assert found["n"] == 4000 and found["set"] == "made valid, all"
    own = found["own"]
    assert own["temperature"] == pytest.approx(3.0, rel=0.15)
    assert own["bias"][0] - own["bias"][1] == pytest.approx(-1.0, abs=0.2)
    assert own["bias"][3:] == [0.0] * 5  # which the set cannot name
    assert own["ece"] < 0.05 < 0.1 < found["model"]["ece"] == found["uncalibrated"]["ece"]
    assert own["ece_by_class"] < found["model"]["ece_by_class"] / 2
    assert set(own["by_class"]) == set(LABELS[:3])


def test_few_images_fit_nothing():
    faces, logits = source(150, 1.0, 0.0)
    assert by_source(logits, faces, Calibration()).keys() == {"set", "n"}


def test_class_wise_error_by_hand():
    p = np.tile([0.75, 0.25], (4, 1))
    found = class_wise(np.hstack([p, np.zeros((4, 6))]), np.array([0, 0, 1, 1]))
    assert found["by_class"] == pytest.approx({"neutral": 0.25, "happiness": 0.25})
    assert (found["ece"], found["ece_by_class"]) == pytest.approx((0.25, 0.25))
