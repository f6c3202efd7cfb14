"""Summarise results: one row per video and track, with how long it was seen and what it showed.

Every frame is weighted by the time w that it represents (see frame_times). Over the faces that
count (the usable ones, or all), with V1 = sum(w) and V2 = sum(w^2):

    mean = sum(w p) / V1
    SD   = sqrt( sum(w (p - mean)^2) / (V1 - V2 / V1) )

If all frames last equally long, this is the ordinary SD (n - 1). NumPy's `cov` with `aweights`
gives the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import Annotated, FaceTable, episodes, read_faces
from jadfer_cli.analysis.frame_times import Floats, Ints
from jadfer_cli.results.load import Result

BY = ("track", "video")


@dataclass(frozen=True)
class Summary:
    """What one track, or all tracks of one video together, showed. Times are in seconds.

    Attributes:
        result: The result's file.
        video: The video's name in the rows.
        track_id: None for a whole video, or if there is no face at all.
        labels: The model's K labels.
        tracks: Number of tracks.
        first_seen_s: Start of the first frame with a face; None without one.
        last_seen_s: End of the last frame with a face; None without one.
        seconds_seen: Time with a face. Time with several tracks counts once.
        frames: Number of analysed frames with a face.
        face_s: Time with a face, summed over tracks.
        usable_s: The part of `face_s` in which the face is usable.
        counted_s: The time from which the values below are computed.
        mean: float64 (K,), mean probabilities; NaN without counted time.
        sd: float64 (K,), SDs of the probabilities; NaN with fewer than two frames.
        shown_s: float64 (K,), time for which each expression has the highest probability.
        n_episodes: int64 (K,), number of episodes of each expression.
        transitions: int64 (K, K), how often an episode of the row's expression is followed,
            without a gap, by one of the column's expression.
    """

    result: str
    video: str
    track_id: int | None
    labels: tuple[str, ...]
    tracks: int
    first_seen_s: float | None
    last_seen_s: float | None
    seconds_seen: float
    frames: int
    face_s: float
    usable_s: float
    counted_s: float
    mean: Floats
    sd: Floats
    shown_s: Floats
    n_episodes: Ints
    transitions: Ints

    @property
    def usable_share(self) -> float | None:
        """Fraction of the time with a face in which it is usable; None without a face."""
        return self.usable_s / self.face_s if self.face_s else None

    @property
    def shares(self) -> dict[str, float]:
        """Fraction of the counted time of each expression that occurs, the largest first."""
        if not self.counted_s:
            return {}
        order = np.argsort(-self.shown_s, kind="stable")
        return {
            self.labels[i]: float(self.shown_s[i] / self.counted_s)
            for i in order
            if self.shown_s[i] > 0
        }

    def row(self) -> dict[str, object]:
        """Return its row in a table, with the columns `columns(labels)`."""
        values: dict[str, object] = {
            "video": self.video,
            "result": self.result,
            "track_id": self.track_id,
            "tracks": self.tracks,
            "first_seen_s": self.first_seen_s,
            "last_seen_s": self.last_seen_s,
            "seconds_seen": self.seconds_seen,
            "frames": self.frames,
            "face_s": self.face_s,
            "usable_share": self.usable_share,
            "counted_s": self.counted_s,
            "episodes": int(self.n_episodes.sum()),
            "transitions": int(self.transitions.sum()),
        }
        for i, label in enumerate(self.labels):
            n, seconds = int(self.n_episodes[i]), float(self.shown_s[i])
            values[f"p_{label}_mean"], values[f"p_{label}_sd"] = self.mean[i], self.sd[i]
            values[f"share_{label}"] = seconds / self.counted_s if self.counted_s else None
            values[f"episodes_{label}"] = n
            values[f"episode_mean_s_{label}"] = seconds / n if n else None
        return values


def summarise(result: Result, *, by: str = "track", all_faces: bool = False) -> tuple[Summary, ...]:
    """Summarise one result. A video without any face also has a summary.

    Args:
        result: Its rows are read here, and not kept.
        by: "track", or "video" for all tracks together.
        all_faces: Count all faces rather than only the usable ones.

    Raises:
        ResultError: The result is damaged.
    """
    return summaries(read_faces(result), str(result.path), by=by, all_faces=all_faces)


def summaries(
    annotated: Annotated, result: str, *, by: str = "track", all_faces: bool = False
) -> tuple[Summary, ...]:
    """Summarise rows that were already read; otherwise as `summarise`."""
    tracks = annotated.faces.by_track()
    if by == "video" or not tracks:
        return (_summary(annotated.faces, annotated, result, None, len(tracks), all_faces),)
    return tuple(
        _summary(faces, annotated, result, track, 1, all_faces) for track, faces in tracks.items()
    )


def _summary(
    faces: FaceTable,
    annotated: Annotated,
    result: str,
    track: int | None,
    tracks: int,
    all_faces: bool,
) -> Summary:
    n_labels = len(annotated.labels)
    counted = faces if all_faces else faces.take(faces.usable)
    w = counted.span_s
    runs = episodes(counted)
    shown_s = np.bincount(runs.expression, runs.end_s - runs.start_s, n_labels).astype(np.float64)
    steps = np.flatnonzero(runs.follows)
    transitions = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(transitions, (runs.expression[steps - 1], runs.expression[steps]), 1)
    mean, sd = _weighted_mean_and_sd(counted.p, w)
    seen = np.unique(faces.position)
    return Summary(
        result=result,
        video=annotated.video,
        track_id=track,
        labels=annotated.labels,
        tracks=tracks,
        first_seen_s=float(faces.start_s.min()) if len(faces) else None,
        last_seen_s=float(faces.end_s.max()) if len(faces) else None,
        seconds_seen=float((annotated.frame_end_s[seen] - annotated.frame_start_s[seen]).sum()),
        frames=len(seen),
        face_s=float(faces.span_s.sum()),
        usable_s=float(faces.span_s[faces.usable].sum()),
        counted_s=float(w.sum()),
        mean=mean,
        sd=sd,
        shown_s=shown_s,
        n_episodes=np.bincount(runs.expression, minlength=n_labels),
        transitions=transitions,
    )


def _weighted_mean_and_sd(p: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Mean (K,) and SD (K,) of p (n, K) with the weights w (n,); NaN where undefined."""
    undefined = np.full(p.shape[1], np.nan)
    v1 = w.sum()
    if v1 <= 0:
        return undefined, undefined
    mean = (w[:, None] * p).sum(0) / v1
    denominator = v1 - (w**2).sum() / v1
    if denominator <= 1e-12 * v1:  # the SD of one frame is undefined
        return mean, undefined
    return mean, np.sqrt((w[:, None] * (p - mean) ** 2).sum(0) / denominator)


