"""Locates faces in every frame of a video, including the frames that were not analysed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.analysis.frame_times import spans_where
from jadfer_cli.results.schema import BOX_COLUMNS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A face that is missed for at most this long is blurred where it must have been.
GAP_S = 1.0
# A face is also blurred for this long before it is first found and after it is last found.
REACH_S = 0.5
# Margin around the box, relative to its longer side, because hair, ears and chin identify people,
# too. It grows with the time to the nearest sighting, because the head may have moved.
MARGIN = 0.25
_MARGIN_PER_S, _MAX_EXTRA_MARGIN = 0.5, 0.5


@dataclass(frozen=True)
class Regions:
    """Boxes in the frames of a video, sorted by frame.

    Attributes:
        frame: int64 (m,), ascending.
        box_px: float64 (m, 4), x1 y1 x2 y2; may extend beyond the image.
        row: int64 (m,), the row of the result that the box comes from.
    """

    frame: Ints
    box_px: Floats
    row: Ints

    def in_frame(self, frame: int) -> slice:
        """Return the positions of the boxes in one frame."""
        low, high = np.searchsorted(self.frame, [frame, frame + 1])
        return slice(int(low), int(high))


@dataclass(frozen=True)
class _Sightings:
    """The frames in which one track was found.

    Attributes:
        at: int64 (n,), positions among the analysed frames, ascending.
        box_px: float64 (n, 4).
        row: int64 (n,), rows of the result.
    """

    at: Ints
    box_px: Floats
    row: Ints


def interpolated_boxes(rows: pd.DataFrame, spans: pd.DataFrame, times_s: Floats) -> Regions:
    """Return the box of each face in all frames that its row represents.

    Between two consecutive analysed frames that both contain the face, its box is interpolated.

    Args:
        rows: Of one result, sorted, indexed from 0.
        spans: Of its frames, from `frame_spans`.
        times_s: float64 (N,), times of all frames of the video.
    """
    analysed, stops = _analysed_frames(spans, times_s)
    parts = []
    for track in _sightings(rows, analysed):
        frames, before = _expand_ranges(analysed[track.at], stops[track.at])
        after = np.minimum(before + 1, len(track.at) - 1)
        after = np.where(track.at[after] == track.at[before] + 1, after, before)
        parts.append(_interpolate(track, frames, before, after, analysed, times_s))
    return _concatenate(parts)


def blurred_regions(rows: pd.DataFrame, spans: pd.DataFrame, times_s: Floats) -> Regions:
    """Return what must be blurred so that no face of the result can be recognised.

    This is the box of each track with `MARGIN` around it. Over gaps up to `GAP_S` the box is
    interpolated. Before a first and after a last sighting it stays for `REACH_S`, or up to the
    neighbouring analysed frame if that is further away.

    Args:
        rows: Of one result, sorted, indexed from 0.
        spans: Of its frames, from `frame_spans`.
        times_s: float64 (N,), times of all frames of the video.
    """
    analysed, _ = _analysed_frames(spans, times_s)
    start, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    previous = np.append(start[:1], start[:-1])  # start of the previous analysed frame
    parts = []
    for track in _sightings(rows, analysed):
        at, n = track.at, len(track.at)
        t, first = start[at], analysed[at]
        linked = np.append((np.diff(at) == 1) | (np.diff(t) <= GAP_S), False)  # to the next one
        reach_stop = np.searchsorted(times_s, np.maximum(t + REACH_S, end[at]) + 1e-9)
        stop = np.where(linked, np.append(first[1:], 0), reach_stop)
        frames, before = _expand_ranges(first, stop)
        after = np.where(linked[before], np.minimum(before + 1, n - 1), before)
        boxes = _interpolate(track, frames, before, after, analysed, times_s)
        parts.append(_enlarge(boxes, _time_to_sighting(times_s[frames], t[before], t[after])))
        entering = np.flatnonzero(~np.append(False, linked[:-1]))
        begin = np.searchsorted(times_s, np.minimum(t - REACH_S, previous[at]) - 1e-9)
        frames, owner = _expand_ranges(begin[entering], first[entering])
        after = entering[owner]
        boxes = _interpolate(track, frames, after, after, analysed, times_s)
        parts.append(_enlarge(boxes, t[after] - times_s[frames]))
    return _concatenate(parts)


def outside_analysed(spans: pd.DataFrame, times_s: Floats) -> Bools:
    """Return which frames of the video lie before or after the analysed part; bool (N,)."""
    analysed, stops = _analysed_frames(spans, times_s)
    frames = np.arange(len(times_s))
    outside: Bools = (frames < analysed[0]) | (frames >= stops[-1])
    return outside


def spans_without_face(rows: pd.DataFrame, spans: pd.DataFrame) -> Floats:
    """Return the time spans without any face; float64 (m, 2), begin and end in seconds."""
    seen = np.isin(spans.index.to_numpy(), rows.loc[rows["face_detected"], "frame"].to_numpy())
    return spans_where(~seen, spans["start_s"].to_numpy(), spans["end_s"].to_numpy())


def long_gaps(rows: pd.DataFrame, spans: pd.DataFrame) -> list[tuple[int, float, float]]:
    """Return the gaps longer than `GAP_S` inside tracks: (track ID, begin, end), seconds."""
    start, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    found = []
    for track in _sightings(rows, spans.index.to_numpy(np.int64)):
        track_id = int(rows["track_id"].iloc[int(track.row[0])])
        gaps = (np.diff(track.at) > 1) & (np.diff(start[track.at]) > GAP_S)
        for i in np.flatnonzero(gaps).tolist():
            found.append((track_id, float(end[track.at[i]]), float(start[track.at[i + 1]])))
    return found


def _analysed_frames(spans: pd.DataFrame, times_s: Floats) -> tuple[Ints, Ints]:
    """Return the analysed frames, and for each the first frame that it does not represent."""
    analysed = spans.index.to_numpy(np.int64)
    last = np.searchsorted(times_s, float(spans["end_s"].iloc[-1]) - 1e-6)
    return analysed, np.append(analysed[1:], max(int(last), int(analysed[-1]) + 1))


def _sightings(rows: pd.DataFrame, analysed: Ints) -> Iterator[_Sightings]:
    """Yield the sightings of each track, in the order of the track IDs."""
    row = np.flatnonzero(rows["face_detected"].to_numpy())
    faces = rows.iloc[row]
    ids = faces["track_id"].to_numpy(np.int64)
    at = np.searchsorted(analysed, faces["frame"].to_numpy())
    boxes = faces[list(BOX_COLUMNS)].to_numpy(np.float64)
    order = np.argsort(ids, kind="stable")
    for track in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(order) else []:
        yield _Sightings(at[track], boxes[track], row[track])


def _expand_ranges(first: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Return the numbers of all ranges [first, stop), and the position of the range of each."""
    counts = np.maximum(stop - first, 0)
    owner = np.repeat(np.arange(len(first)), counts)
    begins = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - begins[owner] + first[owner], owner


