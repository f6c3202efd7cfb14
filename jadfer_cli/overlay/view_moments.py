"""Moments of a result that a person should look at before believing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from jadfer_cli.analysis.frame_times import Bools, unbroken_runs
from jadfer_cli.analysis.plots.timelines import Timeline
from jadfer_cli.text import one_line

LOW_P_MAX = 0.5  # below it, all other expressions together are more probable than the top one
_JOIN_S = 0.2  # interruptions up to this length do not end a moment
MAX_LISTED = 300  # of one kind


@dataclass(frozen=True)
class Moment:
    """A part of the video.

    Attributes:
        frame: The frame to look at.
        start_s: When it begins.
        end_s: When it ends.
        text: What is there, in words.
    """

    frame: int
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class MomentList:
    """Moments of one kind, in order.

    Attributes:
        title: What they have in common.
        moments: At most `MAX_LISTED`, the first ones.
        n_moments: Number of all.
    """

    title: str
    moments: tuple[Moment, ...]
    n_moments: int


def doubtful_moments(
    tracks: Sequence[Timeline], labels: Sequence[str], rows: pd.DataFrame, spans: pd.DataFrame
) -> list[MomentList]:
    """Return what to look at, by kind; kinds without a moment are left out.

    Args:
        tracks: Of the result.
        labels: The model's labels, in the order of the probabilities.
        rows: Of the result, sorted; needs `frame` and `frame_status`.
        spans: The times of its frames, from `frame_spans`.
    """
    begin_s, end_s = float(spans["start_s"].iloc[0]), float(spans["end_s"].iloc[-1])
    kinds = {
        f"Low probability: the top expression is below {LOW_P_MAX:.0%}":
            [m for track in tracks for m in _uncertain(track, labels)],
        "Face not usable": [m for track in tracks for m in _unusable(track)],
        "Tracks begin, end or are interrupted":
            [m for track in tracks for m in _changes(track, begin_s, end_s)],
        "Frames damaged or repeated": _damaged(rows, spans),
    }  # fmt: skip
    ordered = {title: sorted(all_, key=lambda m: m.start_s) for title, all_ in kinds.items()}
    return [
        MomentList(title, tuple(all_[:MAX_LISTED]), len(all_))
        for title, all_ in ordered.items()
        if all_
    ]


def _uncertain(track: Timeline, labels: Sequence[str]) -> list[Moment]:
    highest = track.probabilities.max(axis=1, initial=0.0)
    found = []
    for own in _joined(track, track.usable & (highest < LOW_P_MAX)):
        lowest = own.start + int(np.where(track.usable[own], highest[own], np.inf).argmin())
        label = one_line(labels[int(track.probabilities[lowest].argmax())])
        text = f"track {track.track_id}: {label} {highest[lowest]:.0%}"
        found.append(_moment(track, own, lowest, text))
    return found


def _unusable(track: Timeline) -> list[Moment]:
    return [
        _moment(track, own, own.start, f"track {track.track_id}")
        for own in _joined(track, ~track.usable)
    ]


def _joined(track: Timeline, mask: Bools) -> list[slice]:
    """The parts of a track in which the mask is true, with short interruptions closed."""
    runs = []
    for seen in track.runs:
        at = np.flatnonzero(mask[seen]) + seen.start
        runs += [slice(int(at[r.start]), int(at[r.stop - 1]) + 1) for r in unbroken_runs(at)]
    joined: list[slice] = []
    for run in runs:
        if joined and track.start_s[run.start] - track.end_s[joined[-1].stop - 1] <= _JOIN_S:
            joined[-1] = slice(joined[-1].start, run.stop)
        else:
            joined.append(run)
    return joined


def _moment(track: Timeline, own: slice, at: int, text: str) -> Moment:
    return Moment(
        int(track.frame[at]), float(track.start_s[own.start]), float(track.end_s[own.stop - 1]),
        text,
    )  # fmt: skip


def _changes(track: Timeline, begin_s: float, end_s: float) -> list[Moment]:
    """Where a track begins after the others, is interrupted, or ends before the video does."""
    name, runs = f"track {track.track_id}", track.runs
    first, last = runs[0].start, runs[-1].stop - 1
    found = []
    if track.start_s[first] > begin_s:
        at_s = float(track.start_s[first])
        found.append(Moment(int(track.frame[first]), at_s, at_s, f"{name} begins"))
    for before, after in pairwise(runs):
        lost_s, back_s = float(track.end_s[before.stop - 1]), float(track.start_s[after.start])
        text = f"{name} is not seen for {back_s - lost_s:.2f} s"
        found.append(Moment(int(track.frame[before.stop - 1]), lost_s, back_s, text))
    if track.end_s[last] < end_s:
        at_s = float(track.end_s[last])
        found.append(Moment(int(track.frame[last]), at_s, at_s, f"{name} ends"))
    return found


def _damaged(rows: pd.DataFrame, spans: pd.DataFrame) -> list[Moment]:
    frames = rows[~rows["frame"].duplicated()]
    status = frames["frame_status"].astype(str).to_numpy()
    number = frames["frame"].to_numpy(np.int64)
    start_s, end_s = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    found = []
    for kind in ("corrupt", "repeated"):
        at = np.flatnonzero(status == kind)
        for run in unbroken_runs(at):
            a, b = int(at[run.start]), int(at[run.stop - 1])
            text = f"{b - a + 1} {kind} frame{'s' if b > a else ''}"
            found.append(Moment(int(number[a]), float(start_s[a]), float(end_s[b]), text))
    return found
