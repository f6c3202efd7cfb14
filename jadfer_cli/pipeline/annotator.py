"""The networks, loaded once for any number of videos, and the methods that annotate with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from jadfer_cli.common import owns_process
from jadfer_cli.errors import OptionError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces.actions import ActionFinder
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.follower import load_follower
from jadfer_cli.faces.track import preload
from jadfer_cli.options import (
    AnnotateOptions,
    IfExists,
    OptionKeywords,
    VideoOptions,
    combined,
    takes_options,
)
from jadfer_cli.pipeline.file import OnNote, annotate_to_file
from jadfer_cli.pipeline.networks import Networks
from jadfer_cli.pipeline.progress import OnProgress, ignore
from jadfer_cli.pipeline.source import Source, open_arrays, open_video
from jadfer_cli.pipeline.tables import Pieces, annotate_to_table, refuse_max_faces
from jadfer_cli.records import ImageArray, VideoInfo
from jadfer_cli.runtime import keep_freed_memory, settle


class Annotator:
    """Annotates videos, images and frames; loads the networks once, when it is made.

        >>> annotator = jadfer_cli.Annotator(fps=5, detector="centerface")
        >>> rows = annotator.annotate("clip.mp4")
        >>> more = annotator.annotate("other.mp4")  # loads nothing again
        >>> rows["time_s"].tolist()
        [0.0, 0.2]

    One annotator annotates one video at a time.

    Args:
        options: All options; the defaults are those of the command line.
        **keywords: Single options, instead of those in `options`: `fps=5`, `max_faces=1`.
        in_torch: True to hold, search and crop frames with PyTorch; None does so on CUDA only.
            True on a CPU is for tests of what a GPU would do.

    Attributes:
        options: All options.
        networks: The loaded networks.

    Raises:
        OptionError: A keyword is no option, or its value is out of range.
        DeviceError: The device or precision is not available here.
        ModelError: Weights or detector are missing or damaged.
    """

    @takes_options
    def __init__(
        self,
        options: AnnotateOptions | None = None,
        *,
        in_torch: bool | None = None,
        **keywords: Unpack[OptionKeywords],
    ) -> None:
        self.options = combined(options, keywords)
        self.networks = _load(self.options, in_torch)

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in the order of its probabilities."""
        return self.networks.labels

    def annotate(
        self, path: str | os.PathLike[str], *, progress: OnProgress = ignore
    ) -> pd.DataFrame:
        """Annotates one video in memory.

        Args:
            path: The video.
            progress: Called with a `Progress` several times per second.

        Returns:
            The rows that the command line would write, one per frame and face. With the option
            `landmarks` ten columns of landmarks are added, with `actions` those of the file of
            actions. The metadata is in `.attrs["jadfer"]`.

        Raises:
            VideoError: The video cannot be read, or no frame is selected.
        """
        return annotate_to_table(open_video(path, self.options), self.networks, progress)

    def iter_annotate(self, path: str | os.PathLike[str]) -> Pieces:
        """Annotates one video piece by piece, in bounded memory.

        Args:
            path: The video.

        Returns:
            An iterator of consecutive rows, in order; together they are what `annotate` returns.
            After the last, its `metadata` holds the metadata.

        Raises:
            VideoError: The video cannot be read, or no frame is selected.
            OptionError: The option `max_faces` is set: it needs the whole video first.
        """
        refuse_max_faces(self.options)
        return Pieces(open_video(path, self.options), self.networks)

    def annotate_frames(
        self,
        frames_rgb: Sequence[ImageArray] | ImageArray,
        *,
        fps: float | None = None,
        times_s: Sequence[float] | npt.NDArray[np.float64] | None = None,
        name: str = "frames",
    ) -> pd.DataFrame:
        """Annotates consecutive frames that are in memory.

        Args:
            frames_rgb: n arrays, uint8 (height, width, 3), RGB, all of the same size; or one
                array (n, height, width, 3).
            fps: Frames per second, if they are evenly spaced.
            times_s: Otherwise (n,), when each frame is shown, strictly ascending. As for a video,
                `time_s` of the rows counts from the first frame.
            name: The value of the column `video`.

        Returns:
            As `annotate`, for a video made of these frames.

        Raises:
            OptionError: An array has another shape or type, or not exactly one of `fps` and
                `times_s` is given.
        """
        if (fps is None) == (times_s is None):
            raise OptionError("Give either fps or times_s, so that the frames have times.")
        last_s = None
        if fps is not None:
            if not fps > 0:
                raise OptionError(f"fps must be a positive number, not {fps}.")
            times_s, last_s = np.arange(len(frames_rgb)) / fps, 1 / fps
        times = [] if times_s is None else list(times_s)
        source = open_arrays(list(frames_rgb), times, self.options.video, name, last_s)
        return annotate_to_table(source, self.networks)

    def annotate_image(self, image_rgb: ImageArray, *, name: str = "image") -> pd.DataFrame:
        """Annotates a single image.

        Args:
            image_rgb: uint8 (height, width, 3), RGB.
            name: The value of the column `video`.

        Returns:
            One row per face, or one row without a face; columns as of `annotate`.

        Raises:
            OptionError: The array has another shape or type.
        """
        options = VideoOptions(rotate=self.options.video.rotate)  # the others select frames
        source = open_arrays([image_rgb], [0.0], options, name)
        return annotate_to_table(source, self.networks)

    def annotate_to(
        self,
        video: str | os.PathLike[str] | VideoInfo | Source,
        out: str | os.PathLike[str],
        *,
        name: str | None = None,
        if_exists: IfExists = IfExists.REFUSE,
        progress: OnProgress = ignore,
        note: OnNote = ignore,
    ) -> dict[str, Any] | None:
        """Annotates one video into a Parquet file and its JSON sidecar.

        Resumes where an earlier run with the same settings was interrupted.

        Args:
            video: Its path.
            out: The Parquet file; it appears only if everything succeeded.
            name: The value of the column `video`; None for the one that the options give.
            if_exists: What to do if the result exists.
            progress: Called with a `Progress` several times per second.
            note: Called with one sentence about what happens to an earlier run's work.

        Returns:
            The metadata written; None if an existing result was kept. With `IfExists.SKIP` a
            result is kept if the same settings made it, and made again if an older version did,
            whose rows differ.

        Raises:
            VideoError: The video cannot be read.
            OptionError: The result exists and must not be replaced.
            BusyError: Another run is writing it.
            OutputError: It cannot be written, or the existing result has other settings.
        """
        return annotate_to_file(
            self.networks, video, Path(out), name=name, if_exists=if_exists,
            on_progress=progress, on_note=note,
        )  # fmt: skip


def _load(options: AnnotateOptions, in_torch: bool | None) -> Networks:
    preload()
    runtime = settle(options.model)
    model = checkpoint.load(options.model.model)
    predictor = Predictor(model, runtime, options.model.scores)
    detector = load_detector(options.faces, runtime.threads, runtime.device, in_torch=in_torch)
    follower = load_follower(options.faces.follower) if options.faces.redetect_s else None
    warnings = []
    if model.entry.preview:
        warnings.append(
            f"The model {model.entry.name} is a preview, trained briefly; "
            "do not publish its scores."
        )
    # PyTorch computes 5 to 25 % faster; a process that is not ours is left as it is
    if owns_process() and runtime.device == "cpu" and runtime.engine == "torch":
        keep_freed_memory()
    actions = None
    if options.actions:
        actions = ActionFinder(threads=runtime.threads, keep_points=options.mesh)
    return Networks(
        options, runtime, model, predictor, detector, options.faces.redetect_s, follower,
        tuple(warnings), actions,
    )  # fmt: skip
