"""Resuming an interrupted run: the segments that it stored become the state to continue from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jadfer_cli.faces.track import FaceTracker, TrackStats
from jadfer_cli.options import FaceOptions
from jadfer_cli.pipeline.progress import OnProgress, Progress, ignore
from jadfer_cli.pipeline.source import Source
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.records import Faces, IntArray
from jadfer_cli.results.parts import Part
from jadfer_cli.results.schema import BOX_COLUMNS


def resume(
    source: Source,
    segments: Iterable[Part],
    options: FaceOptions,
    on_progress: OnProgress = ignore,
) -> RunState | None:
    """Restores the state in which an earlier run stopped.

    Args:
        source: The video.
        segments: What the earlier run stored, from the first on; may be empty.
        options: How faces are tracked.
        on_progress: Called after each segment.

    Returns:
        The state; that of a run from the start if there are no segments. None if the segments
        are not the beginning of this run, or the tracker does not reproduce their track IDs.
    """
    state = RunState()
    for segment in segments:
        facts, frames = segment.facts, list(frames_of(segment.rows))
        end = state.begin + len(frames)
        state.tracker = state.tracker or FaceTracker(options, source.analysed_fps)
        indices = [frame.index for frame in frames] + [facts.end]
        if not np.array_equal(source.indices[state.begin : end + 1], indices) or not _replay(
            frames, state.tracker, state.stats
        ):
            return None
        state.begin = end
        state.counts.add_rows(segment.rows)
        state.decoders += facts.decoders
        state.warnings += facts.warnings
        state.earlier_s += facts.wall_s
        state.resumed_at += [] if facts.resumed_at is None else [facts.resumed_at]
        on_progress(Progress("resuming", end, source.n_frames, state.counts.faces))
    if state.begin:
        state.resumed_at.append(int(source.indices[state.begin]))
    return state


@dataclass(frozen=True)
class StoredFrame:
    """One frame that an earlier run analysed.

    Attributes:
        index, time_s, duration_s: As in `Frame`.
        faces: Its n faces, without landmarks, sorted by track ID.
        track_ids: int32 (n,), their track IDs.
    """

    index: int
    time_s: float
    duration_s: float
    faces: Faces
    track_ids: IntArray


def frames_of(rows: pa.Table) -> Iterator[StoredFrame]:
    """Yields the frames of a segment, with what the tracker saw of them."""
    frame = rows["frame"].to_numpy()
    time_s, duration_s = rows["time_s"].to_numpy(), rows["duration_s"].to_numpy()
    detected = rows["face_detected"].to_numpy()
    boxes = np.stack([rows[name].to_numpy() for name in BOX_COLUMNS], axis=1)  # (n, 4)
    scores = rows["det_score"].to_numpy()
    ids = rows["track_id"].fill_null(-1).to_numpy()
    starts = np.flatnonzero(np.diff(frame, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(frame)], strict=True):
        its = slice(start, end if detected[start] else start)
        n = its.stop - start
        faces = Faces(
            boxes[its].astype(np.float32),
            scores[its].astype(np.float32),
            np.zeros((n, 5, 2), np.float32),
        )
        yield StoredFrame(
            int(frame[start]), float(time_s[start]), float(duration_s[start]),
            faces, ids[its].astype(np.int32),
        )  # fmt: skip


def _replay(frames: Iterable[StoredFrame], tracker: FaceTracker, stats: TrackStats) -> bool:
    """Passes stored frames to the tracker once more.

    Returns:
        True if it assigned the same IDs, so that it continues as it would have.
    """
    for frame in frames:
        faces = frame.faces.left_to_right()
        ids = tracker.update(faces, frame.time_s)
        order = np.argsort(ids)
        if not np.array_equal(ids[order], frame.track_ids) or not np.array_equal(
            faces.boxes_px[order], frame.faces.boxes_px
        ):
            return False
        stats.add(frame.track_ids, frame.faces.boxes_px, frame.duration_s)
    return True
