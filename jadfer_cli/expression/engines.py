"""What computes the network: PyTorch, or on a CPU in float32 the faster ONNX Runtime.

PyTorch is loaded only where it computes, or where ONNX Runtime needs a graph that is not kept
yet: its import takes half of a short run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.common import atomic_write, cache_folder
from jadfer_cli.errors import OutputError
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime, onnx_session_options

# uint8 (n, S, S, 3), which PyTorch also takes as a tensor, to logits (n, K)
Engine = Callable[[Any], FloatArray]

_GRAPHS_KEPT = 4
_DIGEST = 32  # bytes before the graph
# what makes a graph of the weights
_SOURCES = ("networks/config.py", "networks/stems.py", "networks/jadfer.py", "torch_engine.py")


def make(checkpoint: Checkpoint, runtime: Runtime) -> Engine:
    """The network of a checkpoint on the runtime's engine.

    Raises:
        ModelError: The tensors do not fit the config.
    """
    if runtime.engine == "onnxruntime":
        return _in_onnx_runtime(checkpoint, runtime.threads)
    from jadfer_cli.expression.torch_engine import in_torch

    return in_torch(checkpoint, runtime)


def _in_onnx_runtime(checkpoint: Checkpoint, threads: int) -> Engine:
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
        from jadfer_cli.expression.torch_engine import exported

        graph = exported(checkpoint)
        loaded = session(graph)
        _keep(graph, file)

    def score(crops_rgb: ImageArray) -> FloatArray:
        logits: FloatArray = loaded.run(None, {"crops_rgb": np.ascontiguousarray(crops_rgb)})[0]
        return logits

    return score


def _key(checkpoint: Checkpoint) -> str:
    """Names a graph: by the weights, and by all that makes a graph of them."""
    torch_version = importlib.metadata.version("torch")
    digest = hashlib.sha256(f"{checkpoint.sha256} {torch_version}".encode())
    for name in _SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def _keep(graph: bytes, file: Path) -> None:
    """Keeps a graph for the next start, and of older ones the latest few."""
    with contextlib.suppress(OSError, OutputError):  # without it the next start takes longer
        with atomic_write(file) as part:
            part.write_bytes(hashlib.sha256(graph).digest() + graph)
        kept = sorted(file.parent.glob("*.graph"), key=lambda f: f.stat().st_mtime)
        for old in kept[:-_GRAPHS_KEPT]:
            old.unlink()
