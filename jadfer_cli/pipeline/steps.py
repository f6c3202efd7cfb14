"""The steps between detection and writing: track, crop, batch, score. Each maps a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces import align, quality
from jadfer_cli.faces.actions import ActionFinder
from jadfer_cli.faces.follow import Detections
from jadfer_cli.faces.track import FaceTracker
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.options import FaceOptions
from jadfer_cli.pipeline.source import Source
from jadfer_cli.pipeline.state import RunState
from jadfer_cli.records import (
    Actions,
    AnnotatedFrame,
    Crops,
    Faces,
    FloatArray,
    Frame,
    ImageArray,
    IntArray,
)

# Frame limit per batch, so that videos without faces are also written incrementally.
_MAX_FRAMES_PER_BATCH = 128
_YAW_PITCH = [
    len(ACTION_COLUMNS) + MEASURE_COLUMNS.index(name) for name in ("mesh_yaw_deg", "mesh_pitch_deg")
]


@dataclass(frozen=True)
class TrackedFrame:
    """One frame with its faces, sorted by track ID.

    Attributes:
        frame: The frame; without its picture once `crop` is done with it.
        faces: The n faces.
        track_ids: int32 (n,).
        restartable: See `AnnotatedFrame`.
        crops: Of the n faces; None until they are made.
        actions: Of the n faces; None until they are found, and unless they are wanted.
    """

    frame: Frame
    faces: Faces
    track_ids: IntArray
    restartable: bool
    crops: Crops | None
    actions: Actions | None = None


def track(
    detections: Iterable[Detections], source: Source, options: FaceOptions, state: RunState
) -> Iterator[TrackedFrame]:
    """Assigns track IDs, frame by frame, and adds to the statistics of the tracks."""
    tracker = state.tracker or FaceTracker(options, source.analysed_fps)
    for frame, faces, restartable, crops in detections:
        # the detector's order depends on earlier frames, which a resumed run has not seen
        left_to_right = faces.order()
        faces = faces.take(left_to_right)
        ids = tracker.update(faces, frame.time_s)
        by_id = np.argsort(ids)
        faces, ids = faces.take(by_id), ids[by_id]
        if crops is not None:
            crops = crops.take(left_to_right[by_id])
        state.stats.add(ids, faces.boxes_px, frame.duration_s)
        yield TrackedFrame(frame, faces, ids, restartable, crops)


def act(tracked: Iterable[TrackedFrame], finder: ActionFinder | None) -> Iterator[TrackedFrame]:
    """Finds the actions of all faces; passes the frames on as they are if there is no finder."""
    for one in tracked:
        if finder is not None:
            one = dataclasses.replace(one, actions=finder.find(one.frame.image_rgb, one.faces))
        yield one


def crop(tracked: Iterable[TrackedFrame], crop_px: int) -> Iterator[TrackedFrame]:
    """Makes aligned crops of faces that have none yet, and drops the pictures."""
    for one in tracked:
        crops = one.crops
        if crops is None:
            image = one.frame.image_rgb
            if image is None:  # then there are no faces either
                image = np.zeros((1, 1, 3), np.uint8)
            places = one.faces.landmarks_px
            crops = Crops(align.crop(image, places, crop_px))
            if crop_px != align.CROP_PX:
                crops = dataclasses.replace(crops, for_quality=align.crop(image, places))
        frame = dataclasses.replace(one.frame, image_rgb=None)
        yield dataclasses.replace(one, frame=frame, crops=crops)


def in_batches(cropped: Iterable[TrackedFrame], faces: int) -> Iterator[list[TrackedFrame]]:
    """Groups consecutive frames that are scored together.

    Args:
        cropped: The frames.
        faces: A batch is complete when it has this many faces.
    """
    batch: list[TrackedFrame] = []
    n_faces = 0
    for one in cropped:
        batch.append(one)
        n_faces += len(one.faces)
        if n_faces >= faces or len(batch) >= _MAX_FRAMES_PER_BATCH:
            yield batch
            batch, n_faces = [], 0
    if batch:
        yield batch


def score(
    batches: Iterable[list[TrackedFrame]], predictor: Predictor, size_px: tuple[int, int]
) -> Iterator[list[AnnotatedFrame]]:
    """Computes probabilities and quality, for the faces of one batch at a time.

    Equal crops are scored once: a screen recording and a video of a lower rate than its file's
    repeat frames.

    Args:
        batches: Frames with crops.
        predictor: The expression network.
        size_px: Width and height of the frames.
    """
    earlier: dict[bytes, FloatArray] = {}  # of the last frame of the batch before
    for batch in batches:
        crops = Crops.join([one.crops for one in batch if one.crops is not None])
        probabilities, by_crop = _probabilities(crops, predictor, earlier)  # (m, K)
        last = batch[-1].crops
        earlier = {} if last is None else {key: by_crop[key] for key in map(_key, last.rgb)}
        faces = Faces.join([one.faces for one in batch])
        pose = [one.actions.values[:, _YAW_PITCH] for one in batch if one.actions is not None]
        mesh_pose = np.concatenate(pose) if pose else None
        seen = crops.rgb if crops.for_quality is None else crops.for_quality
        assessed = quality.assess(seen, faces, size_px, mesh_pose)
        ends = np.cumsum([0, *(len(one.faces) for one in batch)])
        yield [
            AnnotatedFrame(
                one.frame.index,
                one.frame.time_s,
                one.frame.duration_s,
                one.frame.status,
                one.faces,
                one.track_ids,
                assessed.take(slice(first, end)),
                probabilities[first:end],
                one.restartable,
                one.frame.notes,
                one.actions,
            )
            for one, (first, end) in zip(batch, pairwise(ends), strict=True)
        ]


def _key(crop_rgb: ImageArray) -> bytes:
    return crop_rgb.tobytes()


def _probabilities(
    crops: Crops, predictor: Predictor, earlier: Mapping[bytes, FloatArray]
) -> tuple[FloatArray, dict[bytes, FloatArray]]:
    """Probabilities (m, K) of m crops, and those of each different crop.

    Args:
        crops: The crops.
        predictor: Scores those that differ from each other and from earlier ones.
        earlier: Probabilities (K,) of crops that were scored before.
    """
    keys = [_key(crop_rgb) for crop_rgb in crops.rgb]
    new = {key: i for i, key in reversed([*enumerate(keys)]) if key not in earlier}
    which = np.array(sorted(new.values()), np.intp)
    distinct = crops.take(which)
    pixels = distinct.rgb if distinct.on_device is None else distinct.on_device  # (d, S, S, 3)
    scored = predictor.probabilities(pixels)  # (d, K)
    by_crop = {**earlier, **{keys[i]: row for i, row in zip(which, scored, strict=True)}}
    rows = [by_crop[key] for key in keys]
    return np.stack(rows) if rows else scored, by_crop
