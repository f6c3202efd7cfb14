"""What each track shows over time, in as few steps as a line of a terminal has columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.face_table import Annotated, FaceRows, Floats, Ints

UNUSABLE, UNSEEN, NO_FACE = -1, -2, -3


@dataclass(frozen=True)
class Strips:
    """Tracks over time.

    Attributes:
        start_s, end_s: The time from the first to the last column.
        tracks: Track ids, ascending.
        states: int64 (tracks, columns): the index of the label shown for most of the column's
            time, UNUSABLE, UNSEEN (this track is not there), or NO_FACE (nobody is).
    """

    start_s: float
    end_s: float
    tracks: tuple[int, ...]
    states: Ints


def strips(annotated: Annotated, n_columns: int) -> Strips:
    """Each track over the analysed time, in `n_columns` equal steps.

    A column shows what fills most of its time; a track too short to fill any column is shown in
    the one where it is seen longest, so that no track is missing.
    """
    start_s = float(annotated.frame_start_s[0]) if len(annotated.frame_start_s) else 0.0
    end_s = float(annotated.frame_end_s[-1]) if len(annotated.frame_end_s) else 0.0
    edges = np.linspace(start_s, end_s, n_columns + 1)
    alone = ~annotated.has_face
    nobody_s = _inside(annotated.frame_start_s[alone], annotated.frame_end_s[alone], edges)
    tracks = annotated.faces.by_track()
    states = [_states(faces, nobody_s, edges, len(annotated.labels)) for faces in tracks.values()]
    return Strips(
        start_s,
        end_s,
        tuple(tracks),
        np.array(states, np.int64).reshape(len(tracks), n_columns),
    )


def _states(faces: FaceRows, nobody_s: Floats, edges: Floats, n_labels: int) -> Ints:
    """What one track shows in each column, int64 (columns,)."""
    shown = np.where(faces.usable, faces.expression, n_labels)
    # (labels + unusable, columns), seconds
    by_state = np.stack(
        [
            _inside(faces.start_s[shown == i], faces.end_s[shown == i], edges)
            for i in range(n_labels + 1)
        ]
    )
    seen_s = by_state.sum(0)
    away_s = np.diff(edges) - seen_s
    top: Ints = by_state.argmax(0)
    top[top == n_labels] = UNUSABLE
    away = np.where(nobody_s > away_s / 2, NO_FACE, UNSEEN)
    there: npt.NDArray[np.bool_] = seen_s >= away_s
    if not there.any():
        there[seen_s.argmax()] = True
    found: Ints = np.where(there, top, away)
    return found


def _inside(start_s: Floats, end_s: Floats, edges: Floats) -> Floats:
    """How many seconds of disjoint, ascending intervals lie between each two edges."""
    if not len(start_s):
        return np.zeros(len(edges) - 1)
    # time covered up to t: rises inside the intervals, stays level between them
    times = np.column_stack([start_s, end_s]).ravel()
    covered_s = np.column_stack([np.zeros(len(start_s)), end_s - start_s]).ravel().cumsum()
    return np.diff(np.interp(edges, times, covered_s))
