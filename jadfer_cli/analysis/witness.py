"""Facial actions as a witness for the scores: frames in which the two contradict each other.

The actions come from another network, trained on other data. A contradiction does not say which
of the two is wrong, only that the frame should be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jadfer_cli.analysis.actions import PREFIX, seen_faces
from jadfer_cli.analysis.face_table import Annotated
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.results.carried import has_actions
from jadfer_cli.results.load import Result

MIN_SCORE = 0.6  # of the expression; above EVENT_ON: only clear scores contradict
ABSENT = 0.1  # an action below this value is absent
PRESENT = 0.5  # an action from this value on is present
_MAX_LISTED = 6  # intervals in one sentence

_SMILE = ("mouth_smile_left", "mouth_smile_right")
_RAISED = ("brow_inner_up", "brow_outer_up_left", "brow_outer_up_right", "eye_wide_left",
           "eye_wide_right")  # fmt: skip
_JAW = ("jaw_open",)
_NAMES = (*_SMILE, *_RAISED, *_JAW)


@dataclass(frozen=True)
class Check:
    """One way in which scores and actions contradict each other.

    Attributes:
        text: What it is, in words.
        expression: The label with a probability of at least `MIN_SCORE`.
        absent: Actions that are all absent.
        present: Actions of which at least one is present; may be empty.
    """

    text: str
    expression: str
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()

    def holds(self, p: Floats, values: dict[str, Floats]) -> Bools:
        """Whether each of n faces contradicts, bool (n,)."""
        found: Bools = p >= np.float32(MIN_SCORE)
        if self.absent:
            found = found & (np.max([values[name] for name in self.absent], axis=0) < ABSENT)
        if self.present:
            found = found & (np.max([values[name] for name in self.present], axis=0) >= PRESENT)
        return found


CHECKS = (
    Check("happiness without a smile", "happiness", absent=_SMILE),
    Check("surprise with only an open jaw", "surprise", absent=_RAISED, present=_JAW),
    Check("neutral in spite of a smile", "neutral", present=_SMILE),
)


@dataclass(frozen=True)
class Span:
    """An interval of time, with the first and the last frame in it."""

    start_s: float
    end_s: float
    first_frame: int
    last_frame: int

    def text(self) -> str:
        """Return it in words: 0.04-0.40 s (frames 1-9)."""
        one = self.first_frame == self.last_frame
        frames = (
            f"frame {self.first_frame}" if one else f"frames {self.first_frame}-{self.last_frame}"
        )
        return f"{self.start_s:.2f}-{self.end_s:.2f} s ({frames})"


@dataclass(frozen=True)
class Contradiction:
    """The faces of one result in which scores and actions contradict each other in one way.

    Attributes:
        text: Which way, in words.
        track: int64 (n,), track IDs.
        frame: int64 (n,), indices of the frames in the source.
        start_s, end_s: float64 (n,), the time that each frame represents.
        n_checked: Number of faces checked.
    """

    text: str
    track: Ints
    frame: Ints
    start_s: Floats
    end_s: Floats
    n_checked: int

    @property
    def duration_s(self) -> float:
        """How long it lasts altogether; the time of two faces at once counts once."""
        return sum(span.end_s - span.start_s for span in self.spans())

    def spans(self) -> list[Span]:
        """Return the intervals in which it lasts without a break, by time."""
        spans: list[Span] = []
        order = np.lexsort((self.end_s, self.start_s))
        columns = (self.start_s, self.end_s, self.frame)
        for start_s, end_s, frame in zip(*(c[order].tolist() for c in columns), strict=True):
            if spans and start_s <= spans[-1].end_s + 1e-6:
                last = spans[-1]
                spans[-1] = Span(last.start_s, max(end_s, last.end_s), last.first_frame, frame)
            else:
                spans.append(Span(start_s, end_s, frame, frame))
        return spans

    def sentence(self) -> str:
        """Return what a reader should check, with the first times and frames."""
        spans = self.spans()
        listed = ", ".join(span.text() for span in spans[:_MAX_LISTED])
        more = f" and {len(spans) - _MAX_LISTED} more" if len(spans) > _MAX_LISTED else ""
        return (
            f"Scores and actions contradict each other in {len(self.frame):,} of "
            f"{self.n_checked:,} usable faces: {self.text}, at {listed}{more}."
        )

    def facts(self) -> dict[str, Any]:
        """Return the contradiction, JSON-ready."""
        return {
            "what": self.text,
            "faces": len(self.frame),
            "faces_checked": self.n_checked,
            "frames": self.frame.tolist(),
            "track_ids": self.track.tolist(),
        }


def contradictions(result: Result, annotated: Annotated) -> tuple[Contradiction, ...]:
    """Find the usable faces whose scores and actions contradict each other.

    Args:
        result: The result; without actions beside it, nothing is found.
        annotated: Its faces.

    Raises:
        ResultError: The file of actions is damaged, or belongs to another run.
    """
    if not has_actions(result):
        return ()
    columns = [PREFIX + name for name in _NAMES]
    faces, values = seen_faces(result, annotated.faces.counted(), columns)
    by_name = dict(zip(_NAMES, values.T, strict=True))
    found = []
    for check in CHECKS:
        if check.expression not in annotated.labels:
            continue
        p = faces.p[:, annotated.labels.index(check.expression)]
        at = faces.take(check.holds(p, by_name))
        if len(at):
            found.append(
                Contradiction(check.text, at.track, at.frame, at.start_s, at.end_s, len(faces))
            )
    return tuple(found)
