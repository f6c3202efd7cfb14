"""The network in PyTorch, ready to score crops, and its graph for ONNX Runtime."""

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
from jadfer_cli.expression.networks.jadfer import Jadfer
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_OPSET = 17


class Scorer(nn.Module):
    """From uint8 crops (n, S, S, 3) to logits (n, K), in the type of the network's weights."""

    def __init__(self, network: Jadfer) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        """Logits (n, K)."""
        # (n, 3, S, S); its memory stays channels_last
        images = crops_rgb.permute(0, 3, 1, 2).to(self.network.mean.dtype) / 255
        logits: torch.Tensor = self.network(images).logits
        return logits


def _scorer(checkpoint: Checkpoint) -> Scorer:
    network = checkpoint.build().requires_grad_(False)
    fold_norms(network)
    return Scorer(network).eval()


def fold_norms(network: nn.Module) -> None:
    """Puts every BatchNorm that follows a convolution into its weights: one pass less."""
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for i, (conv, norm) in enumerate(itertools.pairwise(list(layers))):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i], layers[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def in_torch(
    checkpoint: Checkpoint, runtime: Runtime, *, half_weights: bool | None = None
) -> Callable[[ImageArray | torch.Tensor], FloatArray]:
    """Logits (n, K) of uint8 crops (n, S, S, 3), on the runtime's device and in its precision.

    Args:
        checkpoint: Verified weights.
        runtime: Device and precision.
        half_weights: Whether in half precision the weights are, too, so that nothing is converted
            on the way; else autocast does. None: on CUDA.
    """
    scorer = _scorer(checkpoint)
    device, dtype = torch.device(runtime.device), _DTYPES.get(runtime.precision)
    if dtype is not None and (device.type == "cuda" if half_weights is None else half_weights):
        scorer.to(dtype)
        for layer in scorer.modules():
            if isinstance(layer, nn.BatchNorm2d):  # not folded: variances may exceed float16
                layer.float()
        dtype = None
    scorer.to(device)
    # faster than the default layout for these convolutions
    scorer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def score(crops_rgb: ImageArray | torch.Tensor) -> FloatArray:
        if not isinstance(crops_rgb, torch.Tensor):
            crops_rgb = torch.from_numpy(np.ascontiguousarray(crops_rgb))
        crops = crops_rgb.to(device)  # as it is, if it lies there
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            logits: FloatArray = scorer(crops).float().cpu().numpy()
        return logits

    return score


def exported(checkpoint: Checkpoint) -> bytes:
    """The graph as ONNX, with the number of crops left open."""
    scorer, crop_px = _scorer(checkpoint), checkpoint.config.crop_px
    example = torch.zeros(2, crop_px, crop_px, 3, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a newer exporter exists; it needs more packages
        graph = Path(folder) / "graph.onnx"
        torch.onnx.export(
            scorer, (example,), graph, input_names=["crops_rgb"], output_names=["logits"],
            dynamic_axes={"crops_rgb": {0: "n"}, "logits": {0: "n"}}, opset_version=_OPSET,
            dynamo=False,
        )  # fmt: skip
        return graph.read_bytes()
