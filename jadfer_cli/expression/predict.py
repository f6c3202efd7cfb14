"""Probabilities for face crops, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jadfer_cli.expression import engines
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import BatchLimiter, Runtime

if TYPE_CHECKING:
    import torch


class Predictor:
    """The network of a checkpoint, ready on its device.

    Args:
        checkpoint: Verified weights.
        runtime: Device, precision, engine, and crops scored at once; fewer where the GPU's memory
            is short.

    Attributes:
        batches: How many are scored at once, and whether that had to be made less.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime) -> None:
        self.labels = checkpoint.labels
        self.crop_px = checkpoint.config.crop_px
        self.batch_limiter = BatchLimiter(runtime.batch_size, "faces")
        self._temperature = checkpoint.temperature
        self._engine = engines.make(checkpoint, runtime)

    def probabilities(self, crops_rgb: ImageArray | torch.Tensor) -> FloatArray:
        """Calibrated probabilities.

        Args:
            crops_rgb: uint8 (n, S, S, 3), aligned as by `faces.align`; a tensor where they lie
                on the device already.

        Returns:
            float32 (n, K), rows sum to 1, in the order of `labels`.

        Raises:
            DeviceError: The GPU's memory does not suffice for one crop.
        """
        if not len(crops_rgb):
            return np.empty((0, len(self.labels)), np.float32)
        logits = np.concatenate(self.batch_limiter.over(self._engine, crops_rgb))
        raised = np.exp((logits - logits.max(1, keepdims=True)) / self._temperature)
        probabilities: FloatArray = raised / raised.sum(1, keepdims=True)
        return probabilities
