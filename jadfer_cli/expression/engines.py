"""What computes the network: PyTorch, or on a CPU in float32 the faster ONNX Runtime."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from jadfer_cli.common import cache_folder, written_whole
from jadfer_cli.errors import OutputError
from jadfer_cli.expression import backbones, jadfer
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.jadfer import Jadfer
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime, onnx_session_options

Engine = Callable[[ImageArray], FloatArray]  # uint8 (n, S, S, 3) to logits (n, K)

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_OPSET = 17
_GRAPHS_KEPT = 4
_DIGEST = 32  # bytes before the graph


def make(checkpoint: Checkpoint, runtime: Runtime) -> Engine:
    """The network of a checkpoint on the runtime's engine."""
    network = checkpoint.build().requires_grad_(False)
    fold_norms(network)
    scorer = _Scorer(network).eval()
    if runtime.engine == "onnxruntime":
        return _in_onnx_runtime(scorer, checkpoint, runtime.threads)
    return _in_torch(scorer, runtime)


class _Scorer(nn.Module):
    """From uint8 crops (n, S, S, 3) to logits (n, K)."""

    def __init__(self, network: Jadfer) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        # (n, 3, S, S); its memory stays channels_last
        images = crops_rgb.permute(0, 3, 1, 2).float() / 255
        logits: torch.Tensor = self.network(images).logits
        return logits


def fold_norms(network: nn.Module) -> None:
    """Puts every BatchNorm that follows a convolution into its weights: one pass less."""
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for i, (conv, norm) in enumerate(itertools.pairwise(list(layers))):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i], layers[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _in_torch(scorer: _Scorer, runtime: Runtime) -> Engine:
    device, dtype = torch.device(runtime.device), _DTYPES.get(runtime.precision)
    scorer.to(device)
    # faster than the default layout for these convolutions on a CPU
    scorer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def score(crops_rgb: ImageArray) -> FloatArray:
        crops = torch.from_numpy(np.ascontiguousarray(crops_rgb)).to(device)
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            logits: FloatArray = scorer(crops).float().cpu().numpy()
        return logits

    return score


def _in_onnx_runtime(scorer: _Scorer, checkpoint: Checkpoint, threads: int) -> Engine:
    import onnxruntime

    def session(graph: bytes) -> Any:
        return onnxruntime.InferenceSession(
            graph, onnx_session_options(threads), providers=["CPUExecutionProvider"]
        )

    file = cache_folder() / "graphs" / f"{_key(checkpoint)}.graph"
    loaded = None
    with contextlib.suppress(Exception):  # none kept, or whatever a damaged one makes it raise
        kept = file.read_bytes()
        digest, graph = kept[:_DIGEST], kept[_DIGEST:]
        if hashlib.sha256(graph).digest() == digest:
            loaded = session(graph)
    if loaded is None:
        graph = _exported(scorer, checkpoint.config.crop_px)
        loaded = session(graph)
        _keep(graph, file)

    def score(crops_rgb: ImageArray) -> FloatArray:
        logits: FloatArray = loaded.run(None, {"crops_rgb": np.ascontiguousarray(crops_rgb)})[0]
        return logits

    return score


def _key(checkpoint: Checkpoint) -> str:
    """Names a graph: by the weights, and by all that makes a graph of them."""
    digest = hashlib.sha256(f"{checkpoint.sha256} {torch.__version__}".encode())
    for file in (backbones.__file__, jadfer.__file__, __file__):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


def _exported(scorer: _Scorer, crop_px: int) -> bytes:
    """The graph as ONNX, with the number of crops left open."""
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


def _keep(graph: bytes, file: Path) -> None:
    """Keeps a graph for the next start, and of older ones the latest few."""
    with contextlib.suppress(OSError, OutputError):  # without it the next start takes longer
        with written_whole(file) as part:
            part.write_bytes(hashlib.sha256(graph).digest() + graph)
        kept = sorted(file.parent.glob("*.graph"), key=lambda f: f.stat().st_mtime)
        for old in kept[:-_GRAPHS_KEPT]:
            old.unlink()
