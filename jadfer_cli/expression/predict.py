"""Probabilities for face crops, in batches."""

from __future__ import annotations

import numpy as np
import torch

from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Predictor:
    """The network of a checkpoint, ready on its device.

    Args:
        checkpoint: Verified weights.
        runtime: Device and precision.
        batch_size: Crops scored at once.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, batch_size: int) -> None:
        self.labels = checkpoint.labels
        self.crop_px = checkpoint.config.crop_px
        self.batch_size = batch_size
        self._temperature = checkpoint.temperature
        self._device = torch.device(runtime.device)
        self._dtype = _DTYPES.get(runtime.precision)
        self._network = checkpoint.build().requires_grad_(False).to(self._device)
        # faster than the default layout for these convolutions on a CPU
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        parts = [self._score(crops_rgb[i : i + self.batch_size]) for i in batches]
        return np.concatenate(parts)

    @torch.inference_mode()
    def _score(self, crops_rgb: ImageArray) -> FloatArray:
        batch = torch.from_numpy(np.ascontiguousarray(crops_rgb)).to(self._device)
        images = batch.permute(0, 3, 1, 2).float() / 255  # (B, 3, S, S), channels_last already
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            logits = self._network(images).logits
        scores: FloatArray = (logits.float() / self._temperature).softmax(-1).cpu().numpy()
        return scores