def columns(labels: Iterable[str]) -> list[str]:
    """Return the columns of a table of summaries, for these labels."""
    names = ["video", "result", "track_id", "tracks", "first_seen_s", "last_seen_s"]
    names += ["seconds_seen", "frames", "face_s", "usable_share", "counted_s"]
    names += ["episodes", "transitions"]
    labels = list(labels)
    for template in ("p_{}_mean", "p_{}_sd", "share_{}", "episodes_{}", "episode_mean_s_{}"):
        names += [template.format(label) for label in labels]
    return names


def table(items: Iterable[Summary]) -> pd.DataFrame:
    """Return one row per summary. Labels that a model lacks are null in its rows."""
    items = list(items)
    labels = list(dict.fromkeys(label for item in items for label in item.labels))
    rows = pd.DataFrame([item.row() for item in items], columns=columns(labels))
    nullable_ints = ["track_id", *(f"episodes_{label}" for label in labels)]
    return rows.astype({name: "Int64" for name in nullable_ints})


def transition_table(items: Iterable[Summary]) -> pd.DataFrame:
    """Return one row per summary and pair of expressions: `from`, `to`, `count`, even if 0."""
    rows = pd.DataFrame(
        [row for item in items for row in _transition_rows(item)],
        columns=["video", "result", "track_id", "from", "to", "count"],
    )
    return rows.astype({"track_id": "Int64", "count": "int64"})


def _transition_rows(item: Summary) -> Iterator[tuple[object, ...]]:
    for i, before in enumerate(item.labels):
        for j, after in enumerate(item.labels):
            if i != j:
                count = int(item.transitions[i, j])
                yield item.video, item.result, item.track_id, before, after, count
