"""What one participant showed in one window of one trial: the cells of a design.

Every frame counts for the part of the window in which it is shown. A cell is missing, with a
reason, where the face cannot be chosen or too little of the window has a face that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jadfer_cli.analysis.event_rule import Rule, breaks_before, stretches
from jadfer_cli.analysis.face_table import CORRUPT_FRAME, UNEXPLAINED
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.analysis.score_columns import Names, ScoredFaces, weighted_median
from jadfer_cli.analysis.trials import Trial
from jadfer_cli.errors import OptionError

# Each measure, and its unit; None for that of the scores.
MEASURES = {
    "mean": None,
    "peak": None,
    "time_to_peak_s": "s",
    "area": "score * s",
    "share": "share of time",
    "events": "count",
    "latency_s": "s",
}
_MIN_S = 1e-9
# Reasons of `FaceTable.reason` that do not read as words in "mostly ..."; "" says nothing.
_WORDS = {CORRUPT_FRAME: "in corrupt frames", UNEXPLAINED: ""}
NOT_AMONG = "the participant is none of the people in the video"
TRIAL = "trial"  # the window from onset to the end of the trial


@dataclass(frozen=True)
class Window:
    """A window of each trial, relative to its onset.

    Attributes:
        name: In the table.
        start_s: Begin.
        end_s: End; None for the end of the trial.
    """

    name: str
    start_s: float
    end_s: float | None


@dataclass(frozen=True)
class DesignRule:
    """How the cells of a design are computed.

    Attributes:
        windows: At least one.
        baseline: Begin and end of each trial's baseline, relative to its onset; None for none.
        min_usable: Part of the window that must have a face that counts.
        scores: Which scores, by name.
        scale: "probability" or "logit"; None for that of the scores.
        events: What counts as an event, and whether all faces count.

    Raises:
        OptionError: A value is out of range, or two windows have the same name.
    """

    windows: tuple[Window, ...]
    baseline: tuple[float, float] | None = None
    min_usable: float = 0.7
    scores: str = "raw"
    scale: str | None = None
    events: Rule = field(default_factory=Rule)

    def __post_init__(self) -> None:
        if not 0 < self.min_usable <= 1:
            raise OptionError(
                f"`min_usable` must be above 0 and at most 1, not {self.min_usable:g}."
            )
        names = [window.name for window in self.windows]
        if len(set(names)) < len(names):
            raise OptionError("Two windows have the same name.", "Name each: `window` early=0,1")


@dataclass(frozen=True)
class Cell:
    """One window of one trial.

    Attributes:
        trial: The trial.
        window: The window.
        start_s: Its begin, relative to the onset.
        end_s: Its end; NaN if the trial has none.
        usable_share: Part of the window with a face that counts.
        counted_s: The same in seconds.
        baseline: float64 (K,), what was subtracted; NaN if nothing was.
        values: float64 (M, K), one row per measure; NaN if missing.
        reason: Why the cell is missing; "" if it is not.
        no_latency: object (K,), why the latency alone is missing; "" otherwise.
    """

    trial: Trial
    window: Window
    start_s: float
    end_s: float
    usable_share: float
    counted_s: float
    baseline: Floats
    values: Floats
    reason: str
    no_latency: Sequence[str]


@dataclass(frozen=True)
class _Face:
    """The faces of the participant in a result that count, sorted by time."""

    start_s: Floats
    end_s: Floats
    scores: Floats
    expression: Ints
    onsets: Sequence[tuple[Floats, Bools]]  # per label: onsets of events, and which are certain
    # of the participant's faces that do not count
    lost_start_s: Floats
    lost_end_s: Floats
    lost_reason: Names

    def weights(self, start_s: float, end_s: float) -> Floats:
        """How much of each face's time lies between two times, float64 (n,)."""
        found: Floats = np.minimum(self.end_s, end_s) - np.maximum(self.start_s, start_s)
        return np.maximum(found, 0)


