"""A network in PyTorch, ready to score crops, and its export to ONNX."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_OPSET = 17


class Scorer(nn.Module):
    """Maps uint8 crops (n, S, S, 3) to logits (n, K), in the dtype of the network's weights."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        """Logits (n, K)."""
        # (n, 3, S, S), still channels_last in memory
        images = crops_rgb.permute(0, 3, 1, 2).to(self.network.mean.dtype) / 255
        logits: torch.Tensor = self.network(images).logits
        return logits


def _scorer(checkpoint: Checkpoint) -> Scorer:
    network = checkpoint.build().requires_grad_(False)
    fold_norms(network)
    return Scorer(network).eval()


def fold_norms(network: nn.Module) -> None:
    """Folds every BatchNorm that follows a convolution into its weights, which saves a pass."""
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for i, (conv, norm) in enumerate(itertools.pairwise(list(layers))):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i], layers[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def in_torch(
    checkpoint: Checkpoint, runtime: Runtime, *, half_weights: bool | None = None
) -> Callable[[ImageArray | torch.Tensor], FloatArray]:
    """Prepares a network to map uint8 crops (n, S, S, 3) to logits (n, K).

    Args:
        checkpoint: Verified weights.
        runtime: Device and precision.
        half_weights: With half precision, store the weights in it, too; otherwise use autocast.
            None: only on CUDA.
    """
    scorer = _scorer(checkpoint)
    device, dtype = torch.device(runtime.device), _DTYPES.get(runtime.precision)
    if dtype is not None and (device.type == "cuda" if half_weights is None else half_weights):
        scorer.to(dtype)
        for layer in scorer.modules():
            # those left unfolded: variances may exceed float16
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.float()
        dtype = None
    scorer.to(device)
    # faster than the default layout for these convolutions
    scorer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def score(crops_rgb: ImageArray | torch.Tensor) -> FloatArray:
        if not isinstance(crops_rgb, torch.Tensor):
            crops_rgb = torch.from_numpy(np.ascontiguousarray(crops_rgb))
        crops = crops_rgb.to(device)  # no copy if already there
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            logits: FloatArray = scorer(crops).float().cpu().numpy()
        return logits

    return score


def exported(checkpoint: Checkpoint) -> bytes:
    """The network as an ONNX graph for any number of crops."""
    scorer, crop_px = _scorer(checkpoint), checkpoint.crop_px
    example = torch.zeros(2, crop_px, crop_px, 3, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # PyTorch recommends a newer exporter, which needs more packages
        graph = Path(folder) / "graph.onnx"
        torch.onnx.export(
            scorer, (example,), graph, input_names=["crops_rgb"], output_names=["logits"],
            dynamic_axes={"crops_rgb": {0: "n"}, "logits": {0: "n"}}, opset_version=_OPSET,
            dynamo=False,
        )  # fmt: skip
        return graph.read_bytes()
