"""Probabilities for face crops, in batches."""

from __future__ import annotations

import numpy as np

from jadfer_cli.expression import engines
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime


class Predictor:
    """The network of a checkpoint, ready on its device.

    Args:
        checkpoint: Verified weights.
        runtime: Device, precision and engine.
        batch_size: Crops scored at once.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, batch_size: int) -> None:
        self.labels = checkpoint.labels
        self.crop_px = checkpoint.config.crop_px
        self.batch_size = batch_size
        self._temperature = checkpoint.temperature
        self._engine = engines.make(checkpoint, runtime)

    def probabilities(self, crops_rgb: ImageArray) -> FloatArray:
        """Calibrated probabilities.

        Args:
            crops_rgb: uint8 (n, S, S, 3), aligned by `faces.align`.

        Returns:
            float32 (n, K), rows sum to 1, in the order of `labels`.
        """
        if not len(crops_rgb):
            return np.empty((0, len(self.labels)), np.float32)
        batches = range(0, len(crops_rgb), self.batch_size)
        logits = np.concatenate([self._engine(crops_rgb[i : i + self.batch_size]) for i in batches])
        raised = np.exp((logits - logits.max(1, keepdims=True)) / self._temperature)
        probabilities: FloatArray = raised / raised.sum(1, keepdims=True)
        return probabilities
