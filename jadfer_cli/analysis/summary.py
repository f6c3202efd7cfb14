"""Summarise results: one row per video and track, with how long it was seen and what it showed.

Every frame is weighted by the time w that it represents (see frame_times). Over the faces that
count (the usable ones, or all), with V1 = sum(w) and V2 = sum(w^2):

    mean = sum(w p) / V1
    SD   = sqrt( sum(w (p - mean)^2) / (V1 - V2 / V1) )

If all frames last equally long, this is the ordinary SD (n - 1). NumPy's `cov` with `aweights`
gives the same.

Angles are averaged as directions, since +180 and -180 degrees are the same: with the mean
resultant R e^(i m) = sum(w e^(i a)) / V1, the circular mean is m and the circular SD is
sqrt(-2 ln R) (Mardia and Jupp 2000, as in `scipy.stats.circstd`, which takes no weights).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from jadfer_cli.analysis import action_summary
from jadfer_cli.analysis.event_rule import Rule, episodes_by_rule, faces_text
from jadfer_cli.analysis.face_table import (
    ANGLES,
    Annotated,
    FaceTable,
    raw_episodes,
    read_faces,
    require_expressions,
)
from jadfer_cli.analysis.frame_times import Floats, Ints, weighted_mean_and_sd
from jadfer_cli.results.load import Result

BY = ("track", "video")
_AS_EVENTS = Rule()


@dataclass(frozen=True)
class Summary:
    """What one track, or all tracks of one video together, showed. Times are in seconds.

    Attributes:
        result: The result's file.
        video: The video's name in the rows.
        track_id: None for a whole video, for a person with several tracks, or without any face.
        labels: The model's K labels.
        tracks: Number of tracks.
        first_seen_s: Start of the first frame with a face; None without one.
        last_seen_s: End of the last frame with a face; None without one.
        video_s: Length of the video.
        analysed_s: Time that the analysed frames represent.
        frame_step_s: Typical time from one analysed frame to the next.
        seconds_seen: Time with a face. Time with several tracks counts once.
        usable_seen_s: Time with a usable face. Time with several tracks counts once.
        frames: Number of analysed frames with a face.
        face_s: Time with a face, summed over tracks.
        usable_s: The part of `face_s` in which the face is usable and the frame intact.
        counted_s: The time from which the values below are computed.
        mean: float64 (K,), mean probabilities; NaN without counted time.
        sd: float64 (K,), SDs of the probabilities; NaN with fewer than two frames.
        shown_s: float64 (K,), time for which each expression has the highest probability.
        n_episodes: int64 (K,), number of episodes of each expression.
        episode_s: float64 (K,), summed duration of these episodes.
        transitions: int64 (K, K), how often an episode of the row's expression is followed,
            without a long gap, by one of the column's expression.
        angles_deg: float64 (3,), circular means of yaw, pitch and roll; NaN without counted time.
        angles_sd_deg: float64 (3,), their circular SDs.
        rule: How episodes and transitions were counted, in words.
        actions: Columns of `action_summary.COLUMNS`; empty without actions.
    """

    result: str
    video: str
    track_id: int | None
    labels: tuple[str, ...]
    tracks: int
    video_s: float
    analysed_s: float
    frame_step_s: float
    first_seen_s: float | None
    last_seen_s: float | None
    seconds_seen: float
    usable_seen_s: float
    frames: int
    face_s: float
    usable_s: float
    counted_s: float
    mean: Floats
    sd: Floats
    shown_s: Floats
    n_episodes: Ints
    episode_s: Floats
    transitions: Ints
    angles_deg: Floats
    angles_sd_deg: Floats
    rule: str
    person: str | None = None  # only if the tracks of each person were pooled
    actions: Mapping[str, object] = field(default_factory=dict)

    @property
    def face_share(self) -> float | None:
        """Fraction of the analysed time with a face; None if no frame was analysed."""
        return self.seconds_seen / self.analysed_s if self.analysed_s else None

    @property
    def usable_share_of_video(self) -> float | None:
        """Fraction of the analysed time with a usable face; None if no frame was analysed."""
        return self.usable_seen_s / self.analysed_s if self.analysed_s else None

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
            **({} if self.person is None else {"person": self.person}),
            "tracks": self.tracks,
            "video_s": self.video_s,
            "analysed_s": self.analysed_s,
            "frame_step_s": self.frame_step_s,
            "first_seen_s": self.first_seen_s,
            "last_seen_s": self.last_seen_s,
            "seconds_seen": self.seconds_seen,
            "face_share": self.face_share,
            "frames": self.frames,
            "face_s": self.face_s,
            "usable_share": self.usable_share,
            "usable_share_of_video": self.usable_share_of_video,
            "counted_s": self.counted_s,
            "episodes": int(self.n_episodes.sum()),
            "transitions": int(self.transitions.sum()),
            "rule": self.rule,
        }
        for name, mean, sd in zip(ANGLES, self.angles_deg, self.angles_sd_deg, strict=True):
            values[f"{name}_mean_deg"], values[f"{name}_sd_deg"] = float(mean), float(sd)
        for i, label in enumerate(self.labels):
            n, seconds = int(self.n_episodes[i]), float(self.shown_s[i])
            values[f"p_{label}_mean"], values[f"p_{label}_sd"] = self.mean[i], self.sd[i]
            values[f"share_{label}"] = seconds / self.counted_s if self.counted_s else None
            values[f"episodes_{label}"] = n
            values[f"episode_mean_s_{label}"] = float(self.episode_s[i]) / n if n else None
        return values | dict(self.actions)


def summarise(
    result: Result, *, by: str = "track", rule: Rule = _AS_EVENTS, raw_changes: bool = False
) -> tuple[Summary, ...]:
    """Summarise one result. A video without any face also has a summary.

    Args:
        result: Its rows are read here, and not kept.
        by: "track", or "video" for all tracks together.
        rule: What counts as an episode, and which faces count.
        raw_changes: Count unbroken runs of one top expression as episodes instead; of the rule,
            only which faces count then matters.

    Raises:
        ResultError: The result is damaged.
    """
    require_expressions(result)
    annotated = read_faces(result)
    items = summaries(annotated, result, by=by, rule=rule, raw_changes=raw_changes)
    tracks = annotated.faces.by_track()
    groups = {
        item.track_id: annotated.faces if item.track_id is None else tracks[item.track_id]
        for item in items
    }
    acted = action_summary.action_summaries(result, groups, all_faces=rule.all_faces)
    return tuple(replace(item, actions=acted.get(item.track_id, {})) for item in items)


def summaries(
    annotated: Annotated,
    result: Result,
    *,
    by: str = "track",
    rule: Rule = _AS_EVENTS,
    raw_changes: bool = False,
) -> tuple[Summary, ...]:
    """Summarise rows that were already read; otherwise as `summarise`."""
    video_s = float(result.metadata["video"].get("duration_s") or 0.0)
    tracks = annotated.faces.by_track()
    whole = by == "video" or not tracks
    groups = {None: annotated.faces} if whole else tracks
    return tuple(
        Summary(
            result=str(result.path),
            video=annotated.video,
            track_id=track,
            labels=annotated.labels,
            tracks=len(tracks) if whole else 1,
            video_s=video_s,
            analysed_s=annotated.analysed_s,
            frame_step_s=annotated.frame_step_s,
            **_presence(faces, annotated),
            **_measures(faces.counted(all_faces=rule.all_faces), len(annotated.labels)),
            **_changes(faces, len(annotated.labels), rule, raw_changes),
        )
        for track, faces in groups.items()
    )


def _presence(faces: FaceTable, annotated: Annotated) -> dict[str, Any]:
    """The fields of a Summary that say when a face is seen and usable."""
    return {
        "first_seen_s": float(faces.start_s.min()) if len(faces) else None,
        "last_seen_s": float(faces.end_s.max()) if len(faces) else None,
        "seconds_seen": annotated.seconds_with(faces),
        "usable_seen_s": annotated.seconds_with(faces.counted()),
        "frames": len(np.unique(faces.position)),
        "face_s": float(faces.span_s.sum()),
        "usable_s": float(faces.counted().span_s.sum()),
    }


def _measures(counted: FaceTable, n_labels: int) -> dict[str, Any]:
    """The fields of a Summary that are computed frame by frame from the faces that count."""
    w = counted.span_s
    named = counted.expression >= 0  # none in results without expressions
    mean, sd = weighted_mean_and_sd(counted.p, w)
    angles, angles_sd = _circular_mean_and_sd(counted.angles_deg, w)
    return {
        "counted_s": float(w.sum()),
        "mean": mean,
        "sd": sd,
        "angles_deg": angles,
        "angles_sd_deg": angles_sd,
        "shown_s": np.bincount(counted.expression[named], w[named], n_labels).astype(np.float64),
    }


def _changes(faces: FaceTable, n_labels: int, rule: Rule, raw_changes: bool) -> dict[str, Any]:
    """The fields of a Summary about episodes and transitions."""
    counted = faces.counted(all_faces=rule.all_faces)
    if not n_labels:  # a result without expressions has no episodes
        counted, raw_changes = counted.take(slice(0)), True
    found = raw_episodes(counted) if raw_changes else episodes_by_rule(counted, rule)
    steps = np.flatnonzero(found.follows)
    transitions = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(transitions, (found.expression[steps - 1], found.expression[steps]), 1)
    duration_s = found.end_s - found.start_s
    return {
        "n_episodes": np.bincount(found.expression, minlength=n_labels),
        "episode_s": np.bincount(found.expression, duration_s, n_labels).astype(np.float64),
        "transitions": transitions,
        "rule": f"raw changes, {faces_text(rule.all_faces)}" if raw_changes else rule.text(),
    }


def _circular_mean_and_sd(angles_deg: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Circular mean (k,) and SD (k,) of angles (n, k) with the weights w (n,); NaN without any."""
    if w.sum() <= 0:
        undefined = np.full(angles_deg.shape[1], np.nan)
        return undefined, undefined
    resultant = np.average(np.exp(1j * np.radians(angles_deg)), axis=0, weights=w)  # (k,)
    length = np.clip(np.abs(resultant), 1e-300, 1.0)  # rounding may give a little more than 1
    return np.degrees(np.angle(resultant)), np.degrees(np.sqrt(2 * np.abs(np.log(length))))


