"""The rule of events, which episodes and transitions follow as well: when an expression lasts.

A Schmitt trigger (hysteresis) runs on each probability of each track. A stretch begins with the
first frame in which the probability reaches the upper threshold, and ends before the first frame
in which it falls below the lower one, so a value that fluctuates around one threshold gives one
stretch. All durations are in seconds, so that they mean the same at every frame rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from jadfer_cli.analysis.face_table import Episodes, FaceTable
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.errors import OptionError
from jadfer_cli.options import EVENT_MERGE_GAP_S, EVENT_MIN_DURATION_S, EVENT_OFF, EVENT_ON

_TOLERANCE_S = 1e-6  # time bases of containers are 1/90000 s or longer; less is rounding


class AnyRule(Protocol):
    """What decides the events of a table: `Rule`, or `blinks.BlinkRule`."""

    @property
    def on(self) -> float:
        """The value at which an event begins."""

    @property
    def off(self) -> float:
        """The value below which it ends."""

    @property
    def all_faces(self) -> bool:
        """Whether faces count that are not usable."""

    def settings(self) -> dict[str, Any]:
        """Return the rule, JSON-ready, for files that can store it."""

    def text(self) -> str:
        """Return the rule in words, for a cell of a table."""

    def coarse_text(self, frame_step_s: float) -> str | None:
        """Return a warning if frames this far apart are too few for the rule."""

    def nothing_text(self) -> str:
        """Return why there may be no event, as a clause."""


@dataclass(frozen=True)
class Rule:
    """What counts as an event.

    Attributes:
        on: An event begins when the probability reaches this value.
        off: It ends when the probability falls below this value.
        min_duration_s: Shorter events are dropped.
        merge_gap_s: Interruptions up to this length do not end an event.
        all_faces: Also use faces that are not usable.

    Raises:
        OptionError: A value is out of range.
    """

    on: float = EVENT_ON
    off: float = EVENT_OFF
    min_duration_s: float = EVENT_MIN_DURATION_S
    merge_gap_s: float = EVENT_MERGE_GAP_S
    all_faces: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on <= 1:
            raise OptionError(
                f"An event cannot begin at {self.on:g} and end below {self.off:g}.",
                "Both are probabilities above 0, at most 1, and the second must not exceed the "
                "first: see `on` and `off`.",
            )
        for name, value in (
            ("`min_duration_s`", self.min_duration_s),
            ("`merge_gap_s`", self.merge_gap_s),
        ):
            if not 0 <= value < np.inf:
                raise OptionError(f"{name} takes seconds, 0 or more, not {value:g}.")

    def settings(self) -> dict[str, Any]:
        """Return the rule, JSON-ready, for files that can store it."""
        return asdict(self)

    def text(self) -> str:
        """Return the rule in words, for a cell of a table."""
        return (
            f"on {self.on:g}, off {self.off:g}, at least {self.min_duration_s:g} s, gaps up to "
            f"{self.merge_gap_s:g} s bridged, {faces_text(self.all_faces)}"
        )

    def nothing_text(self) -> str:
        """Return why there may be no event, as a clause."""
        return f"nothing reached {self.on:g} for {self.min_duration_s:g} s"

    def coarse_text(self, frame_step_s: float) -> str | None:
        """Return a warning if frames are too far apart for the rule, otherwise None.

        Args:
            frame_step_s: Typical time from one analysed frame to the next.
        """
        single = 0 < self.min_duration_s <= frame_step_s + _TOLERANCE_S
        unbridged = 0 < self.merge_gap_s < frame_step_s - _TOLERANCE_S
        if not (single or unbridged):
            return None
        what = [
            *(["a single frame makes an event"] if single else []),
            *(["a gap of one frame is not bridged"] if unbridged else []),
        ]
        return (
            f"Frames are {frame_step_s:.3g} s apart, too far for the rule of events: "
            f"{' and '.join(what)}. Do not compare counts of episodes, transitions and events "
            "with those at other frame rates."
        )


def faces_text(all_faces: bool) -> str:
    """Return which faces count, in words."""
    return f"{'all' if all_faces else 'usable'} faces in intact frames"


def breaks_before(faces: FaceTable, rule: Rule) -> Bools:
    """Mark each face before which no event can continue, bool (n,).

    These are the first face of a track, and the first after a gap longer than the rule bridges.

    Args:
        faces: The faces that count, sorted by track and time.
        rule: Its `merge_gap_s` is the longest gap.
    """
    breaks = np.ones(len(faces), bool)
    gaps = faces.start_s[1:] - faces.end_s[:-1]
    breaks[1:] = (np.diff(faces.track) != 0) | (gaps > rule.merge_gap_s + _TOLERANCE_S)
    return breaks


def stretches(p: Floats, faces: FaceTable, breaks: Bools, rule: Rule) -> tuple[Ints, Ints]:
    """Find the events of one expression.

    Args:
        p: float (n,), its probability in each face that counts.
        faces: The n faces, sorted by track and time.
        breaks: From `breaks_before`.
        rule: What counts as an event.

    Returns:
        Index of the first and of the last face of each event, int64 (e,) each, in order.
    """
    first, last = _runs(_triggered(p, breaks, rule), breaks)
    if not len(first):
        return first, last
    is_new = np.ones(len(first), bool)  # not to be merged with the event before
    gaps = faces.start_s[first[1:]] - faces.end_s[last[:-1]]
    is_new[1:] = (faces.track[first[1:]] != faces.track[last[:-1]]) | (
        gaps > rule.merge_gap_s + _TOLERANCE_S
    )
    first, last = first[is_new], last[np.append(is_new[1:], True)]
    long = faces.end_s[last] - faces.start_s[first] >= rule.min_duration_s - _TOLERANCE_S
    return first[long], last[long]


def episodes_by_rule(faces: FaceTable, rule: Rule) -> Episodes:
    """Find the episodes of all expressions: their events, neutral included.

    An episode follows the one that began before it in the same track if their expressions differ
    and no gap between them is longer than the rule bridges. Time in which no expression is
    probable enough may lie between them.

    Args:
        faces: The faces that count, sorted by track and time.
        rule: What counts as an event.
    """
    breaks = breaks_before(faces, rule)
    found = [stretches(p, faces, breaks, rule) for p in faces.p.T]
    expression = np.repeat(np.arange(len(found)), [len(first) for first, _ in found])
    first, last = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
    order = np.lexsort((expression, last, first))
    expression, first, last = expression[order], first[order], last[order]
    unbroken = np.cumsum(breaks)  # faces without a break between them have the same number
    follows = np.zeros(len(first), bool)
    follows[1:] = (unbroken[first[1:]] == unbroken[last[:-1]]) & (np.diff(expression) != 0)
    return Episodes(expression, faces.start_s[first], faces.end_s[last], follows)


def _triggered(p: Floats, breaks: Bools, rule: Rule) -> Bools:
    """Which faces are in an event: those with p >= on, not those with p < off, else as before."""
    on = p >= np.float32(rule.on)  # in the precision of the stored probabilities
    is_decided = on | (p < np.float32(rule.off)) | breaks  # no state is carried over a break
    decided_at = np.maximum.accumulate(np.where(is_decided, np.arange(len(p)), 0))
    triggered: Bools = on[decided_at]
    return triggered


def _runs(inside: Bools, breaks: Bools) -> tuple[Ints, Ints]:
    """Index of the first and of the last face of each unbroken run of True."""
    before, after = np.append(False, inside[:-1]), np.append(inside[1:], False)
    first = inside & (~before | breaks)
    last = inside & (~after | np.append(breaks[1:], True))
    return np.flatnonzero(first), np.flatnonzero(last)
