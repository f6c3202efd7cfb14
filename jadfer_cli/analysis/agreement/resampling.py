"""Bootstrap intervals over blocks of time and over clips.

Frames of video resemble their neighbours, so single frames must not be drawn: an interval from
them would be far too narrow. Blocks of time tell how the figures would vary with other moments
of such clips, whole clips (or people) how they would vary with other clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.frame_times import Ints

Measures = Mapping[str, float]
DRAWS, SEED = 1000, 0
_MIN_UNITS = 3
_MIN_DEFINED = 0.9  # share of the draws in which a measure must be defined


def intervals(
    parts: npt.NDArray[np.float64],
    unit: Ints,
    measure: Callable[[npt.NDArray[np.float64]], Measures],
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals (Efron and Tibshirani 1993, ch. 13).

    Args:
        parts: (b, ...), counts of b blocks, which add up to those of the whole.
        unit: int64 (b,), what each block is drawn with, such as its clip.
        measure: Computes the measures from counts (...).
        draws: Number of resamples.
        seed: Of the resamples.

    Returns:
        Low and high end of each measure; NaN with fewer than three units, or if the measure is
        undefined in more than a tenth of the resamples.
    """
    numbers, of_block = np.unique(unit, return_inverse=True)
    n = len(numbers)
    names = list(measure(parts.sum(0)))
    if n < _MIN_UNITS or not draws:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    sums = np.zeros((n, *parts.shape[1:]))
    np.add.at(sums, of_block, parts)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(n, np.full(n, 1 / n), draws)  # (draws, n)
    drawn = np.tensordot(times, sums, 1)  # (draws, ...)
    values = np.array([list(measure(each).values()) for each in drawn], np.float64)
    return {name: percentiles(column) for name, column in zip(names, values.T, strict=True)}


def percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the interval that holds the middle 95 % of some draws."""
    defined = values[np.isfinite(values)]
    if not len(defined) or len(defined) < _MIN_DEFINED * len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)
