"""Engines that compute a network: PyTorch, or the faster ONNX Runtime on a CPU in float32.

PyTorch is imported only where it computes, or to export a graph that is not cached yet: its
import takes half the time of annotating a short clip.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.common import atomic_write, cache_folder
from jadfer_cli.errors import OutputError
from jadfer_cli.expression import networks
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.records import FloatArray, ImageArray
from jadfer_cli.runtime import Runtime, onnx_session_options

# uint8 crops (n, S, S, 3), as an array or (PyTorch only) a tensor, to logits (n, K)
Engine = Callable[[Any], FloatArray]

_GRAPHS_KEPT = 4
_DIGEST_BYTES = 32  # stored before the graph


def make(checkpoint: Checkpoint, runtime: Runtime) -> Engine:
    """Prepares the network of a checkpoint on the runtime's engine.

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
            graph, onnx_session_options(1), providers=["CPUExecutionProvider"]
        )

    file = cache_folder() / "graphs" / f"{graph_key(checkpoint)}.graph"
    loaded = None
    with contextlib.suppress(Exception):  # not cached, or damaged
        kept = file.read_bytes()
        digest, graph = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(graph).digest() == digest:
            loaded = session(graph)
    if loaded is None:
        from jadfer_cli.expression.torch_engine import exported

        graph = exported(checkpoint)
        loaded = session(graph)
        _cache(graph, file)

    def score(crops_rgb: ImageArray) -> FloatArray:
        logits: FloatArray = loaded.run(None, {"crops_rgb": np.ascontiguousarray(crops_rgb)})[0]
        return logits

    return score if threads == 1 else _in_shares(score, threads)


def _in_shares(score: Engine, threads: int) -> Engine:
    """Each thread scores a share of the batch: all wait once, not after every layer."""
    pool = ThreadPoolExecutor(threads, "jadfer-share")

    def score_shares(crops_rgb: ImageArray) -> FloatArray:
        shares = np.array_split(crops_rgb, min(threads, len(crops_rgb)))
        return np.concatenate(list(pool.map(score, shares)))

    return score_shares


def graph_key(checkpoint: Checkpoint) -> str:
    """Name of a cached graph: a hash of the weights and of everything that shapes their graph."""
    torch_version = importlib.metadata.version("torch")
    digest = hashlib.sha256(
        f"{checkpoint.sha256} {checkpoint.architecture} {torch_version}".encode()
    )
    # sources whose changes invalidate cached graphs: all networks, as one may import another
    for file in (*networks.source_files(), Path(__file__).with_name("torch_engine.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _cache(graph: bytes, file: Path) -> None:
    """Caches a graph for the next start and drops all but the latest few."""
    with contextlib.suppress(OSError, OutputError):  # without a cache the next start is slower
        with atomic_write(file) as part:
            part.write_bytes(hashlib.sha256(graph).digest() + graph)
        cached = sorted(file.parent.glob("*.graph"), key=lambda f: f.stat().st_mtime)
        for old in cached[:-_GRAPHS_KEPT]:
            old.unlink()
