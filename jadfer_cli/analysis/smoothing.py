"""Smooth scores over time: within each track, never across a gap, at the true times of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jadfer_cli.analysis.event_rule import faces_text
from jadfer_cli.analysis.local_fit import FLAT, TRICUBE, local_polynomial
from jadfer_cli.analysis.score_columns import LEVEL, PROBABILITY, RAW, read_scores, unbroken
from jadfer_cli.errors import OptionError
from jadfer_cli.results.derived import Added
from jadfer_cli.results.load import Result

# By name: the kernel, and the default degree of the polynomial.
METHODS = {"loess": (TRICUBE, 1), "savgol": (FLAT, 2)}
_TITLES = {"loess": "LOESS", "savgol": "Savitzky-Golay"}
MAX_DEGREE = 3


@dataclass(frozen=True)
class SmoothRule:
    """How scores are smoothed.

    Attributes:
        method: One of METHODS.
        window_s: Length of the whole window.
        degree: Of the polynomial; None for the method's own.
        scores: Which scores, by name.
        scale: "probability" or "logit"; None for that of the scores.
        all_faces: Also use faces that are not usable.
        name: Of the new columns; None for "smooth".

    Raises:
        OptionError: A value is out of range.
    """

    method: str = "loess"
    window_s: float = 0.5
    degree: int | None = None
    scores: str = RAW
    scale: str | None = None
    all_faces: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OptionError(f"`method` must be one of {', '.join(METHODS)}, not {self.method}.")
        if not 0 < self.window_s < np.inf:
            raise OptionError(f"`seconds` must be more than 0, not {self.window_s:g}.")
        if self.degree is not None and not 0 <= self.degree <= MAX_DEGREE:
            raise OptionError(f"`degree` must be 0 to {MAX_DEGREE}, not {self.degree}.")
        check_name(self.name)

    @property
    def used_degree(self) -> int:
        """The degree of the polynomial."""
        return METHODS[self.method][1] if self.degree is None else self.degree


def check_name(name: str | None) -> None:
    """Check the name of new columns: p_happiness_NAME.

    Raises:
        OptionError: It is no name, or reserved.
    """
    if name is not None and (not name.isidentifier() or not name.isascii() or name == RAW):
        raise OptionError(
            f"`name` {name}: use letters, digits and underscores, and not {RAW}.",
            "The new columns are called p_happiness_NAME.",
        )


@dataclass(frozen=True)
class Smoothed:
    """The smoothed scores of one result.

    Attributes:
        added: The new columns.
        n_faces: Number of faces with a smoothed score.
        n_runs: Number of unbroken runs in which they were smoothed.
        typical_frames: Median number of frames in a window; below 5, little is smoothed.
    """

    added: Added
    n_faces: int
    n_runs: int
    typical_frames: float


def smooth(result: Result, rule: SmoothRule) -> Smoothed:
    """Smooth the scores of one result.

    A run ends where the track is not seen or does not count, even for one analysed frame, and
    where the person changes. Faces that do not count have no smoothed score.

    Raises:
        OptionError: The result lacks the scores.
        ResultError: The result is damaged.
    """
    scored = read_scores(result, rule.scores, rule.scale)
    counts = scored.counted(all_faces=rule.all_faces)
    faces, values, person = scored.take(counts)
    kernel, _ = METHODS[rule.method]
    found = np.full_like(scored.scores, np.nan)
    smoothed, frames = np.empty_like(values), []
    runs = unbroken(faces, person)
    for run in runs:
        time_s = faces.start_s[run]
        smoothed[run] = local_polynomial(
            time_s, values[run], window_s=rule.window_s, degree=rule.used_degree, kernel=kernel
        )
        ends = np.searchsorted(time_s, [time_s - rule.window_s / 2, time_s + rule.window_s / 2])
        frames.append(ends[1] - ends[0])
    n_moved = 0
    if scored.set.scale == PROBABILITY and scored.set.kind == LEVEL:
        inside = np.clip(smoothed, 0, 1)  # a polynomial may leave the range of its values
        n_moved = int((np.abs(inside - smoothed).max(1) > 1e-9).sum()) if len(inside) else 0
        smoothed = inside
    found[counts] = smoothed
    name = rule.name or scored.set.derived_name("smooth")
    columns = scored.set.derived_columns(name)
    text = (
        f"{_TITLES[rule.method]} of degree {rule.used_degree} over {rule.window_s:g} s of the "
        f"{scored.set.scale} ({scored.set.name} scores), {faces_text(rule.all_faces)}; never "
        "across gaps"
    )
    entry = {
        **scored.set.settings(), "step": "smooth", "from": scored.set.name, "name": name,
        "method": rule.method, "window_s": rule.window_s, "degree": rule.used_degree,
        "all_faces": rule.all_faces, "runs": len(runs), "faces_moved_into_0_to_1": n_moved,
    }  # fmt: skip
    by_row = scored.of_rows(found)
    added = Added(
        {column: by_row[:, i] for i, column in enumerate(columns)},
        {
            column: f"{label}: {text}"
            for column, label in zip(columns, scored.set.labels, strict=True)
        },
        entry,
    )
    typical = float(np.median(np.concatenate(frames))) if frames else 0.0
    return Smoothed(added, len(faces), len(runs), typical)
