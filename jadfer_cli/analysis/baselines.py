"""The neutral face of each person, and how far every score is from it.

A baseline is the median over time of each score within a neutral span. The user gives that span,
or the calmest one is found: of all windows of a length without a gap, the one in which the
probabilities change least (the smallest sum of their variances over time). Windows in which neutral
has the highest mean probability come first, since an unchanging smile is calm, too.

A baseline holds for a person in all results together. Without a column `person`, or where it is
empty or "unknown", it holds for a track of one result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jadfer_cli.analysis.event_rule import faces_text
from jadfer_cli.analysis.face_table import FaceTable
from jadfer_cli.analysis.frame_times import Bools, Floats
from jadfer_cli.analysis.neutral_spans import NeutralSpan
from jadfer_cli.analysis.score_columns import (
    CHANGE,
    RAW,
    Names,
    ScoredFaces,
    unbroken,
    weighted_median,
)
from jadfer_cli.analysis.smoothing import check_name
from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.results.derived import Added
from jadfer_cli.text import encodable

NEUTRAL = "neutral"
MIN_COVERED = 0.5  # of a given span; a median of less would stand for little of it
_TOLERANCE_S = 1e-6
Key = tuple[str, str, int]  # person, "", -1; or "", result, track


@dataclass(frozen=True)
class BaselineRule:
    """How baselines are found.

    Attributes:
        window_s: Length of the calmest span; not used for given spans.
        spans: The spans given; empty to find the calmest.
        scores: Which scores, by name.
        scale: "probability" or "logit"; None for that of the scores.
        all_faces: Also use faces that are not usable.
        name: Of the new columns; None for "change".

    Raises:
        OptionError: A value is out of range.
    """

    window_s: float = 2.0
    spans: tuple[NeutralSpan, ...] = ()
    scores: str = RAW
    scale: str | None = None
    all_faces: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.window_s < np.inf:
            raise OptionError(f"`seconds` must be more than 0, not {self.window_s:g}.")
        check_name(self.name)


@dataclass(frozen=True)
class Span:
    """A part of one result, in seconds of `time_s`."""

    result: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Baseline:
    """The baseline of one person or track.

    Attributes:
        person: The person; "" for a track.
        track_id: The track; None for a person.
        spans: Where the neutral face was taken from: the calmest, or all given ones in which a face
            counts.
        how: "calmest" or "given".
        seconds: Time from which the median was taken.
        is_neutral: Whether neutral has the highest mean probability in them.
        values: float64 (K,), the medians.
    """

    person: str
    track_id: int | None
    spans: tuple[Span, ...]
    how: str
    seconds: float
    is_neutral: bool
    values: Floats

    def row(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the baseline, JSON-ready, for metadata and tables."""
        return {
            "person": encodable(self.person) or None,
            "track_id": self.track_id,
            "spans": [
                {
                    "result": encodable(span.result),
                    "start_s": round(span.start_s, 6),
                    "end_s": round(span.end_s, 6),
                }
                for span in self.spans
            ],
            "how": self.how,
            "seconds": round(self.seconds, 6),
            "is_neutral": self.is_neutral,
            **{label: float(v) for label, v in zip(labels, self.values, strict=True)},
        }