class VideoCells:
    """Computes the cells of all trials of one video.

    Args:
        scored: The faces of the video; None if there is no result.
        rule: How cells are computed.
    """

    def __init__(self, scored: ScoredFaces | None, rule: DesignRule) -> None:
        self._scored, self._rule = scored, rule
        self._faces: dict[tuple[str | None, int | None], _Face] = {}

    def cells(self, trial: Trial) -> list[Cell]:
        """Return the cells of one trial, one per window."""
        if self._scored is None:
            return self._without_face(trial, "no result of this video")
        person = _person(trial, self._scored)
        own, reason = _chosen(trial, person, self._scored)
        if not reason and _several(trial, self._scored, own, self._rule):
            reason = "several faces at once; name one by track_id or person"
        if reason:
            return self._without_face(trial, reason)
        if problem := _without_scores(own, self._scored, self._rule):
            return self._without_face(trial, problem)
        key = (person, trial.track_id)
        if key not in self._faces:
            self._faces[key] = _face(self._scored, own, self._rule.events)
        face = self._faces[key]
        last_s = _last_s(self._scored)
        baseline, problem = _baseline(trial, face, self._rule, last_s)
        return [
            _cell(trial, window, face, baseline, problem, self._rule, last_s)
            for window in self._rule.windows
        ]

    def _without_face(self, trial: Trial, reason: str) -> list[Cell]:
        k = len(self._scored.set.labels) if self._scored is not None else 0
        return [
            _missing(trial, window, _end(window, trial), k, reason, np.nan, 0.0)
            for window in self._rule.windows
        ]


def _end(window: Window, trial: Trial) -> float:
    """The end of a window, relative to the onset; NaN if there is none."""
    if window.end_s is not None:
        return window.end_s
    return np.nan if trial.duration_s is None else trial.duration_s


def _missing(
    trial: Trial, window: Window, end_s: float, k: int, reason: str, share: float, seconds: float
) -> Cell:
    none = np.full(k, np.nan)
    return Cell(trial, window, window.start_s, end_s, share, seconds, none,
                np.full((len(MEASURES), k), np.nan), reason, [""] * k)  # fmt: skip


def _cell(
    trial: Trial, window: Window, face: _Face, baseline: Floats, problem: str, rule: DesignRule,
    last_s: float,
) -> Cell:  # fmt: skip
    end_s, k = _end(window, trial), face.scores.shape[1]
    if not end_s > window.start_s:
        return _missing(trial, window, end_s, k, "the trial has no duration", np.nan, 0.0)
    start, end = trial.onset_s + window.start_s, trial.onset_s + end_s
    weights = face.weights(start, end)
    seconds = float(weights.sum())
    share = min(seconds / (end - start), 1.0)
    if share < rule.min_usable - 1e-6 or seconds < _MIN_S:
        why = _most_lost(face, start, end, last_s)
        problem = f"usable for less than {rule.min_usable:.0%} of the window{why}"
    if problem:
        return _missing(trial, window, end_s, k, problem, share, seconds)
    inside = weights > 0
    w, x = weights[inside][:, None], face.scores[inside]
    if rule.baseline is not None:
        x = x - baseline
    begins = np.maximum(face.start_s[inside], start) - trial.onset_s
    shown = np.bincount(face.expression[inside], w[:, 0], k)
    area = (w * x).sum(0)
    events, latency, no_latency = _events(face, start, end, trial.onset_s)
    values = np.stack(
        [area / seconds, x.max(0), begins[x.argmax(0)], area, shown / seconds, events, latency]
    )
    return Cell(trial, window, window.start_s, end_s, share, seconds, baseline, values, "",
                no_latency)  # fmt: skip


def _events(
    face: _Face, start: float, end: float, onset_s: float
) -> tuple[Floats, Floats, list[str]]:
    """How many events of each label begin in a window, the latency of the first, and why not."""
    k = len(face.onsets)
    events, latency, reasons = np.zeros(k), np.full(k, np.nan), [""] * k
    for i, (onsets, certain) in enumerate(face.onsets):
        inside = (onsets >= start - 1e-6) & (onsets < end - 1e-6)
        events[i] = inside.sum()
        if not inside.any():
            reasons[i] = "no event begins in the window"
        elif not certain[inside][0]:
            reasons[i] = "the face was not judged just before the first event"
        else:
            latency[i] = onsets[inside][0] - onset_s
    return events, latency, reasons


