"""The faces of a result as arrays, and the episodes in which a track shows one expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from jadfer_cli.analysis.frame_times import Bools, Floats, Ints, frame_spans, usable_rows
from jadfer_cli.results.load import Result


@dataclass(frozen=True)
class FaceTable:
    """Faces of one result, sorted by track and then by time.

    Attributes:
        track: int64 (n,), track IDs.
        position: int64 (n,), position of the face's frame in the list of analysed frames.
        start_s: float64 (n,), start of the time that the face's frame represents.
        end_s: float64 (n,), end of that time.
        usable: bool (n,).
        expression: int64 (n,), index of the label with the highest probability.
        p: float64 (n, K), probabilities of the K labels.
    """

    track: Ints
    position: Ints
    start_s: Floats
    end_s: Floats
    usable: Bools
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


def read_faces(result: Result) -> Annotated:
    """Read the rows of a result.

    Raises:
        ResultError: The result is damaged.
    """
    columns = ("video", "frame", "time_s", "duration_s", "track_id", "usable", "expression")
    return as_faces(result.rows([*columns, *result.probabilities]), result.labels, result.metadata)


def as_faces(rows: pd.DataFrame, labels: tuple[str, ...], metadata: Mapping[str, Any]) -> Annotated:
    """Convert the rows of one result to arrays.

    Args:
        rows: Sorted by frame.
        labels: The model's labels.
        metadata: Of the result.
    """
    spans = frame_spans(rows, metadata)
    with_face = rows[rows["track_id"].notna()]
    order = np.lexsort((with_face["frame"], with_face["track_id"].to_numpy(np.int64)))
    with_face = with_face.iloc[order]
    position = spans.index.get_indexer(pd.Index(with_face["frame"])).astype(np.int64)
    start_s, end_s = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    names = pd.Categorical(with_face["expression"].astype(object), categories=list(labels))
    faces = FaceTable(
        track=with_face["track_id"].to_numpy(np.int64),
        position=position,
        start_s=start_s[position],
        end_s=end_s[position],
        usable=usable_rows(with_face),
        expression=names.codes.astype(np.int64),
        p=with_face[[f"p_{label}" for label in labels]].to_numpy(np.float64),
    )
    video = str(rows["video"].iloc[0]) if len(rows) else str(metadata["video"]["path"])
    return Annotated(video, labels, start_s, end_s, faces)


@dataclass(frozen=True)
class Episodes:
    """Unbroken runs of analysed frames in which one track shows one expression.

    Attributes:
        expression: int64 (e,), index of the label.
        start_s: float64 (e,), begin of the first frame.
        end_s: float64 (e,), end of the last frame.
        follows: bool (e,), whether it begins where the track's previous episode ends.
    """

    expression: Ints
    start_s: Floats
    end_s: Floats
    follows: Bools


def episodes(faces: FaceTable) -> Episodes:
    """Find the episodes of faces; a gap of even one analysed frame ends an episode.

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
