"""The loaded networks, as they are passed to the flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jadfer_cli.expression import networks
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces.actions import ActionFinder
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.follower import Follower
from jadfer_cli.faces.motion import MotionTracker
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.results.metadata import run_metadata
from jadfer_cli.results.revision import ACTIONS, ACTIONS_REVISION
from jadfer_cli.runtime import Runtime


@dataclass(frozen=True)
class Networks:
    """Detector and expression network, with the settings they were loaded for.

    Attributes:
        options: All options of the annotation.
        runtime: Device, precision and threads in use.
        model: The weights of the expression network and what is known about them.
        predictor: The expression network on its device.
        detector: The face detector on its device.
        follower: The network that follows faces; None if the detector does.
        redetect_s: Time between searches of the whole frame, complete or not; 0 for every frame.
        warnings: What the user should know about these networks.
        actions: The face landmarker; None unless actions are wanted.
    """

    options: AnnotateOptions
    runtime: Runtime
    model: Checkpoint
    predictor: Predictor
    detector: Detector
    redetect_s: float
    follower: Follower | None = None
    warnings: tuple[str, ...] = ()
    actions: ActionFinder | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels, in the order of its probabilities."""
        return self.model.labels

    def motion(self) -> MotionTracker | None:
        """A new follower of one video's faces; None if the detector follows them."""
        if self.follower is None or not self.redetect_s:  # tests replace redetect_s
            return None
        return MotionTracker(self.follower, self.options.faces.min_face_px)

    @property
    def crops_on_device(self) -> bool:
        """True if the detector makes the crops, which requires every frame on its device."""
        return self.detector.device is not None and not self.redetect_s

    @property
    def device_crop_px(self) -> int | None:
        """Side of the crops that the detector makes; None if it makes none."""
        return self.predictor.crop_px if self.crops_on_device else None

    @property
    def crops_by(self) -> str:
        """What makes the crops, for the metadata."""
        return f"PyTorch on {self.detector.device}" if self.crops_on_device else "OpenCV on cpu"

    @property
    def hint(self) -> str | None:
        """One line about this setup for the user, such as what runs on the GPU."""
        hints = [text for text in (self.detector.info.hint, self.model.note) if text]
        if self.runtime.device != "cpu":
            steps = "found, cropped" if self.crops_on_device else "found"
            hints.append(
                f"Faces are {steps} and scored on {self.runtime.device} "
                f"({self.runtime.device_name}), expressions in {self.runtime.precision}."
            )
        return " ".join(hints) or None

    def memory_warnings(self) -> list[str]:
        """Returns what the user should know about batches reduced for lack of GPU memory."""
        limiters = (self.predictor.batch_limiter, self.detector.batch_limiter)
        return [text for limiter in limiters for text in limiter.warnings]

    def metadata(self) -> dict[str, Any]:
        """Returns the part of the metadata that is the same for every video, JSON-ready."""
        model = {
            "name": self.model.entry.name,
            "sha256": self.model.sha256,
            "preview": self.model.entry.preview,
            "terms": self.model.entry.terms,
            "architecture": self.model.architecture,
            "network": networks.facts(self.model.architecture),
            "scores": self.predictor.scores,
            **self.predictor.calibration.as_table(),
            "metrics": self.model.metrics,
        }
        shared = run_metadata(self.options, self.runtime, self.detector.info, model, self.labels)
        follower = self.motion() and self.follower
        shared |= {
            "redetect_s": self.redetect_s,
            "follower": follower.info() if follower else None,
            "crops": self.crops_by,
        }
        if self.actions is not None:
            shared[ACTIONS] = {"revision": ACTIONS_REVISION} | self.actions.metadata()
        return shared
