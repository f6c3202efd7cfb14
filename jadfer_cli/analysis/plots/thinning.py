"""Thin timelines to what a plot can show, without losing a peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.frame_times import Floats, Ints
from jadfer_cli.analysis.plots.timelines import Timeline


@dataclass(frozen=True)
class Curve:
    """The steps of a track as they are drawn: the value is y[i] from x[i] to x[i + 1].

    A run ends with a copy of its last values at its end, and with a row of NaN that separates it
    from the next run. Smoothed curves are drawn without steps: a value is that at the middle of its
    frame, and a run also begins with a row of NaN.

    Attributes:
        x_s: float64 (m,), times.
        y: float64 (m, K), probabilities.
        frame: int64 (m,), the frame at which the step begins; -1 at the end of a run.
    """

    x_s: Floats
    y: Floats
    frame: Ints


def bin_width_s(
    tracks: Sequence[Timeline], max_bins: int, max_frames: int | None = None
) -> float | None:
    """Return the bin length for thinning with which all tracks together fill `max_bins` bins.

    Args:
        tracks: The tracks to draw.
        max_bins: E.g. one per pixel of the plot.
        max_frames: Up to this many frames are drawn unthinned; by default four per bin.

    Returns:
        Seconds; None if nothing needs thinning.
    """
    if sum(len(t.frame) for t in tracks) <= (4 * max_bins if max_frames is None else max_frames):
        return None
    return sum(t.seen_s for t in tracks) / max_bins


def curve(timeline: Timeline, bin_s: float | None, *, stacked: bool) -> Curve:
    """Return the steps of a track, thinned if `bin_s` is given.

    Args:
        timeline: The track.
        bin_s: Length of the bins in seconds; None draws every frame.
        stacked: Draw the mean of each bin (so that the sum stays 1) rather than its extremes.
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
        if timeline.smooth:
            middle = np.append(start[1:], end_s) / 2 + start / 2
            xs += [[start[0], start[0]], middle, [end_s, end_s]]
            ys += [np.full((1, p.shape[1]), np.nan), p[:1], p, p[-1:]]
            ys += [np.full((1, p.shape[1]), np.nan)]
            frames += [[-1, -1], frame, [-1, -1]]
            continue
        xs += [start, [end_s, end_s]]
        ys += [p, p[-1:], np.full((1, p.shape[1]), np.nan)]
        frames += [frame, [-1, -1]]
    return Curve(np.concatenate(xs), np.concatenate(ys), np.concatenate(frames).astype(np.int64))


def _bins(start_s: Floats, bin_s: float) -> Ints:
    """Index of the first frame of each bin, ascending from 0, int64 (bins,)."""
    number = np.floor((start_s - start_s[0]) / bin_s)
    return np.append(0, np.flatnonzero(np.diff(number)) + 1).astype(np.int64)


def bin_means(values: Floats, weights: Floats, begins: Ints) -> Floats:
    """Return the weighted mean of each bin, float64 (bins, K).

    Args:
        values: (n, K).
        weights: (n,), in seconds.
        begins: (bins,), index of each bin's first value.
    """
    weights = np.maximum(weights, 1e-9)
    sums: Floats = np.add.reduceat(values * weights[:, None], begins)
    return sums / np.add.reduceat(weights, begins)[:, None]


def extremes(values: Floats, begins: Ints) -> Ints:
    """Return what each bin keeps: first, last, and each column's lowest and highest value.

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
        order = np.lexsort((column, bins))  # by bin, then from lowest to highest
        kept += [order[begins], order[last]]
    return np.unique(np.concatenate(kept)).astype(np.int64)


def joined_spans(spans_s: Floats, gap_s: float) -> Floats:
    """Return the intervals with gaps below `gap_s` closed, because a plot cannot show them."""
    if len(spans_s) < 2:
        return spans_s
    cuts = np.flatnonzero(spans_s[1:, 0] - spans_s[:-1, 1] >= gap_s) + 1
    first, last = np.append(0, cuts), np.append(cuts, len(spans_s)) - 1
    return np.column_stack([spans_s[first, 0], spans_s[last, 1]])


def thinning_note(bin_s: float | None, *, stacked: bool) -> str:
    """Return what thinning did, in words; empty if it did nothing."""
    if bin_s is None:
        return ""
    if stacked:
        return f"Thinned for the plot: means over {bin_s:.2g} s."
    return f"Thinned for the plot: lowest and highest values of each {bin_s:.2g} s."
