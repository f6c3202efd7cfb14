"""The faces of a result as arrays, which of them count, and unbroken runs of one expression.

Every measure (means, shares, episodes, events) takes its faces from here, so that one rule holds:
a face counts if it is usable, or if all faces are asked for; in a corrupt frame it never counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import (
    Bools,
    Floats,
    Ints,
    frame_spans,
    intact_rows,
    usable_rows,
)
from jadfer_cli.errors import ResultError
from jadfer_cli.results.load import Result

ANGLES = ("yaw", "pitch", "roll")
# Beside UNUSABLE_REASONS: the result does not say why; the frame is damaged, not the face.
UNEXPLAINED, CORRUPT_FRAME = "unexplained", "corrupt"


@dataclass(frozen=True)
class FaceTable:
    """Faces of one result, sorted by track and then by time.

    Attributes:
        row: int64 (n,), position of the face among the rows of the result.
        track: int64 (n,), track IDs.
        frame: int64 (n,), index of the face's frame in the source.
        position: int64 (n,), its position in the list of analysed frames.
        start_s: float64 (n,), start of the time that the face's frame represents.
        end_s: float64 (n,), end of that time.
        intact: bool (n,), whether the frame is not corrupt.
        usable: bool (n,), whether the face is usable and its frame intact.
        reason: object (n,), why it is not: one of `UNUSABLE_REASONS`, "corrupt" for its frame, or
            "unexplained" in results that do not say why (before 0.6.0). "" if it is usable.
        angles_deg: float64 (n, 3), yaw, pitch and roll.
        expression: int64 (n,), index of the label with the highest probability.
        p: float64 (n, K), probabilities of the K labels.
    """

    row: Ints
    track: Ints
    frame: Ints
    position: Ints
    start_s: Floats
    end_s: Floats
    intact: Bools
    usable: Bools
    reason: npt.NDArray[np.object_]
    angles_deg: Floats
    expression: Ints
    p: Floats

    def __len__(self) -> int:
        return len(self.track)

    @property
    def span_s(self) -> Floats:
        """How much time each face's frame represents, in seconds, float64 (n,)."""
        return self.end_s - self.start_s

    def take(self, which: slice | Bools) -> FaceTable:
        """Return some of the faces, in the same order."""
        return FaceTable(*(getattr(self, field.name)[which] for field in fields(self)))

    def counted(self, *, all_faces: bool = False) -> FaceTable:
        """Return the faces that count: the usable ones, or all; none in a corrupt frame."""
        return self.take(self.intact if all_faces else self.usable)

    def unusable_shares(self) -> dict[str, float]:
        """Return the part of face time that each reason takes, the largest first."""
        whole_s = float(self.span_s.sum())
        if not whole_s:
            return {}
        seconds = pd.Series(self.span_s).groupby(self.reason).sum().drop("", errors="ignore")
        ordered = seconds.sort_values(ascending=False, kind="stable")
        return {str(reason): float(value) / whole_s for reason, value in ordered.items()}

    def by_track(self) -> dict[int, FaceTable]:
        """Return the faces of each track by its ID, in ascending order."""
        ids, first = np.unique(self.track, return_index=True)
        edges = [*first.tolist(), len(self)]
        return {
            int(i): self.take(slice(a, b)) for i, (a, b) in zip(ids, pairwise(edges), strict=True)
        }


@dataclass(frozen=True)
class Annotated:
    """The analysed frames and the faces of one result.

    Attributes:
        video: The video's name in the rows.
        labels: The model's K labels.
        frame_start_s: float64 (F,), start of the time that each analysed frame represents.
        frame_end_s: float64 (F,), end of that time.
        faces: All faces.
    """

    video: str
    labels: tuple[str, ...]
    frame_start_s: Floats
    frame_end_s: Floats
    faces: FaceTable

    @property
    def has_face(self) -> Bools:
        """Whether each analysed frame has any face, bool (F,)."""
        has_face = np.zeros(len(self.frame_start_s), bool)
        has_face[self.faces.position] = True
        return has_face

    @property
    def analysed_s(self) -> float:
        """The time that the analysed frames represent together."""
        return float((self.frame_end_s - self.frame_start_s).sum())

    @property
    def frame_step_s(self) -> float:
        """Typical (median) time from one analysed frame to the next; 0 with fewer than two."""
        gaps = np.diff(self.frame_start_s)
        # whole microseconds: tables show 0.04, not what the subtraction of floats leaves
        return round(float(np.median(gaps)), 6) if len(gaps) else 0.0

    def seconds_with(self, faces: FaceTable) -> float:
        """Return the time with at least one of these faces; simultaneous faces count once."""
        seen = np.unique(faces.position)
        return float((self.frame_end_s[seen] - self.frame_start_s[seen]).sum())


