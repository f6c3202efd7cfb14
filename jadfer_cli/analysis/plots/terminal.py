"""What each track shows over time, in as many steps as a terminal has columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jadfer_cli.analysis.face_table import Annotated, FaceTable
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints

UNUSABLE, UNSEEN, NO_FACE = -1, -2, -3


@dataclass(frozen=True)
class TerminalTimeline:
    """The state of each track in each column of a terminal.

    Attributes:
        start_s: Begin of the first column.
        end_s: End of the last column.
        tracks: Track IDs, ascending.
        states: int64 (tracks, columns): index of the label shown for most of the column's time,
            or UNUSABLE, UNSEEN (this track is not in the picture) or NO_FACE (no track is).
    """

    start_s: float
    end_s: float
    tracks: tuple[int, ...]
    states: Ints


def terminal_timeline(annotated: Annotated, n_columns: int) -> TerminalTimeline:
    """Divide the analysed time into `n_columns` equal steps, and find each track's state in each.

    A column shows the state that takes most of its time. A track that is too short to fill any
    column is shown in the column in which it is seen longest, so that no track is missing.
    """
    start_s = float(annotated.frame_start_s[0]) if len(annotated.frame_start_s) else 0.0
    end_s = float(annotated.frame_end_s[-1]) if len(annotated.frame_end_s) else 0.0
    edges = np.linspace(start_s, end_s, n_columns + 1)
    is_empty = ~annotated.has_face
    no_face_s = _time_inside(
        annotated.frame_start_s[is_empty], annotated.frame_end_s[is_empty], edges
    )
    tracks = annotated.faces.by_track()
    states = [_states(faces, no_face_s, edges, len(annotated.labels)) for faces in tracks.values()]
    return TerminalTimeline(
        start_s,
        end_s,
        tuple(tracks),
        np.array(states, np.int64).reshape(len(tracks), n_columns),
    )


def _states(faces: FaceTable, no_face_s: Floats, edges: Floats, n_labels: int) -> Ints:
    """The state of one track in each column, int64 (columns,)."""
    state = np.where(faces.usable, faces.expression, n_labels)
    # (labels + unusable, columns), seconds
    by_state_s = np.stack(
        [
            _time_inside(faces.start_s[state == i], faces.end_s[state == i], edges)
            for i in range(n_labels + 1)
        ]
    )
    seen_s = by_state_s.sum(0)
    unseen_s = np.diff(edges) - seen_s
    top: Ints = by_state_s.argmax(0)
    top[top == n_labels] = UNUSABLE
    otherwise = np.where(no_face_s > unseen_s / 2, NO_FACE, UNSEEN)
    is_seen: Bools = seen_s >= unseen_s
    if not is_seen.any():
        is_seen[seen_s.argmax()] = True
    result: Ints = np.where(is_seen, top, otherwise)
    return result


def _time_inside(start_s: Floats, end_s: Floats, edges: Floats) -> Floats:
    """The seconds of disjoint, ascending intervals between each two edges, float64 (columns,)."""
    if not len(start_s):
        return np.zeros(len(edges) - 1)
    # the time covered up to t rises inside the intervals and is constant between them
    times = np.column_stack([start_s, end_s]).ravel()
    covered_s = np.column_stack([np.zeros(len(start_s)), end_s - start_s]).ravel().cumsum()
    return np.diff(np.interp(edges, times, covered_s))
