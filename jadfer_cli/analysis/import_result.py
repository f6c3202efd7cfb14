"""Turns the faces of another tool into a result, so that jadfer's commands can read them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from jadfer_cli._version import __version__
from jadfer_cli.analysis.foreign_csv import ForeignFaces, read_foreign
from jadfer_cli.common import explain_os_errors, file_sha256
from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.faces.track import FaceTracker
from jadfer_cli.options import AnnotateOptions, FaceOptions
from jadfer_cli.records import FRAME_STATUSES, UNUSABLE_REASONS, Faces, VideoInfo
from jadfer_cli.results.metadata import video_metadata
from jadfer_cli.results.publish import FinalFiles
from jadfer_cli.results.read_checks import row_problem
from jadfer_cli.results.revision import RESULTS_REVISION
from jadfer_cli.results.row_checks import count_rows
from jadfer_cli.results.schema import (
    BOX_COLUMNS,
    FACE_SOURCES,
    SCHEMA_VERSION,
    probability_columns,
    result_schema,
)
from jadfer_cli.text import encodable

UNKNOWN = "not recorded"
IMPORTED = "imported"  # metadata entry of results that another tool made


def import_csv(
    path: Path, out: Path, *, video: VideoInfo | None = None, fps: float | None = None
) -> tuple[int, tuple[str, ...]]:
    """Write a result from a CSV file of py-feat or OpenFace.

    Args:
        path: The CSV file.
        out: The Parquet file; a sidecar is written beside it.
        video: The video, whose time stamps then hold.
        fps: Its frame rate, if neither the video nor the file gives times.

    Returns:
        The number of rows, and notes on what is missing.

    Raises:
        ResultError: The file cannot be imported.
        OptionError: It has no times, and neither `video` nor `fps` is given.
        OutputError: The result cannot be written.
    """
    found = read_foreign(path)
    if not len(found.faces):
        raise ResultError(f"{path} has no rows.")
    time_s, duration_s = _times(found, path, video, fps)
    name = (
        encodable(video.path) if video else found.videos[0] if len(found.videos) == 1 else str(path)
    )
    faces = _tracked(found, time_s)
    rows = _rows(faces, found.labels, time_s, duration_s, name)
    if problem := row_problem(rows, found.labels):
        raise ResultError(f"{path} cannot be imported: {problem}.")
    metadata = _metadata(found, path, rows, video, name)
    schema = result_schema(found.labels)
    table = pa.Table.from_pandas(rows, schema, preserve_index=False)
    with explain_os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".importing-", dir=out.parent)
    with folder as temporary:
        files = FinalFiles(out, Path(temporary), name, found.labels, (), metadata)
        try:
            files.write(table)
            files.finish()
            files.publish(lambda: None)
        except BaseException:
            files.discard()
            raise
    return len(rows), found.notes


def _times(
    found: ForeignFaces, path: Path, video: VideoInfo | None, fps: float | None
) -> tuple[dict[int, float], dict[int, float]]:
    """Time and duration of each frame in the file, by its index."""
    frames = np.unique(found.faces["frame"].to_numpy(np.int64))
    if frames[0] < 0:
        raise ResultError(f"{path} has a negative frame number.")
    if video is not None:
        if frames[-1] >= video.n_frames:
            raise ResultError(
                f"{path} has frame {frames[-1]}, but {video.path} has {video.n_frames} frames.",
                "It is of another video.",
            )
        times, spans = video.time_s[frames], video.duration_s[frames]
    else:
        stored = found.faces.groupby("frame")["time_s"].first().to_numpy(np.float64)
        if np.isfinite(stored).all():
            times = stored
        elif fps is not None:
            times = frames / fps
        else:
            raise OptionError(
                f"{path} does not say when its frames are shown.",
                "Give the video, or its frame rate with `fps`.",
            )
        steps = np.diff(times) / np.maximum(np.diff(frames), 1)
        typical = float(np.median(steps)) if len(steps) else 1 / fps if fps else 0.0
        spans = np.append(steps, typical)
    pairs = zip(frames.tolist(), times.tolist(), spans.tolist(), strict=True)
    by_frame = [(frame, (time, span)) for frame, time, span in pairs]
    return {f: t for f, (t, _) in by_frame}, {f: s for f, (_, s) in by_frame}


def _tracked(found: ForeignFaces, time_s: Mapping[int, float]) -> pd.DataFrame:
    """The faces, and one row per frame without any, with track IDs, sorted by frame and ID."""
    faces = found.faces.sort_values("frame", kind="stable")
    has_face = faces["detected"].groupby(faces["frame"]).transform("any")
    faces = faces[faces["detected"] | (~has_face & ~faces["frame"].duplicated())].copy()
    seen = faces["detected"].to_numpy(bool)
    if (faces["identity"][seen] >= 0).all():
        ids = faces["identity"].to_numpy(np.int64)
    else:
        ids = _track(faces, time_s)
    faces["track_id"] = pd.array(np.where(seen, ids, 0), "Int32")
    faces.loc[~faces["detected"], "track_id"] = pd.NA
    return faces.sort_values(["frame", "track_id"], kind="stable").reset_index(drop=True)


def _track(faces: pd.DataFrame, time_s: Mapping[int, float]) -> npt.NDArray[np.int64]:
    """Track IDs of jadfer's own tracker, for files that do not tell the faces apart."""
    times = list(time_s.values())
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    tracker = FaceTracker(FaceOptions(), 1 / step if step > 0 else 0.0)
    ids = np.full(len(faces), -1, np.int64)
    boxes = faces[list(BOX_COLUMNS)].to_numpy(np.float32)
    scores = faces["det_score"].fillna(1.0).to_numpy(np.float32)
    seen, frame = faces["detected"].to_numpy(bool), faces["frame"].to_numpy(np.int64)
    for index, time in time_s.items():
        at = np.flatnonzero((frame == index) & seen)
        found = Faces(boxes[at], scores[at], np.zeros((len(at), 5, 2), np.float32))
        ids[at] = tracker.update(found, time)
    return ids


