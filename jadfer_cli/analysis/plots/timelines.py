"""The data of a plot as arrays: one timeline per track, optionally smoothed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import require_expressions
from jadfer_cli.analysis.frame_times import (
    Bools,
    Floats,
    Ints,
    frame_spans,
    spans_where,
    unbroken_runs,
    usable_rows,
)
from jadfer_cli.analysis.person_rows import joined_rows, subject_names
from jadfer_cli.common import clock
from jadfer_cli.results.load import Result
from jadfer_cli.text import count_text, one_line, people_text

MAX_TRACKS = 40  # in one plot; of more, those seen longest
_COLUMNS = ("frame", "time_s", "duration_s", "frame_status", "face_detected", "track_id", "usable")
_MAX_SECONDS = 180  # longer times are written as m:ss


@dataclass(frozen=True)
class Timeline:
    """One track: its probabilities in each analysed frame in which it is seen.

    Attributes:
        track_id: Its ID.
        frame: int64 (n,), index of each frame in the source, ascending.
        start_s: float64 (n,), start of the time that each frame represents.
        end_s: float64 (n,), end of that time.
        probabilities: float64 (n, K).
        usable: bool (n,).
        runs: The runs of consecutive frames, as slices of the arrays.
        unusable_s: float64 (m, 2), begin and end of the intervals in which it is not usable.
        absent_s: float64 (m, 2), begin and end of the intervals in which it is not seen.
        smooth: Whether the probabilities are moving means, drawn without steps.
        name: Who it is, if the tracks of a person were joined; "" for a track.
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
    smooth: bool = False
    name: str = ""

    @property
    def seen_s(self) -> float:
        """How long the track is seen, in seconds."""
        return float((self.end_s - self.start_s).sum())

    @property
    def usable_share(self) -> float:
        """Fraction of the time seen in which the track is usable."""
        spans = self.end_s - self.start_s
        return float(spans[self.usable].sum() / spans.sum())


@dataclass(frozen=True)
class Chart:
    """Everything that one plot shows.

    Attributes:
        title: The name of the result.
        subtitle: The model, and how much of the video has usable faces.
        labels: The K labels of the probabilities.
        tracks: The tracks to draw, sorted by ID.
        n_tracks: Number of tracks in the result, drawn or not.
        begin_s: Begin of the analysed time.
        end_s: End of the analysed time.
        notes: What was left out or changed, one sentence each.
        each: What a timeline is of: "track" or "person".
        chosen: Whether the labels were chosen, so that each is drawn however low it is.
    """

    title: str
    subtitle: str
    labels: tuple[str, ...]
    tracks: tuple[Timeline, ...]
    n_tracks: int
    begin_s: float
    end_s: float
    notes: tuple[str, ...] = ()
    each: str = "track"
    chosen: bool = False

    @property
    def how_many(self) -> str:
        """How many tracks or people the result has, in words."""
        return _how_many(self.n_tracks, self.each)

    @property
    def has_unusable(self) -> bool:
        """Whether a drawn track is not usable at some time."""
        return any(len(track.unusable_s) for track in self.tracks)

    @property
    def has_absent(self) -> bool:
        """Whether a drawn track is not seen at some time, or there is none."""
        return not self.tracks or any(len(track.absent_s) for track in self.tracks)


def chart(
    result: Result,
    *,
    tracks: Sequence[int] = (),
    expressions: Sequence[str] = (),
    title: str | None = None,
    smooth_s: float | None = None,
    by: str = "track",
) -> Chart:
    """Read a result and prepare its plot.

    Args:
        result: Its rows are read here.
        tracks: IDs of the tracks to draw; all by default. IDs that the result lacks are ignored.
        expressions: Labels, or synonyms of them, to draw; all by default.
        title: The heading; the result's name by default.
        smooth_s: Width of a moving mean in seconds.
        by: "track", or "person" to join the tracks of each person.

    Raises:
        ResultError: The result is damaged, or has no column `person`.
        OptionError: The model has no such expression.
    """
    labels = result.resolve_labels(expressions) if expressions else result.labels
    require_expressions(result)
    columns = [*_COLUMNS, *(f"p_{label}" for label in labels)]
    if by == "person":
        rows, names, ids, _ = joined_rows(result, columns)
        subjects = subject_names(names, ids)
    else:
        rows, subjects = result.rows(columns), ()
    spans = frame_spans(rows, result.metadata)
    found = timelines(rows, spans, labels, subjects)
    drawn = [t for t in found if t.track_id in tracks or not tracks]
    notes = []
    if len(drawn) > MAX_TRACKS:
        notes.append(f"{MAX_TRACKS} of {_how_many(len(drawn), by)}, those seen longest.")
        longest = sorted(drawn, key=lambda t: -t.seen_s)[:MAX_TRACKS]
        drawn = sorted(longest, key=lambda t: t.track_id)
    if smooth_s is not None:
        drawn = [smoothed(t, smooth_s) for t in drawn]
        notes.append(f"Moving mean over {smooth_s:g} s, separate for usable and unusable frames.")
    return Chart(
        title=one_line(title or result.name),
        subtitle=_subtitle(result, rows, spans, _how_many(len(found), by)),
        labels=labels,
        tracks=tuple(drawn),
        n_tracks=len(found),
        begin_s=float(spans["start_s"].iloc[0]) if len(spans) else 0.0,
        end_s=float(spans["end_s"].iloc[-1]) if len(spans) else 0.0,
        notes=tuple(notes),
        each=by,
        chosen=bool(expressions),
    )


