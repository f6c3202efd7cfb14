"""Probabilities for face crops, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jadfer_cli.errors import ModelError
from jadfer_cli.expression import engines
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.scores import choose
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import BatchLimiter, Runtime

if TYPE_CHECKING:
    import torch


class Predictor:
    """The network of a checkpoint, ready on its device.

    Args:
        checkpoint: Verified weights.
        runtime: Device, precision, engine and batch size.
        scores: The definition of the probabilities, as for `scores.choose`.

    Attributes:
        labels: K class names, in the order of the probabilities.
        crop_px: Side of the crops.
        scores: The definition of the probabilities.
        calibration: Maps logits to them.
        engine: Maps uint8 crops (n, S, S, 3) to logits (n, K).
        batch_limiter: Limits the crops scored at once; shrinks when GPU memory runs out.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, scores: str = "auto") -> None:
        self.labels = checkpoint.labels
        self.crop_px = checkpoint.crop_px
        self.batch_limiter = BatchLimiter(runtime.batch_size, "faces")
        self.scores = choose(scores, checkpoint.scores, checkpoint.entry.name)
        self.calibration = checkpoint.scores[self.scores]
        self._source = f"{checkpoint.entry.path} in {runtime.precision}"
        self.engine = engines.make(checkpoint, runtime)

    def probabilities(self, crops_rgb: ImageArray | torch.Tensor) -> FloatArray:
        """Calibrated probabilities.

        Args:
            crops_rgb: uint8 (n, S, S, 3), aligned as by `faces.align`; a tensor if they
                are on the device already.

        Returns:
            float32 (n, K), rows sum to 1, in the order of `labels`.

        Raises:
            DeviceError: GPU memory does not suffice for a single crop.
            ModelError: The network gives values that are no numbers.
        """
        if not len(crops_rgb):
            return np.empty((0, len(self.labels)), np.float32)
        logits = np.concatenate(self.batch_limiter.over(self.engine, crops_rgb))
        if not np.isfinite(logits).all():
            raise ModelError(
                f"The network {self._source} gives scores that are not finite numbers.",
                "Its weights are damaged or unsuitable. If the precision is not fp32, try fp32.",
            )
        return self.calibration.probabilities(logits)