@dataclass
class _Found:
    """What was found so far of one person or track."""

    calm: tuple[bool, float] = (False, np.inf)  # is neutral, unrest
    best: Baseline | None = None
    pieces: list[tuple[FaceTable, Floats]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    given_s: float = 0.0
    seen_s: float = 0.0


def key_of(scored: ScoredFaces, person: str, track: int) -> Key:
    """Return for whom a face's baseline holds."""
    return (person, "", -1) if person else ("", str(scored.result.path), track)


def find_baselines(
    everything: Iterable[ScoredFaces], rule: BaselineRule
) -> tuple[dict[Key, Baseline], dict[Key, str]]:
    """Find the baselines of all people.

    Args:
        everything: All results, each once; they are not kept.
        rule: How.

    Returns:
        The baselines, and for everyone without one the reason.

    Raises:
        ResultError: The results are of models with different labels.
    """
    found: dict[Key, _Found] = {}
    labels: tuple[str, ...] = ()
    for scored in everything:
        if labels and labels != scored.set.labels:
            raise ResultError(
                f"{scored.result.path} has other labels than the results before it, so they "
                "cannot share baselines.",
                "Give the results of each model alone.",
            )
        labels = scored.set.labels
        counts = scored.counted(all_faces=rule.all_faces)
        for key, own in _people(scored):
            one = found.setdefault(key, _Found())
            faces, values, person = scored.take(counts & own)
            one.seen_s += float(faces.span_s.sum())
            if rule.spans:
                tracks = set(scored.faces.track[own].tolist())
                _add_given(one, key, str(scored.result.path), tracks, faces, values, rule.spans)
            else:
                _add_calmest(one, key, scored, faces, values, person, rule.window_s)
    baselines, reasons = {}, {}
    for key, one in found.items():
        best = _of_given(one, key, labels) if rule.spans else one.best
        if best is not None:
            baselines[key] = best
        elif rule.spans:
            reasons[key] = (
                "no neutral span is given" if not one.given_s
                else f"less than {MIN_COVERED:.0%} of its neutral span counts"
            )  # fmt: skip
        else:
            reasons[key] = (
                f"no span of {rule.window_s:g} s without a gap" if one.seen_s
                else "no face of theirs is usable"
            )  # fmt: skip
    return baselines, reasons


def _people(scored: ScoredFaces) -> list[tuple[Key, Bools]]:
    """Everyone in a result, with the faces of each, bool (n,)."""
    keys = [key_of(scored, p, t) for p, t in zip(scored.person, scored.faces.track.tolist(),
                                                 strict=True)]  # fmt: skip
    codes: dict[Key, int] = {}
    numbers = np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64)
    return [(key, numbers == code) for key, code in codes.items()]


def _add_calmest(
    one: _Found, key: Key, scored: ScoredFaces, faces: FaceTable, values: Floats, person: Names,
    window_s: float,
) -> None:  # fmt: skip
    """Keep the calmest window of this result, if it is calmer than those before."""
    for run in unbroken(faces, person):
        own = faces.take(run)
        first, last = _windows(own, window_s)
        if not len(first):
            continue
        mean, unrest = _moments(own, first, last)
        is_neutral = _neutral(mean, scored.set.labels)
        best = min(range(len(first)), key=lambda i: (not is_neutral[i], unrest[i]))
        calm = (bool(is_neutral[best]), float(unrest[best]))
        if (not calm[0], calm[1]) >= (not one.calm[0], one.calm[1]) and one.best is not None:
            continue
        span = slice(int(first[best]), int(last[best]))
        inside = own.take(span)
        one.calm = calm
        one.best = Baseline(
            key[0], None if key[0] else key[2],
            (Span(str(scored.result.path), float(inside.start_s[0]), float(inside.end_s[-1])),),
            "calmest", float(inside.span_s.sum()), calm[0],
            weighted_median(values[run][span], np.maximum(inside.span_s, 1e-9)),
        )  # fmt: skip


def _windows(faces: FaceTable, window_s: float) -> tuple[Any, Any]:
    """Return the first face of each window that lasts long enough, and the one after its last."""
    last = np.searchsorted(faces.end_s, faces.start_s + window_s - _TOLERANCE_S) + 1
    fits = last <= len(faces)
    return np.flatnonzero(fits), last[fits]