def _most_lost(face: _Face, start: float, end: float, last_s: float) -> str:
    """What took most of the time that does not count, as the end of a sentence, if known."""
    lost = np.maximum(np.minimum(face.lost_end_s, end) - np.maximum(face.lost_start_s, start), 0)
    seconds: dict[str, float] = {}
    for reason in sorted(set(face.lost_reason.tolist())):
        words = _WORDS.get(reason, reason.replace("_", " "))
        own_s = float(lost[face.lost_reason == reason].sum())
        seconds[words] = seconds.get(words, 0.0) + own_s
    filmed = max(min(end, last_s) - max(start, 0.0), 0.0)
    seconds["without a face"] = filmed - lost.sum() - face.weights(start, end).sum()
    seconds["outside the video"] = end - start - filmed
    most = max(seconds, key=lambda reason: seconds[reason])
    return f", mostly {most}" if most else ""


def _baseline(trial: Trial, face: _Face, rule: DesignRule, last_s: float) -> tuple[Floats, str]:
    """The median in the trial's baseline span, or why there is none."""
    if rule.baseline is None:
        return np.full(face.scores.shape[1], np.nan), ""
    start, end = (trial.onset_s + each for each in rule.baseline)
    weights = face.weights(start, end)
    share = float(weights.sum()) / (end - start)
    if share < rule.min_usable - 1e-6:
        why = _most_lost(face, start, end, last_s)
        text = f"baseline usable for less than {rule.min_usable:.0%} of its span{why}"
        return np.full(face.scores.shape[1], np.nan), text
    inside = weights > 0
    return weighted_median(face.scores[inside], weights[inside]), ""


def _last_s(scored: ScoredFaces) -> float:
    ends = scored.annotated.frame_end_s
    return float(ends[-1]) if len(ends) else 0.0


def _person(trial: Trial, scored: ScoredFaces) -> str | None:
    """The participant's name in the column `person`; None if it is not known."""
    if trial.person is None and (scored.person == trial.participant).any():
        return trial.participant
    return trial.person


def _chosen(trial: Trial, person: str | None, scored: ScoredFaces) -> tuple[Bools, str]:
    """The participant's faces, bool (n,), and why they cannot be chosen; "" if they can."""
    faces, track = scored.faces, trial.track_id
    others = sorted(set(scored.person.tolist()) - {""})
    own = np.ones(len(faces), bool)
    if person is not None:
        own &= scored.person == person
    if track is not None:
        own &= faces.track == track
    if not len(faces):
        return own, "no face in the video"
    if not own.any():
        who = f"person {person}" if person is not None else f"track {track}"
        if person is not None and track is not None:
            who += f" as track {track}"
        return own, f"{who} is not in the video"
    if person is None and track is None and others:
        return own, f"{NOT_AMONG} ({', '.join(others)})"
    return own, ""


def _without_scores(own: Bools, scored: ScoredFaces, rule: DesignRule) -> str:
    """Why none of the faces that count has a score, such as a missing baseline; "" if one has."""
    counts = own & (scored.faces.intact if rule.events.all_faces else scored.faces.usable)
    if not counts.any() or np.isfinite(scored.scores[counts]).all(1).any():
        return ""
    return f"the face has no {scored.set.name} scores"


def _several(trial: Trial, scored: ScoredFaces, own: Bools, rule: DesignRule) -> bool:
    """Whether more than one of these faces is seen at once in a window or the baseline."""
    spans = [(window.start_s, _end(window, trial)) for window in rule.windows]
    if rule.baseline is not None:
        spans.append(rule.baseline)
    faces, near = scored.faces, np.zeros(len(scored.faces), bool)
    for start, end in spans:  # a span without an end has no frames
        near |= (faces.end_s > trial.onset_s + start) & (faces.start_s < trial.onset_s + end)
    near &= own
    positions = faces.position[near]
    return len(np.unique(positions)) < len(positions)


def _face(scored: ScoredFaces, own: Bools, rule: Rule) -> _Face:
    counts = own & scored.counted(all_faces=rule.all_faces)
    lost = own & ~counts
    reason = scored.faces.reason
    faces, scores, _ = scored.take(counts)
    breaks = breaks_before(faces, rule)
    onsets = []
    for p in faces.p.T:
        first, _ = stretches(p, faces, breaks, rule)
        order = np.argsort(faces.start_s[first], kind="stable")
        onsets.append((faces.start_s[first][order], ~breaks[first][order]))
    order = np.argsort(faces.start_s, kind="stable")
    return _Face(
        faces.start_s[order], faces.end_s[order], scores[order], faces.expression[order], onsets,
        scored.faces.start_s[lost], scored.faces.end_s[lost], reason[lost],
    )  # fmt: skip
