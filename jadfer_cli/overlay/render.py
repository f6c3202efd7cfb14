"""Renders a video with its result drawn over it, for `jadfer overlay`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from jadfer_cli.analysis.frame_times import frame_spans, usable_rows
from jadfer_cli.common import atomic_write, file_sha256
from jadfer_cli.errors import ResultError
from jadfer_cli.options import FaceOptions, OverlayOptions
from jadfer_cli.overlay import regions
from jadfer_cli.overlay.painter import DrawnFace, Painter, blur, font_sizes
from jadfer_cli.records import OK, Frame, ImageArray, VideoInfo
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.video.container import check_file
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe
from jadfer_cli.video.writer import VideoWriter

Progress = Callable[[Iterable[Frame], int], Iterable[Frame]]
_MAX_LISTED = 12  # time spans in one warning


@dataclass(frozen=True)
class RenderedOverlay:
    """Summary of a rendered video.

    Attributes:
        n_frames: Number of frames written: all that the source shows.
        notes: What differs from the source.
        warnings: What to check before the video is shared.
    """

    n_frames: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def render_overlay(
    video: Path,
    result: Result,
    out: Path,
    options: OverlayOptions,
    progress: Progress = lambda frames, total: frames,
) -> RenderedOverlay:
    """Write the video with its result drawn over it, completely or not at all.

    Args:
        video: The video that was annotated.
        result: Its result.
        out: The new video, with one of the extensions in `video.writer.ENDINGS`.
        options: What to draw.
        progress: Wraps the frames as they are read; also gets their total number.

    Raises:
        VideoError: The video cannot be read.
        ResultError: The result is of another video, or omits faces that should be blurred.
        OutputError: The new video cannot be written.
    """
    check_file(str(video))
    if not options.force:
        _check_same_video(video, result)
        if options.blur:
            _check_no_faces_omitted(result)
    info = probe(str(video))
    rows = _read_rows(result, info)
    spans = frame_spans(rows, result.metadata)
    scene = _Scene(info, rows, spans, result, options)
    with (
        atomic_write(out) as part,
        VideoWriter(info, part, out.suffix, crf=options.crf, metadata=not options.blur) as writer,
        VideoReader(info, np.arange(info.n_frames, dtype=np.int64)) as reader,
    ):
        image = np.zeros((info.height_px, info.width_px, 3), np.uint8)
        for frame in progress(reader, info.n_frames):
            raise_if_stopped()
            # A frame without a new image repeats the previous one as drawn. Blurring that image
            # for the current frame would leave its face visible if the face has moved since.
            if frame.image_rgb is not None and frame.status == OK:
                image = scene.draw(frame.index, frame.image_rgb)
            writer.write(frame.index, image)
    damaged = reader.n_corrupt + reader.n_repeated
    notes = list(writer.notes)
    if damaged:
        notes.append(f"{damaged} frames without an image of their own show the previous one.")
    return RenderedOverlay(info.n_frames, tuple(notes), tuple(scene.warnings()))


class _Scene:
    """Draws the frames of one video."""

    def __init__(
        self, info: VideoInfo, rows: pd.DataFrame, spans: pd.DataFrame, result: Result,
        options: OverlayOptions,
    ) -> None:  # fmt: skip
        self._options, self._rows, self._spans = options, rows, spans
        self._painter = Painter(result.labels, options.labels, unusable=options.unusable)
        self._boxes = regions.interpolated_boxes(rows, spans, info.time_s)
        if options.blur:
            self._blurred = regions.blurred_regions(rows, spans, info.time_s)
            self._outside = regions.outside_analysed(spans, info.time_s)
        self._ids = rows["track_id"].fillna(-1).to_numpy(np.int64)
        self._usable = usable_rows(rows)
        self._p = rows[list(result.probabilities)].to_numpy(np.float32)
        heights = (rows["bbox_y2"] - rows["bbox_y1"]).groupby(self._ids).median().dropna()
        sizes = font_sizes(heights.to_numpy(np.float64), (info.width_px, info.height_px))
        self._fonts = dict(zip(heights.index.tolist(), sizes, strict=True))

    def draw(self, index: int, image: ImageArray) -> ImageArray:
        """Return a copy of a frame's image with its faces drawn or blurred."""
        drawn: ImageArray = image.copy()
        if self._options.blur:
            if self._outside[index]:
                drawn[:] = 128  # no faces were searched for here
                return drawn
            blur(drawn, self._blurred.box_px[self._blurred.in_frame(index)])
        if self._options.boxes:
            place = self._boxes.in_frame(index)
            pairs = zip(self._boxes.box_px[place], self._boxes.row[place].tolist(), strict=True)
            self._painter.paint(drawn, [self._face(box, row) for box, row in pairs])
        return drawn

    def _face(self, box: regions.Floats, row: int) -> DrawnFace:
        track = int(self._ids[row])
        return DrawnFace(box, track, bool(self._usable[row]), self._p[row], self._fonts[track])

    def warnings(self) -> list[str]:
        """Return what the user must check in a blurred video."""
        if not self._options.blur:
            return []
        found = []
        empty = regions.spans_without_face(self._rows, self._spans)
        if len(empty):
            found.append(
                f"No face was found at {_time_list(empty.tolist())}: "
                "check this before you share the video."
            )
        gaps: dict[int, list[list[float]]] = {}
        for track, begin, end in regions.long_gaps(self._rows, self._spans):
            # without any face the first warning covers the gap
            if not ((empty[:, 0] <= begin + 1e-9) & (empty[:, 1] >= end - 1e-9)).any():
                gaps.setdefault(track, []).append([begin, end])
        for track, spans in gaps.items():
            found.append(f"Track {track} was not found at {_time_list(spans)}: check this, too.")
        if self._outside.any():
            found.append(
                f"{int(self._outside.sum())} frames outside the analysed part are plain grey."
            )
        return found


