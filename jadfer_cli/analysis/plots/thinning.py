"""Timelines as curves, thinned to what can be seen without losing a peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.plots.timelines import Floats, Ints, Timeline


@dataclass(frozen=True)
class Curve:
    """A track's steps as they are drawn: from x[i] on it is y[i], until x[i + 1].

    A run ends with its last values once more, at its end; a row of NaN parts it from the next.

    Attributes:
        x_s: float64 (m,).
        y: float64 (m, K).
        frame: int64 (m,), that the step begins with; -1 where a run ends.
    """

    x_s: Floats
    y: Floats
    frame: Ints


def bin_width_s(
    tracks: Sequence[Timeline], max_bins: int, max_frames: int | None = None
) -> float | None:
    """How long the bins of thinning are, so that all tracks together fill `max_bins` of them.

    Args:
        tracks: What is drawn.
        max_bins: E.g. one a pixel of the picture.
        max_frames: As many are drawn as they are; four a bin by default.

    Returns:
        Seconds; None where nothing needs thinning.
    """
    if sum(len(t.frame) for t in tracks) <= (4 * max_bins if max_frames is None else max_frames):
        return None
    return sum(t.seen_s for t in tracks) / max_bins


def curve(timeline: Timeline, bin_s: float | None, *, stacked: bool) -> Curve:
    """A track's steps, thinned where `bin_s` says so.

    Args:
        timeline: The track.
        bin_s: Length of the bins, seconds; None draws each frame.
        stacked: Draw each bin's mean (the sum stays 1), not its extremes.
    """
    xs: list[npt.ArrayLike] = []
    ys: list[Floats] = []
    frames: list[npt.ArrayLike] = []
    for run in timeline.runs:
        start, p = timeline.start_s[run], timeline.probabilities[run]
        frame, end_s = timeline.frame[run], float(timeline.end_s[run][-1])
        if bin_s is not None:
            bins = _bins(start, bin_s)
            if stacked:
                spans = timeline.end_s[run] - start
                start, p, frame = start[bins], bin_means(p, spans, bins), frame[bins]
            else:
                kept = extremes(p, bins)
                start, p, frame = start[kept], p[kept], frame[kept]
        xs += [start, [end_s, end_s]]
        ys += [p, p[-1:], np.full((1, p.shape[1]), np.nan)]
        frames += [frame, [-1, -1]]
    return Curve(np.concatenate(xs), np.concatenate(ys), np.concatenate(frames).astype(np.int64))


def _bins(start_s: Floats, bin_s: float) -> Ints:
    """Where each bin begins: indices into a run's frames, ascending, the first is 0."""
    number = np.floor((start_s - start_s[0]) / bin_s)
    return np.append(0, np.flatnonzero(np.diff(number)) + 1).astype(np.int64)


def bin_means(values: Floats, weights: Floats, begins: Ints) -> Floats:
    """Weighted mean of each bin; float64 (bins, K).

    Args:
        values: (n, K).
        weights: (n,), seconds.
        begins: (bins,), index of each bin's first value.
    """
    weights = np.maximum(weights, 1e-9)
    sums: Floats = np.add.reduceat(values * weights[:, None], begins)
    return sums / np.add.reduceat(weights, begins)[:, None]


def extremes(values: Floats, begins: Ints) -> Ints:
    """What each bin keeps: first and last, and where each column is lowest and highest.

    Args:
        values: (n, K).
        begins: (bins,), index of each bin's first value.

    Returns:
        Indices into `values`, ascending, each once.
    """
    last = np.append(begins[1:], len(values)) - 1
    bins = np.repeat(np.arange(len(begins)), last - begins + 1)  # (n,)
    kept = [begins, last]
    for column in values.T:
        order = np.lexsort((column, bins))  # within its bin, from lowest to highest
        kept += [order[begins], order[last]]
    return np.unique(np.concatenate(kept)).astype(np.int64)


def joined_spans(spans_s: Floats, gap_s: float) -> Floats:
    """The same stretches with gaps below `gap_s` closed: what a picture cannot show apart."""
    if len(spans_s) < 2:
        return spans_s
    cuts = np.flatnonzero(spans_s[1:, 0] - spans_s[:-1, 1] >= gap_s) + 1
    first, last = np.append(0, cuts), np.append(cuts, len(spans_s)) - 1
    return np.column_stack([spans_s[first, 0], spans_s[last, 1]])


def thinning_note(bin_s: float | None, *, stacked: bool) -> str:
    """What thinning did, in words; empty where it did nothing."""
    if bin_s is None:
        return ""
    if stacked:
        return f"Thinned for the picture: means over {bin_s:.2g} s."
    return f"Thinned for the picture: lowest and highest values of each {bin_s:.2g} s."
