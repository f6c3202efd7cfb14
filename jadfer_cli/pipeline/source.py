"""What is annotated: the frames selected from a video file, or frames held in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, VideoOptions
from jadfer_cli.records import OK, Frame, ImageArray, VideoInfo
from jadfer_cli.text import encodable
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe, select


@dataclass(frozen=True)
class Source:
    """A video file and the frames of it that are analysed.

    Attributes:
        info: The video's timeline.
        indices: int64 (n,), indices of the frames analysed, ascending, never empty.
        name: The value of the column `video`.
        decoder: One of `options.DECODERS`.
    """

    info: VideoInfo
    indices: npt.NDArray[np.int64]
    name: str
    decoder: str = "auto"

    @property
    def n_frames(self) -> int:
        """Number of frames analysed."""
        return len(self.indices)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the displayed frames."""
        return self.info.width_px, self.info.height_px

    @property
    def analysed_fps(self) -> float:
        """Mean rate of the frames analysed, which `--every` and `--fps` reduce."""
        times = self.info.time_s[self.indices]
        span_s = float(times[-1] - times[0])
        return (len(times) - 1) / span_s if span_s > 0 else self.info.nominal_fps

    def read(self, threads: int, begin: int) -> AbstractContextManager[Iterable[Frame]]:
        """Decodes the frames.

        Args:
            threads: CPU threads of the decoder.
            begin: Position in `indices` of the first frame to return.
        """
        return VideoReader(self.info, self.indices, threads, begin, self.decoder)


@dataclass(frozen=True)
class ArraySource(Source):
    """Frames held in memory; other attributes as of `Source`.

    Attributes:
        images_rgb: uint8 (height, width, 3) each, all frames, not only those analysed; as they
            were given, not yet rotated.
    """

    images_rgb: Sequence[ImageArray] = ()

    def read(self, threads: int, begin: int) -> AbstractContextManager[Iterable[Frame]]:
        """Returns the frames; arguments as of `Source.read`."""

        @contextmanager
        def opened() -> Iterator[Iterator[Frame]]:
            yield (
                Frame(
                    index,
                    float(self.info.time_s[index]),
                    float(self.info.duration_s[index]),
                    OK,
                    # NumPy rotates counterclockwise
                    np.ascontiguousarray(
                        np.rot90(self.images_rgb[index], -self.info.rotation_deg // 90)
                    ),
                )
                for index in self.indices[begin:].tolist()
            )

        return opened()


def open_video(
    video: str | os.PathLike[str] | VideoInfo, options: AnnotateOptions, name: str | None = None
) -> Source:
    """Reads the timeline of a video and selects the frames to analyse.

    Args:
        video: Its path, or the result of `probe`.
        options: Which frames to select, and how the rows name the video.
        name: The value of the column `video`; None for the one that the options give.

    Raises:
        VideoError: The video cannot be read, or no frame is selected.
    """
    info = video if isinstance(video, VideoInfo) else probe(os.fspath(video))
    info = rotated(info, options.video.rotate)
    if name is None:
        bare = options.relative_paths or options.file_names
        name = Path(info.path).name if bare else info.path
    chosen = select(info, options.video)
    return Source(info, chosen, encodable(name), options.video.decoder)


def open_arrays(
    images_rgb: Sequence[ImageArray],
    times_s: Sequence[float],
    options: VideoOptions,
    name: str,
    last_s: float | None = None,
) -> ArraySource:
    """Treats arrays as the frames of a video.

    Args:
        images_rgb: n frames, uint8 (height, width, 3), RGB, all of the same size.
        times_s: (n,), when each is shown, strictly ascending. In the rows the first becomes 0; it
            is kept as `start_offset_s` in the metadata.
        options: Which frames to select, and by how much to rotate them.
        name: The value of the column `video`.
        last_s: How long the last frame is shown; None for the median of the others.

    Raises:
        OptionError: An array has another shape or type, or the times do not fit the frames.
        VideoError: No frame is selected.
    """
    times = np.asarray(times_s, np.float64)
    _check_arrays(images_rgb, times)
    height, width = images_rgb[0].shape[:2]
    gaps = np.diff(times)
    if last_s is None:
        last_s = float(np.median(gaps)) if len(gaps) else 0.0
    info = VideoInfo(
        path=name,
        container="arrays",
        codec="rawvideo",
        pixel_format="rgb24",
        width_px=width,
        height_px=height,
        rotation_deg=0,
        time_s=times - times[0],
        duration_s=np.append(gaps, last_s),
        pts=np.arange(len(times), dtype=np.int64),
        time_base_s=1e-6,
        start_offset_s=float(times[0]),
        n_packets=len(times),
        nominal_fps=1 / last_s if last_s else 0.0,
        file_bytes=0,
    )
    info = rotated(info, options.rotate)
    return ArraySource(info, select(info, options), encodable(name), images_rgb=images_rgb)


def _check_arrays(images_rgb: Sequence[ImageArray], times: npt.NDArray[np.float64]) -> None:
    if not len(images_rgb):
        raise OptionError("There are no frames to annotate.", "Pass at least one array.")
    for i, image in enumerate(images_rgb):
        if not isinstance(image, np.ndarray):
            raise OptionError(
                f"Frame {i} must be a NumPy array, uint8 (height, width, 3), RGB, not "
                f"{type(image).__name__}.",
                "To annotate a file, use annotate() with its path.",
            )
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise OptionError(
                f"Frame {i} must be uint8 (height, width, 3), RGB, not {image.dtype} {image.shape}."
            )
        if image.shape != images_rgb[0].shape:
            raise OptionError(
                f"Frame {i} has the shape {image.shape}, but the first has {images_rgb[0].shape}.",
                "All frames of a sequence must have the same size; annotate single images one by "
                "one.",
            )
    if times.shape != (len(images_rgb),):
        raise OptionError(f"There are {len(images_rgb)} frames but {times.size} times.")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise OptionError("The times must be finite and strictly ascending.")