def _rows(
    faces: pd.DataFrame,
    labels: tuple[str, ...],
    time_s: Mapping[int, float],
    duration_s: Mapping[int, float],
    name: str,
) -> pd.DataFrame:
    """The rows of the result; null where the other tool measured nothing."""
    seen = faces["detected"].to_numpy(bool)
    n_faces = faces["detected"].groupby(faces["frame"]).transform("sum")
    rows = pd.DataFrame(index=faces.index)
    for field in result_schema(labels):
        column = faces.get(field.name)
        rows[field.name] = np.nan if column is None else column.where(seen)
    rows["video"] = pd.Categorical([name] * len(rows))
    rows["frame"] = faces["frame"].astype("int32")
    rows["time_s"] = faces["frame"].map(time_s).astype(float)
    rows["duration_s"] = faces["frame"].map(duration_s).astype(float)
    rows["frame_status"] = pd.Categorical(["ok"] * len(rows), categories=list(FRAME_STATUSES))
    rows["face_detected"], rows["n_faces"] = seen, n_faces.astype("int16")
    rows["track_id"] = faces["track_id"].astype("Int32")
    source = pd.Series("detected", rows.index).where(seen)
    rows["face_source"] = pd.Categorical(source, categories=list(FACE_SOURCES))
    rows["usable"] = pd.Series(True, rows.index, dtype="boolean").where(seen)
    none = [None] * len(rows)
    rows["unusable_reason"] = pd.Categorical(none, categories=list(UNUSABLE_REASONS))
    best = pd.Series(pd.NA, rows.index, dtype="object")
    if labels:
        p = rows[list(probability_columns(labels))].to_numpy(np.float64)  # (n, K)
        top = np.nan_to_num(p, nan=-1.0).argmax(1)
        best = pd.Series(np.array(labels, object)[top], rows.index).where(seen)
        rows["p_max"] = p.max(1)
        rows["entropy"] = -(p * np.log(np.maximum(p, 1e-30))).sum(1)
    rows["expression"] = pd.Categorical(best, categories=list(labels))
    return rows


def _metadata(
    found: ForeignFaces, path: Path, rows: pd.DataFrame, video: VideoInfo | None, name: str
) -> dict[str, Any]:
    frames = rows["frame"].drop_duplicates().to_numpy()
    if video is None:
        described = _video_without_file(rows, name)
    else:
        described = video_metadata(video, file_sha256(Path(video.path)))
    unknown = {"name": found.tool, "sha256": UNKNOWN, "terms": None}
    step = int(np.diff(frames).min()) if len(frames) > 1 else 1
    options = asdict(AnnotateOptions())
    options["video"]["every"] = max(step, 1)
    counts = count_rows(rows) | {
        "frames_expected": len(frames), "frames_analysed": len(frames), "frames_corrupt": 0,
        "frames_repeated": 0, "tracks_left_out": 0,
    }  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION,
        "results_revision": RESULTS_REVISION,
        "jadfer_version": __version__,
        "labels": list(found.labels),
        "model": unknown,
        "detector": unknown | {"kind": IMPORTED},
        "options": options,
        "device": UNKNOWN,
        "device_name": UNKNOWN,
        "precision": UNKNOWN,
        "versions": {"jadfer-cli": __version__},
        "video": described,
        "counts": counts,
        "warnings": [f"Imported from {found.tool}, not annotated by jadfer.", *found.notes],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        IMPORTED: {"tool": found.tool, "file": encodable(str(path)), "sha256": file_sha256(path)},
    }


def _video_without_file(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """What is known of a video that was not given: the times of its frames."""
    frames = rows.drop_duplicates("frame")
    span, time = frames["duration_s"].to_numpy(), frames["time_s"].to_numpy()
    typical = float(np.median(span))
    return {
        "path": name, "sha256": None, "bytes": None, "codec": UNKNOWN, "width_px": 0,
        "height_px": 0, "nominal_fps": 1 / typical if typical > 0 else 0.0,
        "variable_frame_rate": bool(np.ptp(span) > 0.002),  # times may be rounded to 1 ms
        "frame_gap_min_s": float(span.min()), "frame_gap_max_s": float(span.max()),
        "start_offset_s": None, "duration_s": float(time[-1] + span[-1]),
    }  # fmt: skip