def _moments(faces: FaceTable, first: Any, last: Any) -> tuple[Floats, Floats]:
    """Return for each window the means (m, K), and the sum of the variances (m,), over time."""
    w = np.maximum(faces.span_s, 1e-9)[:, None]
    centred = faces.p - faces.p.mean(0)  # sums of squares then lose no digits

    def total(values: Floats) -> Floats:
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0)])
        found: Floats = sums[last] - sums[first]
        return found

    weight = total(w)
    mean, square = total(w * centred) / weight, total(w * centred**2) / weight
    # rounded, so that of equally calm windows the first is taken
    unrest: Floats = np.maximum(square - mean**2, 0).sum(1).round(12)
    return mean + faces.p.mean(0), unrest


def _neutral(mean: Floats, labels: Sequence[str]) -> Bools:
    if NEUTRAL not in labels:
        return np.zeros(len(mean), bool)
    found: Bools = mean.argmax(1) == labels.index(NEUTRAL)
    return found


def _add_given(
    one: _Found, key: Key, path: str, tracks: set[int], faces: FaceTable, values: Floats,
    spans: Sequence[NeutralSpan],
) -> None:  # fmt: skip
    """Keep what counts of this result's spans; `tracks` are all of the person's there."""
    for span in spans:
        if span.result not in (None, path) or span.person not in (None, key[0]):
            continue
        inside = (faces.end_s > span.start_s) & (faces.start_s < span.end_s)
        if span.track_id is not None:
            if span.track_id not in tracks:
                continue
            inside &= faces.track == span.track_id
        one.given_s += span.end_s - span.start_s
        part = faces.take(inside)
        weights = np.minimum(part.end_s, span.end_s) - np.maximum(part.start_s, span.start_s)
        if weights.sum() > 0:  # the others contribute nothing
            one.spans.append(Span(path, span.start_s, span.end_s))
        one.pieces.append((part, np.column_stack([weights, values[inside]])))


def _of_given(one: _Found, key: Key, labels: Sequence[str]) -> Baseline | None:
    if not one.given_s:
        return None
    table = np.concatenate([piece for _, piece in one.pieces])
    p = np.concatenate([faces.p for faces, _ in one.pieces])
    weights = table[:, 0]
    if weights.sum() < MIN_COVERED * one.given_s - _TOLERANCE_S:
        return None
    mean = (weights[:, None] * p).sum(0) / weights.sum()
    track = None if key[0] else key[2]
    return Baseline(
        key[0], track, tuple(one.spans), "given", float(weights.sum()),
        bool(_neutral(mean[None], labels)[0]), weighted_median(table[:, 1:], weights),
    )  # fmt: skip


def add_changes(
    scored: ScoredFaces, baselines: Mapping[Key, Baseline], rule: BaselineRule
) -> Added:
    """Return the columns of one result that hold each score minus the person's baseline.

    Faces that do not count, and those of people without a baseline, have none.
    """
    counts = scored.counted(all_faces=rule.all_faces)
    changes = np.full_like(scored.scores, np.nan)
    used: list[dict[str, Any]] = []
    for key, own in _people(scored):
        if (baseline := baselines.get(key)) is not None:
            which = own & counts
            changes[which] = scored.scores[which] - baseline.values
            used.append(baseline.row(scored.set.labels))
    name = rule.name or scored.set.derived_name("change")
    columns = scored.set.derived_columns(name)
    how = "given neutral span" if rule.spans else f"calmest {rule.window_s:g} s"
    text = (
        f"{scored.set.scale} ({scored.set.name} scores) minus the person's median in the {how}, "
        f"{faces_text(rule.all_faces)}"
    )
    entry = {
        **scored.set.settings(), "kind": CHANGE, "step": "baseline", "from": scored.set.name,
        "name": name, "method": "given" if rule.spans else "calmest",
        "window_s": None if rule.spans else rule.window_s, "all_faces": rule.all_faces,
        "baselines": used,
    }  # fmt: skip
    by_row = scored.of_rows(changes)
    return Added(
        {column: by_row[:, i] for i, column in enumerate(columns)},
        {column: f"{scored.set.labels[i]}: {text}" for i, column in enumerate(columns)},
        entry,
    )
