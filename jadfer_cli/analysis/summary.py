"""A row a video and track: how long it was seen, and what it showed.

Every frame counts by the time w it stands for (see timing). Of the faces that count (the
usable ones, or all), with V1 = sum(w) and V2 = sum(w^2):

    mean = sum(w p) / V1
    SD   = sqrt( sum(w (p - mean)^2) / (V1 - V2 / V1) )

which is the ordinary SD (n - 1) where all frames last equally long; NumPy's `cov` with
`aweights` gives the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import Annotated, FaceRows, Floats, Ints, episodes, read_faces
from jadfer_cli.results.load import Result

BY = ("track", "video")


@dataclass(frozen=True)
class Summary:
    """What one track, or all tracks of one video together, showed. Times in seconds.

    Attributes:
        result: The result's file.
        video: As the rows name it.
        track_id: None where it is of a whole video, or where there is no face at all.
        labels: The model's labels, K.
        tracks: Number of tracks.
        first_seen_s, last_seen_s: Begin of the first and end of the last frame with a face;
            None without one.
        seconds_seen: Time with a face. Where tracks are seen together, that time counts once.
        frames: Analysed frames with a face.
        face_s: Time with a face, summed over tracks.
        usable_s: The part of it in which the face is usable.
        counted_s: The time over which the rest of the figures are taken.
        mean, sd: float64 (K,), of the probabilities; NaN where nothing is to be averaged.
        shown_s: float64 (K,), time for which each expression is the top one.
        n_episodes: int64 (K,), episodes of each expression.
        transitions: int64 (K, K), how often an episode of the row's expression is followed, without
            a gap, by one of the column's.
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
        """Share of the time with a face in which it is usable; None without a face."""
        return self.usable_s / self.face_s if self.face_s else None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the counted time of each expression, the largest first; those shown at all."""
        if not self.counted_s:
            return {}
        order = np.argsort(-self.shown_s, kind="stable")
        return {
            self.labels[i]: float(self.shown_s[i] / self.counted_s)
            for i in order
            if self.shown_s[i] > 0
        }

    def row(self) -> dict[str, object]:
        """Its row in a table: the columns of `columns(labels)`."""
        found: dict[str, object] = {
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
            found[f"p_{label}_mean"], found[f"p_{label}_sd"] = self.mean[i], self.sd[i]
            found[f"share_{label}"] = seconds / self.counted_s if self.counted_s else None
            found[f"episodes_{label}"] = n
            found[f"episode_mean_s_{label}"] = seconds / n if n else None
        return found


def summarise(result: Result, *, by: str = "track", all_faces: bool = False) -> tuple[Summary, ...]:
    """The summaries of one result; a video without any face has one, too.

    Args:
        result: Its rows are read, and let go.
        by: "track", or "video" for all tracks together.
        all_faces: Count all faces, not only the usable ones.

    Raises:
        ResultError: The result is damaged.
    """
    return summaries(read_faces(result), str(result.path), by=by, all_faces=all_faces)


def summaries(
    annotated: Annotated, result: str, *, by: str = "track", all_faces: bool = False
) -> tuple[Summary, ...]:
    """As `summarise`, of rows that were read already."""
    tracks = annotated.faces.by_track()
    if by == "video" or not tracks:
        return (_of(annotated.faces, annotated, result, None, len(tracks), all_faces),)
    return tuple(
        _of(faces, annotated, result, track, 1, all_faces) for track, faces in tracks.items()
    )


def _of(
    faces: FaceRows,
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
    mean, sd = _weighted(counted.p, w)
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


def _weighted(p: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Mean and SD of p (n, K) by the weights w (n,); NaN where they are not defined."""
    nothing = np.full(p.shape[1], np.nan)
    total = w.sum()
    if total <= 0:
        return nothing, nothing
    mean = (w[:, None] * p).sum(0) / total
    freedom = total - (w**2).sum() / total
    if freedom <= 1e-12 * total:  # one frame has no spread
        return mean, nothing
    return mean, np.sqrt((w[:, None] * (p - mean) ** 2).sum(0) / freedom)


def columns(labels: Iterable[str]) -> list[str]:
    """The columns of a table of summaries, for these labels."""
    found = ["video", "result", "track_id", "tracks", "first_seen_s", "last_seen_s"]
    found += ["seconds_seen", "frames", "face_s", "usable_share", "counted_s"]
    found += ["episodes", "transitions"]
    labels = list(labels)
    for kind in ("p_{}_mean", "p_{}_sd", "share_{}", "episodes_{}", "episode_mean_s_{}"):
        found += [kind.format(label) for label in labels]
    return found


def table(items: Iterable[Summary]) -> pd.DataFrame:
    """A row a summary. Labels that a model does not know are null in its rows."""
    items = list(items)
    labels = list(dict.fromkeys(label for item in items for label in item.labels))
    found = pd.DataFrame([item.row() for item in items], columns=columns(labels))
    whole = ["track_id", *(f"episodes_{label}" for label in labels)]
    return found.astype({name: "Int64" for name in whole})


def transition_table(items: Iterable[Summary]) -> pd.DataFrame:
    """A row a summary and pair of expressions: `from`, `to`, `count`; zeros included."""
    found = pd.DataFrame(
        [row for item in items for row in _pairs(item)],
        columns=["video", "result", "track_id", "from", "to", "count"],
    )
    return found.astype({"track_id": "Int64", "count": "int64"})


def _pairs(item: Summary) -> Iterator[tuple[object, ...]]:
    for i, before in enumerate(item.labels):
        for j, after in enumerate(item.labels):
            if i != j:
                count = int(item.transitions[i, j])
                yield item.video, item.result, item.track_id, before, after, count
