"""What a picture of a result shows, as arrays: a timeline a track, thinned to what can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result
from jadfer_cli.results.timing import frame_spans, unbroken_runs, usable_rows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_TRACKS = 40  # in one picture; beyond, those seen longest


@dataclass(frozen=True)
class Timeline:
    """One track: what it shows in each analysed frame that it is seen in.

    Attributes:
        track_id: Its id.
        frame: int64 (n,), index in the source, ascending.
        start_s, end_s: float64 (n,), the time that each frame stands for.
        probabilities: float64 (n, K).
        usable: bool (n,).
        runs: Stretches without a gap, as slices of the arrays.
        unusable_s: float64 (m, 2), begin and end of stretches that are not usable.
        absent_s: float64 (m, 2), of stretches in which analysed frames do not hold it.
    """

    track_id: int
    frame: Ints
    start_s: Floats
    end_s: Floats
    probabilities: Floats
    usable: Bools
    runs: tuple[slice, ...]
    unusable_s: Floats
    absent_s: Floats

    @property
    def seen_s(self) -> float:
        """How long it is seen."""
        return float((self.end_s - self.start_s).sum())

    @property
    def usable_share(self) -> float:
        """Of the time in which it is seen."""
        spans = self.end_s - self.start_s
        return float(spans[self.usable].sum() / spans.sum())


@dataclass(frozen=True)
class Chart:
    """All that one picture shows.

    Attributes:
        title, subtitle: Above it.
        labels: Of the probabilities' columns.
        tracks: Sorted by id.
        n_tracks: How many the result has, drawn or not.
        begin_s, end_s: The analysed time.
        notes: Below it: what was left out or changed.
    """

    title: str
    subtitle: str
    labels: tuple[str, ...]
    tracks: tuple[Timeline, ...]
    n_tracks: int
    begin_s: float
    end_s: float
    notes: tuple[str, ...] = ()


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


def chart(
    result: Result,
    *,
    tracks: Sequence[int] = (),
    expressions: Sequence[str] = (),
    smooth_s: float | None = None,
) -> Chart:
    """What a picture of this result shows.

    Args:
        result: Its rows are read here.
        tracks: Only these, as far as the result has them; all by default.
        expressions: Only these, in the model's order; all by default.
        smooth_s: Width of a moving mean, seconds.

    Raises:
        ResultError: The result is damaged.
        OptionError: The model has no such expression.
    """
    for name in expressions:
        if name not in result.labels:
            raise OptionError(
                f"{result.path} has no expression {name}.", f"It has {', '.join(result.labels)}."
            )
    labels = tuple(x for x in result.labels if x in expressions or not expressions)
    columns = ["frame", "time_s", "duration_s", "face_detected", "track_id", "usable"]
    rows = result.rows([*columns, *(f"p_{label}" for label in labels)])
    spans = frame_spans(rows, result.metadata)
    found = timelines(rows, spans, labels)
    kept = [t for t in found if t.track_id in tracks or not tracks]
    notes = []
    if len(kept) > MAX_TRACKS:
        notes.append(
            f"{MAX_TRACKS} of {len(kept)} tracks, those seen longest; --track shows others."
        )
        longest = sorted(kept, key=lambda t: -t.seen_s)[:MAX_TRACKS]
        kept = sorted(longest, key=lambda t: t.track_id)
    if smooth_s is not None:
        kept = [smoothed(t, smooth_s) for t in kept]
        notes.append(f"Moving mean over {smooth_s:g} s; usable and unusable frames apart.")
    return Chart(
        title=Path(str(result.metadata.get("video", {}).get("path") or result.name)).name,
        subtitle=_subtitle(result, rows, spans, found),
        labels=labels,
        tracks=tuple(kept),
        n_tracks=len(found),
        begin_s=float(spans["start_s"].iloc[0]) if len(spans) else 0.0,
        end_s=float(spans["end_s"].iloc[-1]) if len(spans) else 0.0,
        notes=tuple(notes),
    )


def _subtitle(
    result: Result, rows: pd.DataFrame, spans: pd.DataFrame, found: Sequence[Timeline]
) -> str:
    """The model, and how much of the video holds faces that can be judged."""
    n = len(spans)
    seen = int(rows.loc[rows["face_detected"], "frame"].nunique())
    parts = [
        str(result.metadata.get("model", {}).get("name", "unknown model")),
        f"faces in {seen:,} of {n:,} frames" + (f" ({seen / n:.0%})" if n else ""),
        f"{len(found)} track" + "s" * (len(found) != 1),
    ]
    faces = int(rows["face_detected"].sum())
    if faces:
        parts.append(f"{usable_rows(rows).sum() / faces:.0%} of faces usable")
    return " · ".join(parts)


def timelines(rows: pd.DataFrame, spans: pd.DataFrame, labels: Sequence[str]) -> list[Timeline]:
    """A timeline a track, by id.

    Args:
        rows: Of one result, sorted.
        spans: Of its frames, from `frame_spans`.
        labels: Whose probabilities are wanted.
    """
    start, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    faces = rows[rows["face_detected"]]
    place = np.searchsorted(spans.index.to_numpy(), faces["frame"].to_numpy())  # (m,)
    ids = faces["track_id"].to_numpy(np.int64)
    p = faces[[f"p_{label}" for label in labels]].to_numpy(np.float64)  # (m, K)
    usable = usable_rows(faces)
    order = np.argsort(ids, kind="stable")
    found = []
    for mine in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(order) else []:
        at = place[mine]
        present = np.zeros(len(start), bool)
        present[at] = True
        unusable = np.zeros(len(start), bool)
        unusable[at] = ~usable[mine]
        found.append(
            Timeline(
                int(ids[mine[0]]), faces["frame"].to_numpy(np.int64)[mine], start[at], end[at],
                p[mine], usable[mine], tuple(unbroken_runs(at)),
                spans_where(unusable, start, end), spans_where(~present, start, end),
            )
        )  # fmt: skip
    return found


def spans_where(mask: Bools, start_s: Floats, end_s: Floats) -> Floats:
    """Begin and end of each stretch of neighbours for which the mask is true; float64 (m, 2)."""
    runs = unbroken_runs(np.flatnonzero(mask))
    at = np.flatnonzero(mask)
    return np.array(
        [(start_s[at[run.start]], end_s[at[run.stop - 1]]) for run in runs], np.float64
    ).reshape(-1, 2)


def joined_spans(spans_s: Floats, gap_s: float) -> Floats:
    """The same stretches with gaps below `gap_s` closed: what a picture cannot show apart."""
    if len(spans_s) < 2:
        return spans_s
    cuts = np.flatnonzero(spans_s[1:, 0] - spans_s[:-1, 1] >= gap_s) + 1
    first, last = np.append(0, cuts), np.append(cuts, len(spans_s)) - 1
    return np.column_stack([spans_s[first, 0], spans_s[last, 1]])


def smoothed(timeline: Timeline, window_s: float) -> Timeline:
    """The timeline under a centred moving mean, weighted by time.

    The window reaches over no gap, and usable and unusable frames are averaged apart: a
    turned head must not leak into the frames beside it.

    Args:
        timeline: As it is.
        window_s: The window's width, seconds.
    """
    p = timeline.probabilities.copy()
    middle = (timeline.start_s + timeline.end_s) / 2
    weight = np.maximum(timeline.end_s - timeline.start_s, 1e-9)
    for run in timeline.runs:
        for kind in (True, False):
            at = np.flatnonzero(timeline.usable[run] == kind) + run.start
            if not len(at):
                continue
            low = np.searchsorted(middle[at], middle[at] - window_s / 2 - 1e-9)
            high = np.searchsorted(middle[at], middle[at] + window_s / 2 + 1e-9)
            weights = np.append(0.0, np.cumsum(weight[at]))
            sums = np.cumsum(weight[at, None] * timeline.probabilities[at], axis=0)
            sums = np.vstack([np.zeros((1, p.shape[1])), sums])  # (n + 1, K)
            p[at] = (sums[high] - sums[low]) / (weights[high] - weights[low])[:, None]
    return replace(timeline, probabilities=p)


def bin_width_s(tracks: Sequence[Timeline], max_bins: int) -> float | None:
    """How long the bins of thinning are, so that all tracks together fill `max_bins` of them.

    None where the tracks have few frames more than that, so that nothing needs thinning.
    """
    if sum(len(t.frame) for t in tracks) <= 4 * max_bins:
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


def clock(seconds: float, *, decimals: int = 0) -> str:
    """A time as people read it: 12.4 -> 0:12, 3725 -> 1:02:05."""
    units = round(seconds * 10**decimals)
    whole, rest = divmod(units, 10**decimals)
    text = f"{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else (
        f"{whole // 60}:{whole % 60:02d}"
    )  # fmt: skip
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return hours + text + (f".{rest:0{decimals}d}" if decimals else "")


def thinning_note(bin_s: float | None, *, stacked: bool) -> str:
    """What thinning did, in words; empty where it did nothing."""
    if bin_s is None:
        return ""
    if stacked:
        return f"Thinned for the picture: means over {bin_s:.2g} s."
    return f"Thinned for the picture: lowest and highest values of each {bin_s:.2g} s."


def track_title(track: Timeline) -> str:
    """What stands above a track."""
    seen = f"{track.seen_s:.1f} s" if track.seen_s < 180 else clock(track.seen_s)
    return f"Track {track.track_id}: seen {seen}, {track.usable_share:.0%} usable"


def time_in_clock(begin_s: float, end_s: float) -> bool:
    """Whether the axis reads m:ss rather than seconds."""
    return end_s - begin_s > 180
