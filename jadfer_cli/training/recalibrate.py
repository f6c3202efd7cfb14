"""Recalibration of a model to the codes of a study: one temperature, one bias per class.

The network stays as it is. As log p = logits / temperature + bias + constant, the logits are not
needed: stored probabilities are enough, and the videos are not read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import ModelError, OptionError, TrainingError
from jadfer_cli.expression import checkpoint, lineage
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.scores import MAJORITY, Calibration
from jadfer_cli.training.calibrate import fit_vote_share
from jadfer_cli.training.micro.folds import subject_folds

_MAX_FOLDS = 10
# On the biases: with a study's few faces, a class that its coders used once must not get a bias
# of ten. At this value a bias of 2 costs as much likelihood as 0.4 % of the faces can give.
_RIDGE = 1e-3
_LEAST_P = 1e-30


def fit(
    p: npt.NDArray[np.floating], votes: npt.NDArray[np.floating], people: Sequence[str]
) -> Calibration:
    """Fit what makes the scores of a model those of the coders; each person counts the same.

    Args:
        p: (n, K), the model's probabilities.
        votes: (n, K), how many coders chose each label; at least one in all.
        people: (n,), who is seen.

    Returns:
        A calibration of log(p).
    """
    _, person, sizes = np.unique(np.asarray(people), return_inverse=True, return_counts=True)
    weighted = np.asarray(votes, np.float64) / np.maximum(votes.sum(1, keepdims=True), 1)
    weighted = weighted / sizes[person][:, None]
    with_none = np.column_stack([weighted, np.zeros(len(weighted))])
    return fit_vote_share(_log(p), with_none, ridge=_RIDGE, biases=True)


def apply(calibration: Calibration, p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the recalibrated probabilities (n, K)."""
    found: npt.NDArray[np.float64] = calibration.probabilities(_log(p))
    return found


def _log(p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    logs: npt.NDArray[np.float64] = np.log(np.maximum(np.asarray(p, np.float64), _LEAST_P))
    return logs


def folds(people: Sequence[str]) -> list[npt.NDArray[np.intp]]:
    """Return the faces of each test fold; nobody is in two: one person each, up to ten folds.

    Raises:
        TrainingError: There is only one person.
    """
    n = len(set(people))
    if n < 2:
        raise TrainingError(
            f"All codes are of one person ({people[0]}), so agreement on other people cannot be "
            "measured.",
            "Code clips of several people. If they are several, say who is in which clip by a "
            "table, `participants`.",
        )
    return subject_folds(people, None if n <= _MAX_FOLDS else _MAX_FOLDS)


def held_out(
    p: npt.NDArray[np.floating], votes: npt.NDArray[np.floating], people: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return probabilities (n, K), each recalibrated without the person seen.

    Args: as of `fit`.

    Raises:
        TrainingError: There is only one person.
    """
    names = np.asarray(people)
    found = np.empty(np.shape(p))
    for test in folds(people):
        rest = np.ones(len(names), bool)
        rest[test] = False
        found[test] = apply(fit(p[rest], votes[rest], names[rest].tolist()), p[test])
    return found


def joined(first: Calibration, second: Calibration) -> Calibration:
    """Return the calibration of logits that equals one of logits and then one of log(p)."""
    n = max(len(first.bias), len(second.bias))
    old, new = (np.array(each.bias or [0.0] * n) for each in (first, second))
    bias = old / second.temperature + new
    return Calibration(first.temperature * second.temperature, tuple((bias - bias.mean()).tolist()))


def save(
    path: Path, model: Checkpoint, scores: str, fitted: Calibration, facts: dict[str, Any]
) -> str:
    """Write the model with the new calibration as its only one, so that `annotate` uses it.

    Args:
        path: The file.
        model: The model whose scores were recalibrated.
        scores: Their definition, from `scores_of`.
        fitted: Of its probabilities.
        facts: What it was fitted on and what it gained, for the model's record; JSON-ready.

    Returns:
        The sha256 of the file.

    Raises:
        OutputError: It cannot be written.
    """
    calibration = joined(model.scores[scores], fitted)
    origin = lineage.origin(model)
    metrics: dict[str, Any] = {
        "training": {
            "start": model.entry.name,
            "start_model": origin,
            "dataset": "codes",
            "how": "recalibration: one temperature, one bias per label",
            **facts,
        },
        "temperature": calibration.temperature,
        "temperature_fitted_on": "codes",
        "bias": dict(zip(model.labels, calibration.bias, strict=True)),
    }
    return checkpoint.save(
        path, model.build(), labels=model.labels, temperature=calibration.temperature,
        metrics=metrics, scores={MAJORITY: calibration},
        terms=lineage.inherited_terms(metrics["training"]),
    )  # fmt: skip


def scores_of(metadata: Iterable[Mapping[str, Any]]) -> str:
    """Return what the probabilities of some results mean; before 0.6.0 there was one definition.

    Args:
        metadata: Of the results, at least one.

    Raises:
        OptionError: They do not all mean the same.
    """
    found = sorted({str(each["model"].get("scores", MAJORITY)) for each in metadata})
    if len(found) > 1:
        raise OptionError(
            f"The results hold scores of different kinds: {', '.join(found)}.",
            "Annotate all clips with the same `scores`.",
        )
    return found[0]


def model_of(hashes: Collection[str], named: str | None) -> Checkpoint:
    """Return the model that made some results.

    Args:
        hashes: The sha256 of the model of each result.
        named: A name or file given by the user; None to look among the shipped models.

    Raises:
        ModelError: Results are of several models, or the model is missing or another one.
    """
    if len(hashes) > 1:
        raise ModelError(
            "The results were made with different models.",
            "Annotate all clips with one model, and tune that.",
        )
    (wanted,) = hashes
    current = checkpoint.current_hashes().get(wanted, wanted)
    if named is None:
        for entry in checkpoint.registry().values():
            if entry.sha256 == current:
                return checkpoint.load(entry.name)
        raise ModelError(
            f"The results were made with a model that is not shipped (sha256 {wanted[:12]}).",
            "Name its file with `model`.",
        )
    found = checkpoint.load(named)
    if found.sha256 not in (wanted, current):
        raise ModelError(
            f"{named} is not the model that made the results (sha256 {wanted[:12]}).",
            "Name that one, or annotate the clips again with this one.",
        )
    return found
