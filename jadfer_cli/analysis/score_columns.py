"""The scores that a measure is computed from: raw, smoothed or compared with a baseline.

A set of scores has one column per label, such as p_happiness_smooth. The prefix states the scale:
`p` for probabilities, `logit` for log odds. Probabilities lie between 0 and 1, so that equal
differences near a bound and in the middle do not mean the same; log odds have no bounds:

    logit(p) = ln(p / (1 - p)),  with p moved into [0.001, 0.999]

Without that margin, a probability that is stored as 0 or 1 would be infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from jadfer_cli.analysis.face_table import (
    Annotated,
    FaceTable,
    as_faces,
    face_columns,
    require_expressions,
)
from jadfer_cli.analysis.frame_times import Bools, Floats
from jadfer_cli.errors import OptionError
from jadfer_cli.results.columns import DERIVED
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import UNKNOWN

RAW = "raw"
PROBABILITY, LOGIT = "probability", "logit"
SCALES = (PROBABILITY, LOGIT)
LOGIT_MARGIN = 0.001
PERSON = "person"
LEVEL, CHANGE = "level", "change"
_PREFIX = {PROBABILITY: "p", LOGIT: "logit"}

Names = npt.NDArray[np.object_]


@dataclass(frozen=True)
class ScoreSet:
    """One column per label.

    Attributes:
        name: "raw", or what `jadfer smooth` and `jadfer baseline` called them.
        scale: PROBABILITY or LOGIT.
        kind: LEVEL, or CHANGE for differences from a baseline.
        columns: Where they are stored; for log odds of raw scores, the probabilities.
        labels: The label of each column.
    """

    name: str
    scale: str
    kind: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]

    def derived_columns(self, name: str) -> list[str]:
        """Return the names of columns that are computed from these: p_happiness_NAME."""
        return [f"{_PREFIX[self.scale]}_{label}_{name}" for label in self.labels]

    def derived_name(self, step: str) -> str:
        """Return the default name of what a step makes of these: smooth, smooth_change."""
        return step if self.name == RAW else f"{self.name}_{step}"

    def settings(self) -> dict[str, Any]:
        """Return what metadata say about these scores."""
        found: dict[str, Any] = {"scores": self.name, "scale": self.scale, "kind": self.kind}
        return found | ({"logit_margin": LOGIT_MARGIN} if self.scale == LOGIT else {})


@dataclass(frozen=True)
class ScoredFaces:
    """All faces of a result with their scores and persons.

    Attributes:
        result: The result.
        annotated: Its frames and faces, sorted by track and time.
        set: Which scores these are.
        scores: float64 (n, K), one row per face; NaN where there is none.
        person: object (n,), the person's name; "" if there is none.
    """

    result: Result
    annotated: Annotated
    set: ScoreSet
    scores: Floats
    person: Names

    @property
    def faces(self) -> FaceTable:
        """The faces."""
        return self.annotated.faces

    def counted(self, *, all_faces: bool) -> Bools:
        """Return which faces count and have scores, bool (n,)."""
        counts = self.faces.intact if all_faces else self.faces.usable
        return counts & np.isfinite(self.scores).all(1)

    def of_rows(self, values: Floats) -> Floats:
        """Return values of faces (n, ...) as values of rows (rows, ...), NaN without a face."""
        found = np.full((self.result.n_rows, *values.shape[1:]), np.nan)
        found[self.faces.row] = values
        return found

    def take(self, which: Bools) -> tuple[FaceTable, Floats, Names]:
        """Return some of the faces, with their scores and persons."""
        return self.faces.take(which), self.scores[which], self.person[which]


def score_set(result: Result, name: str = RAW, scale: str | None = None) -> ScoreSet:
    """Find scores by their name.

    Args:
        result: The result that must have them.
        name: "raw", or the name of derived columns.
        scale: PROBABILITY or LOGIT; by default that of the columns, or PROBABILITY for raw scores.

    Raises:
        OptionError: The result has no such scores, or the scale is unknown.
        ResultError: The result has no expressions.
    """
    require_expressions(result)
    if scale is not None and scale not in SCALES:
        raise OptionError(f"`scale` must be {' or '.join(SCALES)}, not {scale}.")
    if name == RAW:
        return ScoreSet(RAW, scale or PROBABILITY, LEVEL, result.probabilities, result.labels)
    sets = _derived(result)
    found = [each for each in sets if each.name == name and scale in (None, each.scale)]
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionError(
            f"`scores` {name}: {result.path} has them as probabilities and as log odds.",
            "Choose one with `scale`.",
        )
    known = ", ".join(dict.fromkeys([RAW, *(each.name for each in sets)]))
    as_scale = f" on the scale {scale}" if scale else ""
    raise OptionError(
        f"`scores` {name}: {result.path} has no such columns{as_scale}.",
        f"It has {known}. `jadfer smooth` and `jadfer baseline` add others, in new files.",
    )


def _derived(result: Result) -> list[ScoreSet]:
    found = []
    for entry in result.metadata.get(DERIVED, []):
        columns = tuple(entry.get("columns", ()))
        if entry.get("scale") in SCALES and set(columns) <= set(result.columns):
            kind = CHANGE if entry.get("kind") == CHANGE else LEVEL
            each = ScoreSet(str(entry.get("name")), entry["scale"], kind, columns, result.labels)
            if len(columns) == len(result.labels):
                found.append(each)
    return found


def read_scores(result: Result, name: str = RAW, scale: str | None = None) -> ScoredFaces:
    """Read the faces of a result with their scores.

    Raises:
        OptionError: As of `score_set`.
        ResultError: The result is damaged, or has no expressions.
    """
    found = score_set(result, name, scale)
    extra = [PERSON] if PERSON in result.columns else []
    columns = list(dict.fromkeys([*face_columns(result), *found.columns, *extra]))
    rows = result.rows(columns)
    annotated = as_faces(rows, result.labels, result.metadata)
    at = annotated.faces.row
    scores = rows[list(found.columns)].to_numpy(np.float64, na_value=np.nan)[at]
    if found.name == RAW and found.scale == LOGIT:
        scores = to_logit(scores)
    return ScoredFaces(result, annotated, found, scores, _people(rows)[at])


def to_logit(p: Floats) -> Floats:
    """Return the log odds of probabilities, which are moved away from 0 and 1 by the margin."""
    found: Floats = logit(np.clip(p, LOGIT_MARGIN, 1 - LOGIT_MARGIN))
    return found


def _people(rows: pd.DataFrame) -> Names:
    """The column `person`, "" where nobody is named."""
    if PERSON not in rows:
        return np.full(len(rows), "", object)
    texts = rows[PERSON].astype(object)
    names: Names = texts.where(texts.notna() & (texts != UNKNOWN), "").map(str).to_numpy(object)
    return names


def unbroken(faces: FaceTable, person: Names) -> list[slice]:
    """Return the runs of faces within one track and person in consecutive analysed frames.

    Args:
        faces: The faces that count, sorted by track and time.
        person: object (n,), the person of each.
    """
    if not len(faces):
        return []
    cut = (np.diff(faces.position) != 1) | (np.diff(faces.track) != 0) | (person[1:] != person[:-1])
    edges = [0, *(np.flatnonzero(cut) + 1).tolist(), len(faces)]
    return [slice(a, b) for a, b in pairwise(edges)]


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Return the median over time, (K,), of values (n, K) that hold for the times (n,).

    It is the smallest value that is not exceeded for half of the time, so with an even number of
    equal weights the lower of the two in the middle.
    """
    found: Floats = np.quantile(values, 0.5, axis=0, weights=weights, method="inverted_cdf")
    return found
