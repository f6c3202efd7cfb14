"""Events of two raters, matched one to one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.agreement.ratings import UNRATED, RatedClip, Ratings, Spans
from jadfer_cli.analysis.frame_times import Bools, Floats

_MIN_JUDGED = 0.5  # share of an event's time that the other rater must have judged
_ROUNDING_S = 1e-6


def match(
    first: Floats, second: Floats, tolerance_s: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Match events that overlap, or lie at most the tolerance apart, one to one.

    Among all such matchings it takes one with the most pairs, and of those one with the longest
    overlap in all. So an event that the other rater saw in two pieces has one match, and the
    other piece has none.

    Args:
        first: float64 (a, 2), start and end of one rater's events of a class.
        second: float64 (b, 2), those of the other rater.
        tolerance_s: The longest gap between two matched events.

    Returns:
        Indices of matched events, (m,) each.
    """
    from scipy.optimize import linear_sum_assignment

    overlap = np.minimum(first[:, None, 1], second[None, :, 1]) - np.maximum(
        first[:, None, 0], second[None, :, 0]
    )  # (a, b); negative for gaps
    fits = overlap >= -tolerance_s - _ROUNDING_S
    lengths = [float(np.ptp(each)) for each in (first, second)] if overlap.size else []
    longest = max(*lengths, tolerance_s, 1.0)
    # one pair more is worth more than any overlap or gap in all
    worth = np.where(fits, 1 + overlap / (longest * (min(overlap.shape) + 1) * 2), 0.0)
    a, b = linear_sum_assignment(worth, maximize=True)
    matched = fits[a, b]
    return a[matched], b[matched]


def judged(events: Spans, clip: RatedClip, other: Ratings) -> Bools:
    """Return which events lie in time that the other rater judged for at least a half, bool (e,).

    What the other rater could not see, or did not code, is neither found nor missed.
    """
    is_judged = np.append(0, np.cumsum(other != UNRATED))
    first = np.searchsorted(clip.time_s, events.start_s)
    last = np.searchsorted(clip.time_s, events.end_s)
    # an event between two samples belongs to the nearer one
    last = np.minimum(np.maximum(last, first + 1), len(clip.time_s))
    first = np.minimum(first, last - 1)
    n = np.maximum(last - first, 1)
    result: Bools = (is_judged[last] - is_judged[np.maximum(first, 0)]) / n >= _MIN_JUDGED
    return result


def compare(
    clip: RatedClip, a: str, b: str, n_classes: int, *, tolerance_s: float, block_s: float
) -> tuple[Floats, Floats]:
    """Count the events of two raters in one clip.

    Args:
        clip: The clip.
        a: The rater whose events are to be found.
        b: The other rater.
        n_classes: Number of classes, K.
        tolerance_s: The longest gap between matched events.
        block_s: Length of a block of time.

    Returns:
        float64 (blocks, K, 4): events of a, events of b, matched ones of a, and matched ones of
        b, each in the block in which it starts, so that no block has more matched events of a
        rater than events; and float64 (m, 2), how much later the matched events of b start and
        end, in seconds.
    """
    n_blocks = max(int(np.ceil(clip.end_s / block_s)), 1)
    counts = np.zeros((n_blocks, n_classes, 4))
    first = clip.events[a].take(judged(clip.events[a], clip, clip.ratings[b]))
    second = clip.events[b].take(judged(clip.events[b], clip, clip.ratings[a]))
    lags = []
    for cls in range(n_classes):
        own, other = (
            np.column_stack([each.start_s, each.end_s])[each.cls == cls] for each in (first, second)
        )
        i, j = match(own, other, tolerance_s)
        lags.append(other[j] - own[i])
        for column, starts in enumerate((own[:, 0], other[:, 0], own[i, 0], other[j, 0])):
            block = np.minimum((starts / block_s).astype(np.int64), n_blocks - 1)
            counts[:, cls, column] += np.bincount(block, minlength=n_blocks)
    return counts, np.concatenate(lags)