def _interpolate(
    track: _Sightings, frames: Ints, before: Ints, after: Ints, analysed: Ints, times_s: Floats
) -> Regions:
    """Interpolate the boxes of a track linearly in time.

    Args:
        track: The sightings of one track.
        frames: int64 (m,), frames of the video.
        before: int64 (m,), position in `track` of the sighting before each frame.
        after: int64 (m,), of the one after it; where both are equal, the box does not move.
        analysed: int64, the analysed frames.
        times_s: float64 (N,), times of all frames of the video.
    """
    begin = times_s[analysed[track.at[before]]]
    length = times_s[analysed[track.at[after]]] - begin
    weight = np.where(length > 0, (times_s[frames] - begin) / np.where(length > 0, length, 1), 0)
    weight = weight[:, None]
    boxes = track.box_px[before] * (1 - weight) + track.box_px[after] * weight
    return Regions(frames, boxes, track.row[before])


def _time_to_sighting(times_s: Floats, before_s: Floats, after_s: Floats) -> Floats:
    """Return the time to the nearer sighting; only the earlier one counts if both are equal."""
    same = after_s == before_s
    distance: Floats = np.minimum(times_s - before_s, np.where(same, np.inf, after_s - times_s))
    return distance


def _enlarge(regions: Regions, distance_s: Floats) -> Regions:
    """Add the margin, which grows with the time to the nearest sighting."""
    box = regions.box_px
    side = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    margin = side * (MARGIN + np.minimum(_MARGIN_PER_S * distance_s, _MAX_EXTRA_MARGIN))
    return Regions(
        regions.frame, box + margin[:, None] * np.array([-1.0, -1.0, 1.0, 1.0]), regions.row
    )


def _concatenate(parts: list[Regions]) -> Regions:
    """Return the regions of all tracks, sorted by frame."""
    if not parts:
        return Regions(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, np.int64))
    frame = np.concatenate([part.frame for part in parts])
    order = np.argsort(frame, kind="stable")
    return Regions(
        frame[order],
        np.concatenate([part.box_px for part in parts])[order],
        np.concatenate([part.row for part in parts])[order],
    )
