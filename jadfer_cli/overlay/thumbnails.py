"""Small pictures of the moments that quality control found, with the boxes of the faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.analysis.qc.page import Thumbnail
from jadfer_cli.analysis.qc.report import Entry
from jadfer_cli.analysis.video_rows import check_same_video, rows_of_video
from jadfer_cli.common import require_opencv, short_time
from jadfer_cli.errors import JadferError
from jadfer_cli.records import ImageArray
from jadfer_cli.results.load import load
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe

_WIDTH_PX = 240
_MAX_PER_CLIP = 4
_GREEN, _ORANGE = (0, 180, 90), (230, 120, 0)  # usable, not usable; RGB
_JPEG_QUALITY = 80


def thumbnails_of(entry: Entry) -> tuple[Thumbnail, ...]:
    """Return one picture for each moment that the findings of a clip name.

    Raises:
        JadferError: The video is missing, cannot be read, or is not the one that was annotated.
    """
    require_opencv()
    wanted = [(finding.at_s, finding.brief) for finding in entry.findings]
    times = sorted({at_s for at_s, _ in wanted if at_s is not None})[:_MAX_PER_CLIP]
    if not entry.measures or not wanted:
        return ()
    video, result = Path(entry.video), load(entry.path)
    if not video.is_file():
        raise JadferError(f"{video} does not exist, so there are no thumbnails of it.")
    check_same_video(video, result)
    info = rotated(probe(str(video)), result.metadata["options"]["video"].get("rotate"))
    rows = rows_of_video(result, info)
    frames = rows["frame"].drop_duplicates().to_numpy(np.int64)
    begins = info.time_s[frames]
    at = np.searchsorted(begins, np.array(times or [0.0]) + 1e-6, side="right") - 1
    indices = np.unique(frames[np.maximum(at, 0)])
    found = []
    with VideoReader(info, indices) as reader:
        for frame in reader:
            if frame.image_rgb is None:
                continue
            own = rows[(rows["frame"] == frame.index) & rows["face_detected"]]
            boxes = own[list(BOX_COLUMNS)].to_numpy(np.float64)
            usable = own["usable"].fillna(False).to_numpy(bool).tolist()
            names = [
                brief
                for at_s, brief in wanted
                if at_s is not None and abs(at_s - frame.time_s) <= max(frame.duration_s, 1e-3)
            ]
            caption = ", ".join([short_time(frame.time_s), *names])
            found.append(Thumbnail(_jpeg(frame.image_rgb, boxes, usable), caption))
    return tuple(found)


def _jpeg(image_rgb: ImageArray, boxes_px: Floats, usable: Sequence[bool]) -> bytes:
    """The picture in small, with a box around each face."""
    import cv2

    height, width = image_rgb.shape[:2]
    scale = _WIDTH_PX / max(width, height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small: Any = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    for box, is_usable in zip(boxes_px * scale, usable, strict=True):
        corners = [round(float(v)) for v in box]
        colour = _GREEN if is_usable else _ORANGE
        cv2.rectangle(small, corners[:2], corners[2:], colour, 2)
    _, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)
