"""The faces of a result as arrays, and the episodes in which a track shows one expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import frame_spans, usable_rows
from jadfer_cli.results.load import Result

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FaceRows:
    """Faces of one result, sorted by track, then time.

    Attributes:
        track: int64 (n,), track ids.
        position: int64 (n,), place of the face's frame in the list of analysed frames.
        start_s, end_s: float64 (n,), the time for which the face's frame stands.
        usable: bool (n,).
        expression: int64 (n,), index of the label with the highest probability.
        p: float64 (n, K), probabilities.
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
        """For how long each face's frame stands, seconds, float64 (n,)."""
        return self.end_s - self.start_s

    def take(self, which: slice | Bools) -> FaceRows:
        """Some of the faces, in the same order."""
        return FaceRows(*(getattr(self, field.name)[which] for field in fields(self)))

    def by_track(self) -> dict[int, FaceRows]:
        """The faces of each track, by its id, ascending."""
        ids, first = np.unique(self.track, return_index=True)
        edges = [*first.tolist(), len(self)]
        return {
            int(i): self.take(slice(a, b)) for i, (a, b) in zip(ids, pairwise(edges), strict=True)
        }


@dataclass(frozen=True)
class Annotated:
    """What one result says of its video: its analysed frames and its faces.

    Attributes:
        video: As the rows name it.
        labels: The model's labels, K.
        frame_start_s, frame_end_s: float64 (F,), the time for which each analysed frame stands.
        faces: All faces.
    """

    video: str
    labels: tuple[str, ...]
    frame_start_s: Floats
    frame_end_s: Floats
    faces: FaceRows

    @property
    def has_face(self) -> Bools:
        """Whether any face was found in each analysed frame, bool (F,)."""
        found = np.zeros(len(self.frame_start_s), bool)
        found[self.faces.position] = True
        return found


def read_faces(result: Result) -> Annotated:
    """Reads the rows of a result.

    Raises:
        ResultError: It is damaged.
    """
    wanted = ("video", "frame", "time_s", "duration_s", "track_id", "usable", "expression")
    return as_faces(result.rows([*wanted, *result.probabilities]), result.labels, result.metadata)


def as_faces(rows: pd.DataFrame, labels: tuple[str, ...], metadata: Mapping[str, Any]) -> Annotated:
    """Rows of one result as arrays.

    Args:
        rows: Sorted by frame.
        labels: The model's labels.
        metadata: Of the result.
    """
    spans = frame_spans(rows, metadata)
    seen = rows[rows["track_id"].notna()]
    seen = seen.iloc[np.lexsort((seen["frame"], seen["track_id"].to_numpy(np.int64)))]
    position = spans.index.get_indexer(pd.Index(seen["frame"])).astype(np.int64)
    start_s, end_s = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    names = pd.Categorical(seen["expression"].astype(object), categories=list(labels))
    faces = FaceRows(
        track=seen["track_id"].to_numpy(np.int64),
        position=position,
        start_s=start_s[position],
        end_s=end_s[position],
        usable=usable_rows(seen),
        expression=names.codes.astype(np.int64),
        p=seen[[f"p_{label}" for label in labels]].to_numpy(np.float64),
    )
    video = str(rows["video"].iloc[0]) if len(rows) else str(metadata["video"]["path"])
    return Annotated(video, labels, start_s, end_s, faces)


@dataclass(frozen=True)
class Episodes:
    """Unbroken runs of analysed frames in which one track shows one expression.

    Attributes:
        expression: int64 (e,), index of the label.
        start_s, end_s: float64 (e,).
        follows: bool (e,), whether it begins where the track's episode before it ends.
    """

    expression: Ints
    start_s: Floats
    end_s: Floats
    follows: Bools


def episodes(faces: FaceRows) -> Episodes:
    """The episodes of faces: a gap, even of one analysed frame, ends an episode.

    Args:
        faces: Those that count, e.g. the usable ones; of one track or of several.
    """
    n = len(faces)
    follows, same = np.zeros(n, bool), np.zeros(n, bool)
    follows[1:] = (np.diff(faces.position) == 1) & (np.diff(faces.track) == 0)
    same[1:] = np.diff(faces.expression) == 0
    first = np.flatnonzero(~(follows & same))
    last = np.append(first[1:], n)[: len(first)] - 1
    return Episodes(
        faces.expression[first], faces.start_s[first], faces.end_s[last], follows[first]
    )
