"""Coders and machine on one grid of time: who chose which class at each moment.

Every `step_s` seconds of a clip there is a sample, in the middle of its step. At the usual
constant frame rate the samples are the analysed frames; at a variable one, each moment counts
the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.agreement.codes import Code
from jadfer_cli.analysis.agreement.vocabulary import Vocabulary
from jadfer_cli.analysis.event_rule import Rule, breaks_before, stretches
from jadfer_cli.analysis.face_table import Annotated, FaceTable, read_faces, require_expressions
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.errors import CodesError
from jadfer_cli.results.load import Result

MACHINE = "jadfer"
UNRATED, SEVERAL = -1, -2  # no judgement; two codes of one coder at the same time
_TRACK = re.compile(r"(?:track\s*)?(\d+)", re.IGNORECASE)
_TOUCHING_S = 1e-3
_MIN_STEP_S = 1e-3
Ratings = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Spans:
    """Events of one rater in one clip.

    Attributes:
        start_s: float64 (e,).
        end_s: float64 (e,).
        cls: int64 (e,), the class of each.
    """

    start_s: Floats
    end_s: Floats
    cls: Ints

    def __len__(self) -> int:
        return len(self.cls)

    def take(self, which: Bools) -> Spans:
        """Return some of the events."""
        return Spans(self.start_s[which], self.end_s[which], self.cls[which])


@dataclass(frozen=True)
class RatedClip:
    """One person in one clip, rated by coders and machine.

    Attributes:
        result: The result.
        name: Clip, and person if the coders named one.
        subject: The coded person as the coders named them; may be empty.
        time_s: float64 (n,), the samples.
        step_s: Time between them.
        ratings: By rater, MACHINE among them, the class of each sample, or UNRATED or SEVERAL.
        events: By rater, the events; those of neutral are left out.
        faces: The faces that the machine rated, one per frame.
        crowded: Share of the samples with a face in which several faces counted.
    """

    result: Result
    name: str
    subject: str
    time_s: Floats
    step_s: float
    ratings: Mapping[str, Ratings]
    events: Mapping[str, Spans]
    faces: FaceTable
    crowded: float

    @property
    def end_s(self) -> float:
        """Length of the clip."""
        return float(self.time_s[-1] + self.step_s / 2) if len(self.time_s) else 0.0


@dataclass(frozen=True)
class Rules:
    """How codes and scores become ratings.

    Attributes:
        uncoded_neutral: Time without a code is neutral; otherwise nobody judged it.
        events: What counts as an event of the machine, and which faces count.
        step_s: Time between samples; None for the frames' own.
    """

    uncoded_neutral: bool
    events: Rule = Rule()  # noqa: RUF009 - frozen
    step_s: float | None = None


def rate(
    result: Result, subject: str, codes: Mapping[str, Sequence[Code]], words: Vocabulary,
    rules: Rules, step_s: float, *, alone: bool = True,
) -> RatedClip:  # fmt: skip
    """Rate one clip.

    Args:
        result: Its rows are read here.
        subject: The coded person; empty if the coders named none.
        codes: The codes of each coder who coded the clip; may be empty.
        words: The classes.
        rules: How codes and scores become ratings.
        step_s: Time between samples.
        alone: Whether this is the only coded person of the clip.

    Raises:
        ResultError: The result is damaged.
        CodesError: It is not clear which face the coders mean.
    """
    require_expressions(result)
    annotated = read_faces(result)
    counted = annotated.faces.counted(all_faces=rules.events.all_faces)
    faces, crowded = _one_face(_of_subject(counted, result, subject, alone=alone))
    begin = float(annotated.frame_start_s[0]) if len(annotated.frame_start_s) else 0.0
    end = float(annotated.frame_end_s[-1]) if len(annotated.frame_end_s) else 0.0
    n = max(round((end - begin) / step_s), 0)
    time_s: Floats = (begin + step_s * (np.arange(n) + 0.5)).astype(np.float64)
    p = words.grouped(faces.p)
    ratings = {
        coder: _coded(own, time_s, words, rules.uncoded_neutral) for coder, own in codes.items()
    }
    ratings[MACHINE] = _scored(annotated, faces, p, time_s)
    events = {coder: _coded_events(own, words) for coder, own in codes.items()}
    events[MACHINE] = _scored_events(faces, p, words, rules.events)
    name = f"{result.name} {subject}".strip()
    return RatedClip(result, name, subject, time_s, step_s, ratings, events, faces, crowded)


def common_step_s(results: Sequence[Result]) -> float:
    """Return the largest of the typical times between analysed frames.

    Raises:
        ResultError: A result is damaged.
    """
    columns = ["frame", "time_s"]
    steps = [
        np.diff(result.rows(columns).drop_duplicates("frame")["time_s"].to_numpy())
        for result in results
    ]
    found = [float(np.median(each)) for each in steps if len(each)]
    # whole microseconds, as `Annotated.frame_step_s`
    return max(round(max(found, default=0.04), 6), _MIN_STEP_S)


def _of_subject(faces: FaceTable, result: Result, subject: str, *, alone: bool) -> FaceTable:
    """The faces of the coded person: those of a track, or of a person of `jadfer identify`."""
    if not subject:
        return faces
    if "person" in result.columns:
        rows = result.rows(["frame", "track_id", "person"])
        own = rows[(rows["person"].astype(str) == subject) & rows["track_id"].notna()]
        if len(own):
            keys = set(zip(own["frame"].tolist(), own["track_id"].astype(int), strict=True))
            pairs = zip(faces.frame.tolist(), faces.track.tolist(), strict=True)
            return faces.take(np.array([pair in keys for pair in pairs], bool))
    if named := _TRACK.fullmatch(subject):
        return faces.take(faces.track == int(named[1]))
    if alone:
        return faces
    raise CodesError(
        f"{result.path}: the coders name several people, among them {subject}, and it is not "
        "known which face that is.",
        'Name the tracks in the codes, such as "track 0"; `jadfer show` and `jadfer plot` show '
        "them.",
    )


def _one_face(faces: FaceTable) -> tuple[FaceTable, float]:
    """One face per frame, of the track that is seen longest; and how often there were several."""
    if not len(faces):
        return faces, 0.0
    tracks, of_face = np.unique(faces.track, return_inverse=True)
    seen_s = np.bincount(of_face, faces.span_s)
    order = np.lexsort((faces.track, -seen_s[of_face], faces.position))
    position = faces.position[order]
    first = np.append(True, np.diff(position) > 0)
    chosen = np.zeros(len(faces), bool)
    chosen[order[first]] = True  # the order of `faces`, by track and time, is kept
    crowded = float((np.unique(position, return_counts=True)[1] > 1).mean())
    return faces.take(chosen), crowded if len(tracks) > 1 else 0.0


def _scored(annotated: Annotated, faces: FaceTable, p: Floats, time_s: Floats) -> Ratings:
    """The machine's class at each sample; UNRATED without a face that counts."""
    by_frame = np.full(len(annotated.frame_start_s) + 1, UNRATED, np.int8)
    if len(faces):
        by_frame[faces.position] = p.argmax(1)
    at = np.searchsorted(annotated.frame_start_s, time_s, side="right") - 1
    ratings: Ratings = by_frame[at]
    return ratings