def _time_list(spans: list[list[float]]) -> str:
    """Format time spans, e.g. "2.7-3.4 s, 5.1-6.0 s"."""
    text = ", ".join(f"{a:.1f}-{b:.1f} s" for a, b in spans[:_MAX_LISTED])
    more = len(spans) - _MAX_LISTED
    return text + (f" and {more} more" if more > 0 else "")


def _read_rows(result: Result, info: VideoInfo) -> pd.DataFrame:
    columns = ["frame", "time_s", "duration_s", "face_detected", "track_id", "usable"]
    rows = result.rows([*columns, *BOX_COLUMNS, *result.probabilities]).reset_index(drop=True)
    if not len(rows):
        raise ResultError(f"{result.path} has no rows.", "Annotate the video again.")
    if int(rows["frame"].max()) >= info.n_frames:
        raise ResultError(
            f"{result.path} has a frame {rows['frame'].max()}, but {info.path} shows only "
            f"{info.n_frames} frames.",
            "Name the video that was annotated.",
        )
    return rows


def _check_same_video(video: Path, result: Result) -> None:
    """Refuse the result of another video, because its boxes would miss the faces."""
    recorded = result.metadata.get("video", {})
    differs = recorded.get("bytes") not in (None, video.stat().st_size)
    if not differs and recorded.get("sha256"):
        differs = file_sha256(video) != recorded["sha256"]
    if differs:
        raise ResultError(
            f"{result.path} belongs to another video ({recorded.get('path', 'unknown')}), not to "
            f"{video}.",
            "Name the video that was annotated. If the file was only remuxed and shows the same "
            "frames, add `force`.",
        )


def _check_no_faces_omitted(result: Result) -> None:
    """Refuse to blur with a result that omits faces because of its options."""
    faces = result.metadata.get("options", {}).get("faces", {})
    causes = []
    if result.metadata.get("counts", {}).get("tracks_left_out"):
        causes.append(f"`max_faces` {faces.get('max_faces')}")
    if (faces.get("min_face_px") or 0) > FaceOptions().min_face_px:
        causes.append(f"`min_face_px` {faces['min_face_px']:g}")
    if causes:
        names = " and ".join(cause.split()[0] for cause in causes)
        raise ResultError(
            f"{result.path} omits faces ({', '.join(causes)}), so they would not be blurred.",
            f"Annotate again without {names}, or add `force`.",
        )