def _person(people: bool) -> list[str]:
    return ["person"] if people else []


def columns(labels: Iterable[str], *, people: bool = False) -> list[str]:
    """Return the columns of a table of summaries, for these labels, with or without `person`."""
    names = ["video", "result", *_person(people), "track_id", "tracks", "video_s", "analysed_s"]
    names += ["frame_step_s"]
    names += ["first_seen_s", "last_seen_s", "seconds_seen", "face_share", "frames", "face_s"]
    names += ["usable_share", "usable_share_of_video", "counted_s"]
    names += ["episodes", "transitions", "rule"]
    names += [f"{name}_{what}_deg" for name in ANGLES for what in ("mean", "sd")]
    labels = list(labels)
    for template in ("p_{}_mean", "p_{}_sd", "share_{}", "episodes_{}", "episode_mean_s_{}"):
        names += [template.format(label) for label in labels]
    return names


def table(items: Iterable[Summary]) -> pd.DataFrame:
    """Return one row per summary. Labels that a model lacks are null in its rows."""
    items = list(items)
    labels = list(dict.fromkeys(label for item in items for label in item.labels))
    people = any(item.person is not None for item in items)
    with_actions = any(item.actions for item in items)
    names = [
        *columns(labels, people=people),
        *(action_summary.COLUMNS if with_actions else ()),
    ]
    rows = pd.DataFrame([item.row() for item in items], columns=names)
    nullable_ints = ["track_id", *(f"episodes_{label}" for label in labels)]
    nullable_ints += action_summary.BLINK_COLUMNS[:2] if with_actions else ()
    rows = rows.astype({name: "Int64" for name in nullable_ints})
    rows.attrs = {"jadfer_summary": {"rule": sorted({item.rule for item in items})}}
    return rows


def transition_table(items: Iterable[Summary]) -> pd.DataFrame:
    """Return one row per summary and pair of expressions: `from`, `to`, `count`, even if 0."""
    items = list(items)
    people = any(item.person is not None for item in items)
    rows = pd.DataFrame(
        [row for item in items for row in _transition_rows(item, people)],
        columns=["video", "result", *_person(people), "track_id", "from", "to", "count", "rule"],
    )
    return rows.astype({"track_id": "Int64", "count": "int64"})


def _transition_rows(item: Summary, people: bool) -> Iterator[tuple[object, ...]]:
    for i, before in enumerate(item.labels):
        for j, after in enumerate(item.labels):
            if i != j:
                count = int(item.transitions[i, j])
                person = [item.person] if people else []
                yield (item.video, item.result, *person, item.track_id, before, after, count,
                       item.rule)  # fmt: skip