def _coded(
    codes: Sequence[Code], time_s: Floats, words: Vocabulary, uncoded_neutral: bool
) -> Ratings:
    """A coder's class at each sample."""
    neutral = words.neutral
    empty = neutral if uncoded_neutral and neutral is not None else UNRATED
    found = np.full(len(time_s), empty, np.int8)
    is_coded = np.zeros(len(time_s), bool)
    left_out = np.zeros(len(time_s), bool)
    for code in codes:
        first, last = np.searchsorted(time_s, (code.start_s, code.end_s))
        at = slice(int(first), int(last))
        cls = empty if not code.label else words.of_word[code.label.strip().lower()]
        if cls is None:
            left_out[at] = True
        elif code.label:
            found[at] = np.where(is_coded[at] & (found[at] != cls), SEVERAL, cls)
            is_coded[at] = True
    found[left_out] = UNRATED
    return found


def _coded_events(codes: Sequence[Code], words: Vocabulary) -> Spans:
    """A coder's events; spans of one class that touch are one event."""
    merged: list[tuple[float, float, int]] = []
    for cls in range(len(words.classes)):
        own = sorted(
            (code.start_s, code.end_s)
            for code in codes
            if code.label and words.of_word[code.label.strip().lower()] == cls
        )
        if cls == words.neutral:
            continue
        for start, end in own:
            if merged and merged[-1][2] == cls and start <= merged[-1][1] + _TOUCHING_S:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end), cls)
            else:
                merged.append((start, end, cls))
    return _spans(merged)


def _scored_events(faces: FaceTable, p: Floats, words: Vocabulary, rule: Rule) -> Spans:
    """The machine's events, as `jadfer events` finds them."""
    breaks = breaks_before(faces, rule)
    found: list[tuple[float, float, int]] = []
    for cls in range(len(words.classes)):
        if cls == words.neutral or not len(faces):
            continue
        first, last = stretches(p[:, cls], faces, breaks, rule)
        starts, ends = faces.start_s[first].tolist(), faces.end_s[last].tolist()
        found += [(a, b, cls) for a, b in zip(starts, ends, strict=True)]
    return _spans(found)


def _spans(rows: Sequence[tuple[Any, Any, int]]) -> Spans:
    table = np.array(sorted(rows), np.float64).reshape(-1, 3)
    return Spans(table[:, 0], table[:, 1], table[:, 2].astype(np.int64))
