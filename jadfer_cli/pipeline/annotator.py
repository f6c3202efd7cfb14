"""The networks, loaded once, and the whole flow of one video with them."""

from __future__ import annotations

import os
from typing import Any

from jadfer_cli.expression import checkpoint, networks
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.track import preload
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.pipeline.flow import Run
from jadfer_cli.records import VideoInfo
from jadfer_cli.results import metadata as sidecar
from jadfer_cli.runtime import Runtime, settle
from jadfer_cli.video.timeline import probe, select

# Between looks at the whole frame on a CPU; a GPU looks at every frame in about the same time.
_REDETECT_S = 0.3


class Annotator:
    """The networks, loaded once, for any number of videos.

    Args:
        options: All options; the defaults are those of the command line.
        in_torch: Whether frames are held, looked at and cropped by PyTorch; None: on CUDA. On
            the CPU it is for tests, which see there what a GPU would do.

    Attributes:
        runtime: Device, precision and threads in use.
        labels: The model's labels, in the order of its probabilities.
        redetect_s: Longest time between looks at the whole frame; 0 for each.
        warnings: What the user should know about this set-up.

    Raises:
        DeviceError: The device or precision is not to be had here.
        ModelError: Weights or detector are missing or damaged.
    """

    def __init__(
        self, options: AnnotateOptions | None = None, *, in_torch: bool | None = None
    ) -> None:
        self.options = options or AnnotateOptions()
        preload()
        self.runtime: Runtime = settle(self.options.model)
        self.model = checkpoint.load(self.options.model.model)
        self.labels = self.model.labels
        self.predictor = Predictor(self.model, self.runtime)
        self.detector = load_detector(
            self.options.faces, self.runtime.threads, self.runtime.device, in_torch=in_torch
        )
        asked_s = self.options.faces.redetect_s
        cheap = self.detector.device is not None
        self.redetect_s = (0.0 if cheap else _REDETECT_S) if asked_s is None else asked_s
        self.warnings: list[str] = []
        if self.model.entry.preview:
            self.warnings.append(
                f"The model {self.model.entry.name} is a preview, trained briefly; "
                "do not publish its scores."
            )

    @property
    def crops_in_torch(self) -> bool:
        """Whether crops are taken where the detector has the frames: only of whole frames."""
        return self.detector.device is not None and not self.redetect_s

    @property
    def crops_by(self) -> str:
        """What takes the crops, for the metadata."""
        return f"PyTorch on {self.detector.device}" if self.crops_in_torch else "OpenCV on cpu"

    @property
    def hint(self) -> str | None:
        """What the user may want to know of the set-up, in one line: on a GPU what runs there."""
        told = [self.detector.info.hint] if self.detector.info.hint else []
        if self.runtime.device != "cpu":
            done = "found, cropped" if self.crops_in_torch else "found"
            told.append(
                f"Faces are {done} and scored on {self.runtime.device} "
                f"({self.runtime.device_name}), expressions in {self.runtime.precision}."
            )
        return " ".join(told) or None

    def open(self, video: str | os.PathLike[str] | VideoInfo) -> Run:
        """Prepares the annotation of a video.

        Args:
            video: Its path, or what `probe` said of it.

        Raises:
            VideoError: It cannot be read, or no frame is left to analyse.
        """
        info = video if isinstance(video, VideoInfo) else probe(os.fspath(video))
        return Run(self, info, select(info, self.options.video))

    def memory_warnings(self) -> list[str]:
        """What the user should know of batches that GPU memory made smaller."""
        limiters = (self.predictor.batch_limiter, self.detector.batch_limiter)
        return [text for limiter in limiters for text in limiter.warnings]

    def metadata(self) -> dict[str, Any]:
        """What ran, JSON-ready; the same for every video."""
        model = {
            "name": self.model.entry.name,
            "sha256": self.model.sha256,
            "preview": self.model.entry.preview,
            "terms": self.model.entry.terms,
            "architecture": self.model.architecture,
            "network": networks.facts(self.model.architecture),
            "temperature": self.model.temperature,
            "metrics": self.model.metrics,
        }
        found = sidecar.run_metadata(
            self.options, self.runtime, self.detector.info, model, self.labels
        )
        return found | {"redetect_s": self.redetect_s, "crops": self.crops_by}
