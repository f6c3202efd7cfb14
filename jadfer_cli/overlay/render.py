"""Renders a video with its result drawn over it, for `jadfer overlay`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from jadfer_cli.analysis.actions import read_meshes
from jadfer_cli.analysis.frame_times import frame_spans, spans_where, usable_rows
from jadfer_cli.analysis.video_rows import check_complete, check_same_video, rows_of_video
from jadfer_cli.common import atomic_write
from jadfer_cli.errors import ResultError
from jadfer_cli.options import OverlayOptions
from jadfer_cli.overlay import regions
from jadfer_cli.overlay.cover_check import MAX_FRAMES, Cover, Uncovered, find_uncovered
from jadfer_cli.overlay.mesh import draw_mesh
from jadfer_cli.overlay.painter import DrawnFace, Painter, blur, font_sizes
from jadfer_cli.records import OK, Frame, ImageArray, VideoInfo
from jadfer_cli.results.load import Result
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.text import count_text
from jadfer_cli.video.container import check_file
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe
from jadfer_cli.video.writer import VideoWriter

# Wraps the frames of one pass; gets their number and what is done with them.
Progress = Callable[[Iterable[Frame], int, str], Iterable[Frame]]
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
    progress: Progress = lambda frames, total, what: frames,
) -> RenderedOverlay:
    """Write the video with its result drawn over it, completely or not at all.

    Args:
        video: The video that was annotated.
        result: Its result.
        out: The new video, with one of the extensions in `video.writer.ENDINGS`.
        options: What to draw.
        progress: Wraps the frames as they are read; also gets their number, and what is done with
            them.

    Raises:
        VideoError: The video cannot be read.
        ResultError: The result is of another video or was changed, or omits faces that should be
            blurred, or the blurred video still shows a face.
        OutputError: The new video cannot be written.
    """
    check_file(str(video))
    if not options.force:
        check_same_video(video, result)
    # boxes are in pixels of the frames as they were annotated
    info = rotated(probe(str(video)), result.metadata["options"]["video"].get("rotate"))
    rows = rows_of_video(result, info)
    if options.blur and not options.force:
        check_complete(result, rows)
    spans = frame_spans(rows, result.metadata)
    scene = _Scene(info, rows, spans, result, options)
    with atomic_write(out) as part:
        notes = _draw_video(scene, info, part, out.suffix, options, progress)
        if scene.cover is not None:
            found = find_uncovered(
                part, info, scene.cover, lambda frames, n: progress(frames, n, "checking")
            )
            if found:
                raise _still_visible(found, video, result, info)
    return RenderedOverlay(info.n_frames, tuple(notes), tuple(scene.warnings()))


def _draw_video(
    scene: _Scene, info: VideoInfo, part: Path, ending: str, options: OverlayOptions,
    progress: Progress,
) -> list[str]:  # fmt: skip
    """Write all frames of the video as drawn; return what differs from the source."""
    with (
        VideoWriter(info, part, ending, crf=options.crf, metadata=not options.blur) as writer,
        VideoReader(info, np.arange(info.n_frames, dtype=np.int64)) as reader,
    ):
        image = np.zeros((info.height_px, info.width_px, 3), np.uint8)
        for frame in progress(reader, info.n_frames, "drawing"):
            raise_if_stopped()
            # A frame without a new image repeats the previous one as drawn. Blurring that image
            # for the current frame would leave its face visible if the face has moved since.
            if frame.image_rgb is not None and frame.status == OK:
                image = scene.draw(frame.index, frame.image_rgb)
            writer.write(frame.index, image)
    damaged = reader.n_corrupt + reader.n_repeated
    notes = list(writer.notes)
    if damaged:
        has = "its own shows" if damaged == 1 else "their own show"
        notes.append(f"{count_text(damaged, 'frame')} without an image of {has} the previous one.")
    return notes


def _still_visible(
    found: Sequence[Uncovered], video: Path, result: Result, info: VideoInfo
) -> ResultError:
    """Return the error for a blurred video that still shows a face."""
    frames = sorted({face.frame for face in found})
    mask = np.zeros(info.n_frames, np.bool_)
    mask[frames] = True
    times = spans_where(mask, info.time_s, info.time_s + info.duration_s)
    x1, y1, x2, y2 = (round(float(v)) for v in found[0].box_px)
    least = "at least " if len(frames) == MAX_FRAMES else ""
    return ResultError(
        f"Blurring with {result.path} would leave faces of {video} visible, so nothing was "
        f"written: in {least}{len(frames):,} of {info.n_frames:,} frames, at "
        f"{_time_list(times.tolist())}; first in frame {frames[0]}, x {x1} to {x2}, y {y1} to "
        f"{y2} px.",
        "Annotate the video again, with `redetect_s` 0 to search every frame; if a face was "
        "missed, also with a larger `detection_size`. Then blur with the new result.",
    )


class _Scene:
    """Draws the frames of one video."""

    def __init__(
        self, info: VideoInfo, rows: pd.DataFrame, spans: pd.DataFrame, result: Result,
        options: OverlayOptions,
    ) -> None:  # fmt: skip
        self._options, self._rows, self._spans = options, rows, spans
        self._painter = Painter(result.labels, options.labels, unusable=options.unusable)
        self._boxes = regions.interpolated_boxes(rows, spans, info.time_s)
        self.cover: Cover | None = None  # what is hidden, if anything
        if options.blur:
            blurred = regions.blurred_regions(rows, spans, info.time_s)
            outside = regions.outside_analysed(spans, info.time_s)
            self.cover = Cover(blurred, self._boxes, outside)
        self._ids = rows["track_id"].fillna(-1).to_numpy(np.int64)
        self._usable = usable_rows(rows)
        self._p = rows[list(result.probabilities)].to_numpy(np.float32)
        heights = (rows["bbox_y2"] - rows["bbox_y1"]).groupby(self._ids).median().dropna()
        sizes = font_sizes(heights.to_numpy(np.float64), (info.width_px, info.height_px))
        self._meshes = read_meshes(result) if options.mesh else {}
        self._fonts = dict(zip(heights.index.tolist(), sizes, strict=True))

    def draw(self, index: int, image: ImageArray) -> ImageArray:
        """Return a copy of a frame's image with its faces drawn or blurred."""
        drawn: ImageArray = image.copy()
        if self.cover:
            if self.cover.outside[index]:
                drawn[:] = 128  # no faces were searched for here
                return drawn
            blur(drawn, self.cover.blurred.box_px[self.cover.blurred.in_frame(index)])
        for box_row in (
            self._boxes.row[self._boxes.in_frame(index)].tolist() if self._meshes else ()
        ):
            mesh = self._meshes.get((index, int(self._ids[box_row])))
            if mesh is not None:
                draw_mesh(drawn, mesh)
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
        if not self.cover:
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
        if n_outside := int(self.cover.outside.sum()):
            are = "is" if n_outside == 1 else "are"
            found.append(
                f"{count_text(n_outside, 'frame')} outside the analysed part {are} plain grey."
            )
        return found


def _time_list(spans: list[list[float]]) -> str:
    """Format time spans, e.g. "2.7-3.4 s, 5.1 s"."""
    ends = [(f"{a:.1f}", f"{b:.1f}") for a, b in spans[:_MAX_LISTED]]
    text = ", ".join(f"{a} s" if a == b else f"{a}-{b} s" for a, b in ends)
    more = len(spans) - _MAX_LISTED
    return text + (f" and {more} more" if more > 0 else "")
