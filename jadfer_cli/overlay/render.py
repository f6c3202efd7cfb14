"""A video drawn anew with its result over it: what `jadfer overlay` does."""

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
_MAX_NAMED = 12  # stretches in one warning


@dataclass(frozen=True)
class Redrawn:
    """What came of it.

    Attributes:
        n_frames: Frames written: all that the source shows.
        notes: What is not as it was in the source.
        warnings: What to look at before the video is shared.
    """

    n_frames: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def draw_over(
    video: Path,
    result: Result,
    out: Path,
    options: OverlayOptions,
    progress: Progress = lambda frames, total: frames,
) -> Redrawn:
    """Writes the video with what the result says drawn over it, whole or not at all.

    Args:
        video: The video that was annotated.
        result: Its result.
        out: The new video; ends in one of `video.writer.ENDINGS`.
        options: What is drawn.
        progress: Goes around the frames as they are read, with their number.

    Raises:
        VideoError: The video cannot be read.
        ResultError: The result is of another video, or leaves faces out that should be blurred.
        OutputError: The new video cannot be written.
    """
    check_file(str(video))
    if not options.force:
        _check_same(video, result)
        if options.blur:
            _check_all_faces(result)
    info = probe(str(video))
    rows = _rows(result, info)
    spans = frame_spans(rows, result.metadata)
    scene = _Scene(info, rows, spans, result, options)
    with (
        atomic_write(out) as part,
        VideoWriter(info, part, out.suffix, crf=options.crf, metadata=not options.blur) as writer,
        VideoReader(info, np.arange(info.n_frames, dtype=np.int64)) as reader,
    ):
        picture = np.zeros((info.height_px, info.width_px, 3), np.uint8)
        for frame in progress(reader, info.n_frames):
            raise_if_stopped()
            # Where no new picture comes, the one before stays as it was drawn: the face in it
            # is covered where it is in that picture, wherever it may be by now.
            if frame.image_rgb is not None and frame.status == OK:
                picture = scene.drawn(frame.index, frame.image_rgb)
            writer.write(frame.index, picture)
    damaged = reader.n_corrupt + reader.n_repeated
    notes = list(writer.notes)
    if damaged:
        notes.append(f"{damaged} frames without a picture of their own show the one before.")
    return Redrawn(info.n_frames, tuple(notes), tuple(scene.warnings()))


class _Scene:
    """What is drawn in each frame of one video."""

    def __init__(
        self, info: VideoInfo, rows: pd.DataFrame, spans: pd.DataFrame, result: Result,
        options: OverlayOptions,
    ) -> None:  # fmt: skip
        self._options, self._rows, self._spans = options, rows, spans
        self._painter = Painter(result.labels, options.labels, unusable=options.unusable)
        self._shown = regions.shown_boxes(rows, spans, info.time_s)
        if options.blur:
            self._covered = regions.blurred_regions(rows, spans, info.time_s)
            self._beyond = regions.frames_beyond(spans, info.time_s)
        self._times_s = info.time_s
        self._ids = rows["track_id"].fillna(-1).to_numpy(np.int64)
        self._usable = usable_rows(rows)
        self._p = rows[list(result.probabilities)].to_numpy(np.float32)
        heights = (rows["bbox_y2"] - rows["bbox_y1"]).groupby(self._ids).median().dropna()
        sizes = font_sizes(heights.to_numpy(np.float64), (info.width_px, info.height_px))
        self._fonts = dict(zip(heights.index.tolist(), sizes, strict=True))

    def drawn(self, index: int, image: ImageArray) -> ImageArray:
        """A frame's picture with all that belongs over it."""
        found: ImageArray = image.copy()
        if self._options.blur:
            if self._beyond[index]:
                found[:] = 128  # nobody looked for faces here
                return found
            blur(found, self._covered.box_px[self._covered.of(index)])
        if self._options.boxes:
            of = self._shown.of(index)
            pairs = zip(self._shown.box_px[of], self._shown.row[of].tolist(), strict=True)
            self._painter.paint(found, [self._face(box, row) for box, row in pairs])
        return found

    def _face(self, box: regions.Floats, row: int) -> DrawnFace:
        id_ = int(self._ids[row])
        return DrawnFace(box, id_, bool(self._usable[row]), self._p[row], self._fonts[id_])

    def warnings(self) -> list[str]:
        """What of a blurred video a person has to look at."""
        if not self._options.blur:
            return []
        found = []
        empty = regions.spans_without_face(self._rows, self._spans)
        if len(empty):
            found.append(
                f"No face was found {_named(empty.tolist())}: "
                "look at them before you share the video."
            )
        lost: dict[int, list[list[float]]] = {}
        for id_, begin, end in regions.lost_spans(self._rows, self._spans):
            if not ((empty[:, 0] <= begin + 1e-9) & (empty[:, 1] >= end - 1e-9)).any():
                lost.setdefault(id_, []).append([begin, end])
        for id_, spans in lost.items():
            found.append(f"Track {id_} was not found {_named(spans)}: look there, too.")
        if self._beyond.any():
            found.append(
                f"{int(self._beyond.sum())} frames outside the analysed part are grey all over."
            )
        return found


def _named(spans: list[list[float]]) -> str:
    """E.g. "2.7-3.4 s, 5.1-6.0 s"."""
    text = ", ".join(f"{a:.1f}-{b:.1f} s" for a, b in spans[:_MAX_NAMED])
    more = len(spans) - _MAX_NAMED
    return text + (f" and at {more} more places" if more > 0 else "")


def _rows(result: Result, info: VideoInfo) -> pd.DataFrame:
    columns = ["frame", "time_s", "duration_s", "face_detected", "track_id", "usable"]
    rows = result.rows([*columns, *BOX_COLUMNS, *result.probabilities]).reset_index(drop=True)
    if not len(rows):
        raise ResultError(f"{result.path} has no rows.", "Annotate the video again.")
    if int(rows["frame"].max()) >= info.n_frames:
        raise ResultError(
            f"{result.path} has a frame {rows['frame'].max()}, but {info.path} shows "
            f"{info.n_frames} frames.",
            "Name the video that was annotated.",
        )
    return rows


def _check_same(video: Path, result: Result) -> None:
    """Refuses a result of another video: its boxes would lie beside the faces."""
    noted = result.metadata.get("video", {})
    other = noted.get("bytes") not in (None, video.stat().st_size)
    if not other and noted.get("sha256"):
        other = file_sha256(video) != noted["sha256"]
    if other:
        raise ResultError(
            f"{result.path} was made of another video ({noted.get('path', 'unknown')}) than "
            f"{video}.",
            "Name the video that was annotated. Where the file was only repacked and shows the "
            "same frames, add --force.",
        )


def _check_all_faces(result: Result) -> None:
    """Refuses to blur by a result that leaves out faces on purpose."""
    faces = result.metadata.get("options", {}).get("faces", {})
    why = []
    if result.metadata.get("counts", {}).get("tracks_left_out"):
        why.append(f"--max-faces {faces.get('max_faces')}")
    if (faces.get("min_face_px") or 0) > FaceOptions().min_face_px:
        why.append(f"--min-face {faces['min_face_px']:g}")
    if why:
        raise ResultError(
            f"{result.path} leaves faces out ({', '.join(why)}), so they would not be blurred.",
            f"Annotate again without {' and '.join(w.split()[0] for w in why)}, or add --force.",
        )