_COLUMNS = ("video", "frame", "time_s", "duration_s", "frame_status", "track_id", "usable",
            "expression", *(f"{name}_deg" for name in ANGLES))  # fmt: skip


def read_faces(result: Result) -> Annotated:
    """Read the rows of a result.

    Raises:
        ResultError: The result is damaged.
    """
    return as_faces(result.rows(face_columns(result)), result.labels, result.metadata)


def face_columns(result: Result) -> list[str]:
    """Return the columns of a result that `as_faces` needs."""
    return [*_COLUMNS, *reason_column(result), *result.probabilities]


def require_expressions(result: Result) -> None:
    """Check that a result has expressions; those imported from OpenFace have none.

    Raises:
        ResultError: It has none.
    """
    if not result.labels:
        raise ResultError(
            f"{result.path} has no expressions, because {result.metadata['model']['name']} does "
            "not score any.",
            "jadfer show, diff and convert read it. For expressions, annotate the video.",
        )


def reason_column(result: Result) -> list[str]:
    """Return ["unusable_reason"], or nothing for a result made before 0.6.0."""
    return [name for name in ("unusable_reason",) if name in result.columns]


def _reasons(with_face: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Why each face does not count, "" if it does; object (n,)."""
    usable, intact = usable_rows(with_face), intact_rows(with_face)
    reason: npt.NDArray[np.object_] = np.full(len(with_face), UNEXPLAINED, object)
    if "unusable_reason" in with_face:
        named = with_face["unusable_reason"].astype(object)
        reason = np.where(named.notna(), named.to_numpy(object), reason)
    reason = np.where(intact, reason, CORRUPT_FRAME)
    return np.where(usable, "", reason).astype(object)


def _angle_columns() -> list[str]:
    return [f"{name}_deg" for name in ANGLES]


def as_faces(rows: pd.DataFrame, labels: tuple[str, ...], metadata: Mapping[str, Any]) -> Annotated:
    """Convert the rows of one result to arrays.

    Args:
        rows: Sorted by frame.
        labels: The model's labels.
        metadata: Of the result.
    """
    spans = frame_spans(rows, metadata)
    at = np.flatnonzero(rows["track_id"].notna())
    with_face = rows.iloc[at]
    order = np.lexsort((with_face["frame"], with_face["track_id"].to_numpy(np.int64)))
    with_face = with_face.iloc[order]
    position = spans.index.get_indexer(pd.Index(with_face["frame"])).astype(np.int64)
    start_s, end_s = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    names = pd.Categorical(with_face["expression"].astype(object), categories=list(labels))
    faces = FaceTable(
        row=at[order],
        track=with_face["track_id"].to_numpy(np.int64),
        frame=with_face["frame"].to_numpy(np.int64),
        position=position,
        start_s=start_s[position],
        end_s=end_s[position],
        intact=intact_rows(with_face),
        usable=usable_rows(with_face),
        reason=_reasons(with_face),
        angles_deg=with_face[_angle_columns()].to_numpy(np.float64),
        expression=names.codes.astype(np.int64),
        p=with_face[[f"p_{label}" for label in labels]].to_numpy(np.float64),
    )
    video = str(rows["video"].iloc[0]) if len(rows) else str(metadata["video"]["path"])
    return Annotated(video, labels, start_s, end_s, faces)


@dataclass(frozen=True)
class Episodes:
    """Times in which one track shows one expression, ordered by track and start.

    Attributes:
        expression: int64 (e,), index of the label.
        start_s: float64 (e,), begin of the first frame.
        end_s: float64 (e,), end of the last frame.
        follows: bool (e,), whether a transition leads to it from the episode before.
    """

    expression: Ints
    start_s: Floats
    end_s: Floats
    follows: Bools


def raw_episodes(faces: FaceTable) -> Episodes:
    """Find the unbroken runs of analysed frames with one top expression.

    A gap of even one frame ends a run, so their number depends on frame rate and flicker.

    Args:
        faces: The faces that count, e.g. the usable ones, of one or several tracks.
    """
    n = len(faces)
    follows, is_same = np.zeros(n, bool), np.zeros(n, bool)
    follows[1:] = (np.diff(faces.position) == 1) & (np.diff(faces.track) == 0)
    is_same[1:] = np.diff(faces.expression) == 0
    first = np.flatnonzero(~(follows & is_same))
    last = np.append(first[1:], n)[: len(first)] - 1
    return Episodes(
        faces.expression[first], faces.start_s[first], faces.end_s[last], follows[first]
    )
