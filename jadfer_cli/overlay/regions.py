"""Where faces are in every frame of a video, also between the frames that were analysed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.plots.timelines import spans_where
from jadfer_cli.results.schema import BOX_COLUMNS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A face that is missed for no longer than this is covered where it must have been.
GAP_S = 1.0
# How long a face is covered before it is first found and after it is last found.
REACH_S = 0.5
# Around the box, as a share of its longer side: hair, ears and chin tell people, too. It
# grows with the time to the nearest sighting, as the head may have moved.
MARGIN = 0.25
_GROWTH_PER_S, _GROWTH = 0.5, 0.5


@dataclass(frozen=True)
class Regions:
    """Boxes in the frames of a video, sorted by frame.

    Attributes:
        frame: int64 (m,), ascending.
        box_px: float64 (m, 4), x1 y1 x2 y2, may reach beyond the picture.
        row: int64 (m,), the result's row that the box comes from.
    """

    frame: Ints
    box_px: Floats
    row: Ints

    def of(self, frame: int) -> slice:
        """Those of one frame."""
        low, high = np.searchsorted(self.frame, [frame, frame + 1])
        return slice(int(low), int(high))


@dataclass(frozen=True)
class _Sightings:
    """The frames in which one track was found: their places among those analysed, boxes, rows."""

    at: Ints
    box_px: Floats
    row: Ints


def shown_boxes(rows: pd.DataFrame, spans: pd.DataFrame, times_s: Floats) -> Regions:
    """The box of each face in all frames that its row stands for.

    Between two analysed frames that both hold the face the box moves evenly.

    Args:
        rows: Of one result, sorted, indexed from 0.
        spans: Of its frames, from `frame_spans`.
        times_s: float64 (N,), times of all the video's frames.
    """
    analysed, stops = _stops(spans, times_s)
    parts = []
    for track in _sightings(rows, analysed):
        frames, owner = _filled(analysed[track.at], stops[track.at])
        following = np.minimum(owner + 1, len(track.at) - 1)
        linked = track.at[following] == track.at[owner] + 1
        following = np.where(linked, following, owner)
        parts.append(_between(track, frames, owner, following, analysed, times_s))
    return _joined(parts)


def blurred_regions(rows: pd.DataFrame, spans: pd.DataFrame, times_s: Floats) -> Regions:
    """What must be covered so that no face of the result can be recognised.

    Each track's box with `MARGIN`; evenly moved over gaps up to `GAP_S`; kept for `REACH_S`,
    or until the next analysed frame, before a first and after a last sighting.

    Args:
        rows: Of one result, sorted, indexed from 0.
        spans: Of its frames, from `frame_spans`.
        times_s: float64 (N,), times of all the video's frames.
    """
    analysed, _ = _stops(spans, times_s)
    start, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    since = np.append(start[:1], start[:-1])  # the analysed frame before
    parts = []
    for track in _sightings(rows, analysed):
        at, n = track.at, len(track.at)
        t, first = start[at], analysed[at]
        linked = np.append((np.diff(at) == 1) | (np.diff(t) <= GAP_S), False)  # to the next
        at_reach = np.searchsorted(times_s, np.maximum(t + REACH_S, end[at]) + 1e-9)
        stop = np.where(linked, np.append(first[1:], 0), at_reach)
        frames, owner = _filled(first, stop)
        following = np.where(linked[owner], np.minimum(owner + 1, n - 1), owner)
        parts.append(_grown(_between(track, frames, owner, following, analysed, times_s),
                            _distance_s(times_s[frames], t[owner], t[following])))  # fmt: skip
        entering = np.flatnonzero(~np.append(False, linked[:-1]))
        begin = np.searchsorted(times_s, np.minimum(t - REACH_S, since[at]) - 1e-9)
        frames, owner = _filled(begin[entering], first[entering])
        owner = entering[owner]
        parts.append(_grown(_between(track, frames, owner, owner, analysed, times_s),
                            t[owner] - times_s[frames]))  # fmt: skip
    return _joined(parts)


def frames_beyond(spans: pd.DataFrame, times_s: Floats) -> Bools:
    """Which of the video's frames lie before or after the analysed part; bool (N,)."""
    analysed, stops = _stops(spans, times_s)
    frames = np.arange(len(times_s))
    beyond: Bools = (frames < analysed[0]) | (frames >= stops[-1])
    return beyond


