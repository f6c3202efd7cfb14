"""What the time of a clip consists of: usable, not usable and why, or without a face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jadfer_cli.analysis.frame_times import spans_where
from jadfer_cli.analysis.qc.clip import Clip
from jadfer_cli.records import UNUSABLE_REASONS

USABLE, NO_FACE = "usable", "no face"
_MIN_SHARE = 1 / 2000  # of the clip; shorter spans of one kind are joined


@dataclass(frozen=True)
class Span:
    """An interval with one state.

    Attributes:
        state: "usable", "no face", or why no face in it is usable.
        start_s: Its begin.
        end_s: Its end.
    """

    state: str
    start_s: float
    end_s: float


def spans_of(clip: Clip) -> tuple[Span, ...]:
    """Return the intervals of a clip by time; a frame with any usable face is usable."""
    n = len(clip.span_s)
    state = np.full(n, NO_FACE, object)
    faces = clip.faces
    position, reason = faces["position"].to_numpy(np.int64), faces["reason"].to_numpy(object)
    # the reason of a track that is named first stands for the frame
    for at, why in zip(position[::-1], reason[::-1], strict=True):
        state[at] = why
    state[position[reason == ""]] = USABLE
    start_s, end_s = clip.annotated.frame_start_s, clip.annotated.frame_end_s
    shortest = _MIN_SHARE * float(clip.span_s.sum())
    found: list[Span] = []
    for kind in dict.fromkeys((USABLE, NO_FACE, *UNUSABLE_REASONS, *state.tolist())):
        for a, b in spans_where(state == kind, start_s, end_s):
            if found and found[-1].state == kind and a - found[-1].end_s <= shortest:
                found[-1] = Span(kind, found[-1].start_s, float(b))
            else:
                found.append(Span(kind, float(a), float(b)))
    return tuple(sorted(found, key=lambda span: span.start_s))
