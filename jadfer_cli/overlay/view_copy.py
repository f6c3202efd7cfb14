"""A copy of a video that every browser plays, frame by frame, for `jadfer view`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from jadfer_cli.errors import OutputError
from jadfer_cli.records import OK, Frame, VideoInfo
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe
from jadfer_cli.video.writer import VideoWriter

# Wraps the frames of one pass; also gets their number.
Progress = Callable[[Iterable[Frame], int], Iterable[Frame]]
_CRF = 18  # hardly distinguishable from the source


def write_copy(info: VideoInfo, part: Path, progress: Progress) -> list[str]:
    """Write all frames of a video as H.264 in MP4, upright, at their times and with the sound.

    Place, date and title of the source are left out, because pages are passed on.

    Args:
        info: The source.
        part: The file to write.
        progress: Wraps the frames; also gets their number.

    Returns:
        What differs from the source, one sentence each.

    Raises:
        VideoError: The source cannot be read.
        OutputError: The copy cannot be written.
    """
    every = np.arange(info.n_frames, dtype=np.int64)
    with (
        VideoWriter(info, part, ".mp4", crf=_CRF, metadata=False) as writer,
        VideoReader(info, every) as reader,
    ):
        image = np.zeros((info.height_px, info.width_px, 3), np.uint8)
        for frame in progress(reader, info.n_frames):
            raise_if_stopped()
            if frame.image_rgb is not None and frame.status == OK:
                image = frame.image_rgb
            writer.write(frame.index, image)
    written = probe(str(part)).n_frames
    if written != info.n_frames:
        raise OutputError(
            f"The copy of {info.path} has {written} frames instead of {info.n_frames}.",
            "This is a bug in jadfer; please report it with the video.",
        )
    damaged = reader.n_corrupt + reader.n_repeated
    return [*writer.notes] + (
        [f"{damaged} frames without an image of their own show the previous one."]
        if damaged
        else []
    )