def spans_without_face(rows: pd.DataFrame, spans: pd.DataFrame) -> Floats:
    """Stretches of time in which no face was found at all; float64 (m, 2), seconds."""
    seen = np.isin(spans.index.to_numpy(), rows.loc[rows["face_detected"], "frame"].to_numpy())
    return spans_where(~seen, spans["start_s"].to_numpy(), spans["end_s"].to_numpy())


def lost_spans(rows: pd.DataFrame, spans: pd.DataFrame) -> list[tuple[int, float, float]]:
    """Where a track is missing for longer than `GAP_S` and comes back: (id, begin, end)."""
    start, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    found = []
    for track in _sightings(rows, spans.index.to_numpy(np.int64)):
        id_ = int(rows["track_id"].iloc[int(track.row[0])])
        gaps = (np.diff(track.at) > 1) & (np.diff(start[track.at]) > GAP_S)
        for i in np.flatnonzero(gaps).tolist():
            found.append((id_, float(end[track.at[i]]), float(start[track.at[i + 1]])))
    return found


def _stops(spans: pd.DataFrame, times_s: Floats) -> tuple[Ints, Ints]:
    """The analysed frames, and for each the first frame that it does not stand for."""
    analysed = spans.index.to_numpy(np.int64)
    last = np.searchsorted(times_s, float(spans["end_s"].iloc[-1]) - 1e-6)
    return analysed, np.append(analysed[1:], max(int(last), int(analysed[-1]) + 1))


def _sightings(rows: pd.DataFrame, analysed: Ints) -> Iterator[_Sightings]:
    """Each track's, in the order of the ids."""
    row = np.flatnonzero(rows["face_detected"].to_numpy())
    faces = rows.iloc[row]
    ids = faces["track_id"].to_numpy(np.int64)
    at = np.searchsorted(analysed, faces["frame"].to_numpy())
    boxes = faces[list(BOX_COLUMNS)].to_numpy(np.float64)
    order = np.argsort(ids, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(order) else []:
        yield _Sightings(at[mine], boxes[mine], row[mine])


def _filled(first: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """All numbers from each `first` up to its `stop`, and to which of them each belongs."""
    counts = np.maximum(stop - first, 0)
    owner = np.repeat(np.arange(len(first)), counts)
    begins = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - begins[owner] + first[owner], owner


def _between(
    track: _Sightings, frames: Ints, owner: Ints, following: Ints, analysed: Ints, times_s: Floats
) -> Regions:
    """Boxes that move evenly from one sighting to a following one; the same one: stay."""
    begin = times_s[analysed[track.at[owner]]]
    length = times_s[analysed[track.at[following]]] - begin
    share = np.where(length > 0, (times_s[frames] - begin) / np.where(length > 0, length, 1), 0)
    share = share[:, None]
    boxes = track.box_px[owner] * (1 - share) + track.box_px[following] * share
    return Regions(frames, boxes, track.row[owner])


def _distance_s(times: Floats, before: Floats, after: Floats) -> Floats:
    """To the nearest sighting."""
    held = after == before
    distance: Floats = np.minimum(times - before, np.where(held, np.inf, after - times))
    return distance


def _grown(regions: Regions, distance_s: Floats) -> Regions:
    """With the margin, which grows with the distance to the nearest sighting."""
    box = regions.box_px
    side = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    margin = side * (MARGIN + np.minimum(_GROWTH_PER_S * distance_s, _GROWTH))
    return Regions(
        regions.frame, box + margin[:, None] * np.array([-1.0, -1.0, 1.0, 1.0]), regions.row
    )


def _joined(parts: list[Regions]) -> Regions:
    """All of them, sorted by frame."""
    if not parts:
        return Regions(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, np.int64))
    frame = np.concatenate([part.frame for part in parts])
    order = np.argsort(frame, kind="stable")
    return Regions(
        frame[order],
        np.concatenate([part.box_px for part in parts])[order],
        np.concatenate([part.row for part in parts])[order],
    )
