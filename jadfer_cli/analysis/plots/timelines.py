"""What a picture of a result shows, as arrays: a timeline a track, thinned to what can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import frame_spans, unbroken_runs, usable_rows
from jadfer_cli.results.load import Result

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
        expressions: Only these (or words for them), in the model's order; all by default.
        smooth_s: Width of a moving mean, seconds.

    Raises:
        ResultError: The result is damaged.
        OptionError: The model has no such expression.
    """
    labels = result.resolve_labels(expressions) if expressions else result.labels
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


def clock(seconds: float, *, decimals: int = 0) -> str:
    """A time as people read it: 12.4 -> 0:12, 3725 -> 1:02:05."""
    units = round(seconds * 10**decimals)
    whole, rest = divmod(units, 10**decimals)
    text = f"{whole // 60 % 60:02d}:{whole % 60:02d}" if whole >= 3600 else (
        f"{whole // 60}:{whole % 60:02d}"
    )  # fmt: skip
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return hours + text + (f".{rest:0{decimals}d}" if decimals else "")


def track_title(track: Timeline) -> str:
    """What stands above a track."""
    seen = f"{track.seen_s:.1f} s" if track.seen_s < 180 else clock(track.seen_s)
    return f"Track {track.track_id}: seen {seen}, {track.usable_share:.0%} usable"


def time_in_clock(begin_s: float, end_s: float) -> bool:
    """Whether the axis reads m:ss rather than seconds."""
    return end_s - begin_s > 180