def _how_many(n: int, by: str) -> str:
    return people_text(n) if by == "person" else count_text(n, by)


def _subtitle(result: Result, rows: pd.DataFrame, spans: pd.DataFrame, how_many: str) -> str:
    """The model, and how much of the video has usable faces."""
    n = len(spans)
    seen = int(rows.loc[rows["face_detected"], "frame"].nunique())
    parts = [
        one_line(str(result.metadata.get("model", {}).get("name", "unknown model"))),
        f"faces in {seen:,} of {count_text(n, 'frame')}" + (f" ({seen / n:.0%})" if n else ""),
        how_many,
    ]
    faces = int(rows["face_detected"].sum())
    if faces:
        parts.append(f"{usable_rows(rows).sum() / faces:.0%} of faces usable")
    return " · ".join(parts)


def timelines(
    rows: pd.DataFrame, spans: pd.DataFrame, labels: Sequence[str], names: Sequence[str] = ()
) -> list[Timeline]:
    """Return one timeline per track, sorted by ID.

    Args:
        rows: Of one result, sorted.
        spans: The times of its frames, from `frame_spans`.
        labels: The labels whose probabilities are included.
        names: Of people, if `track_id` numbers them.
    """
    start, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    faces = rows[rows["face_detected"]]
    position = np.searchsorted(spans.index.to_numpy(), faces["frame"].to_numpy())  # (m,)
    ids = faces["track_id"].to_numpy(np.int64)
    p = faces[[f"p_{label}" for label in labels]].to_numpy(np.float64)  # (m, K)
    usable = usable_rows(faces)
    order = np.argsort(ids, kind="stable")
    found = []
    for own in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(order) else []:
        at = position[own]
        present = np.zeros(len(start), bool)
        present[at] = True
        unusable = np.zeros(len(start), bool)
        unusable[at] = ~usable[own]
        found.append(
            Timeline(
                int(ids[own[0]]), faces["frame"].to_numpy(np.int64)[own], start[at], end[at],
                p[own], usable[own], tuple(unbroken_runs(at)),
                spans_where(unusable, start, end), spans_where(~present, start, end),
                name=names[ids[own[0]]] if names else "",
            )
        )  # fmt: skip
    return found


def smoothed(timeline: Timeline, window_s: float) -> Timeline:
    """Return the timeline under a centred moving mean, weighted by time.

    The window does not extend over gaps, and usable and unusable frames are averaged separately:
    otherwise a turned head would affect the frames next to it.

    Args:
        timeline: The track to smooth.
        window_s: Width of the window in seconds.
    """
    p = timeline.probabilities.copy()
    middle = (timeline.start_s + timeline.end_s) / 2
    weight = np.maximum(timeline.end_s - timeline.start_s, 1e-9)
    for run in timeline.runs:
        for is_usable in (True, False):
            at = np.flatnonzero(timeline.usable[run] == is_usable) + run.start
            if not len(at):
                continue
            low = np.searchsorted(middle[at], middle[at] - window_s / 2 - 1e-9)
            high = np.searchsorted(middle[at], middle[at] + window_s / 2 + 1e-9)
            weights = np.append(0.0, np.cumsum(weight[at]))
            sums = np.cumsum(weight[at, None] * timeline.probabilities[at], axis=0)
            sums = np.vstack([np.zeros((1, p.shape[1])), sums])  # (n + 1, K)
            p[at] = (sums[high] - sums[low]) / (weights[high] - weights[low])[:, None]
    return replace(timeline, probabilities=p, smooth=True)


def track_title(track: Timeline) -> str:
    """Return the title of a track's panel."""
    seen = f"{track.seen_s:.1f} s" if track.seen_s < _MAX_SECONDS else clock(track.seen_s)
    name = one_line(track.name) or f"Track {track.track_id}"
    return f"{name}: seen {seen}, {track.usable_share:.0%} usable"


def uses_clock(begin_s: float, end_s: float) -> bool:
    """Whether the time axis is labelled m:ss rather than in seconds."""
    return end_s - begin_s > _MAX_SECONDS
