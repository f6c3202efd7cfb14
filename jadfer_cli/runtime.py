"""What the program runs on: CPU threads, device and precision, settled once in one place."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from jadfer_cli.common import require_opencv
from jadfer_cli.errors import DeviceError
from jadfer_cli.options import BATCH_CPU, BATCH_GPU, ModelOptions

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks run.

    Attributes:
        device: "cpu" or "cuda:N".
        device_name: e.g. "CPU, 2 threads" or the card's own name.
        precision: "fp32", "bf16" or "fp16".
        threads: CPU threads for every library.
        engine: What computes the expression network: "torch" or "onnxruntime".
        batch_size: Faces scored at once.
    """

    device: str
    device_name: str
    precision: str
    threads: int
    engine: str = "torch"
    batch_size: int = BATCH_CPU


def usable_cores() -> int:
    """Cores that this process may use, not those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return max(os.cpu_count() or 1, 1)


def settle(options: ModelOptions) -> Runtime:
    """Settles device and precision, and sets the thread counts of torch and OpenCV.

    PyTorch is loaded only where it will compute, or has to be asked for a GPU.

    Args:
        options: Device, precision and threads as asked for.

    Raises:
        DeviceError: The device is not there, or cannot compute in the precision.
        ModelError: OpenCV cannot be loaded.
    """
    threads = options.threads or usable_cores()
    _set_opencv_threads()
    wanted = options.device
    if wanted == "auto":
        wanted = "cuda" if n_gpus() else "cpu"
    if wanted != "cpu":
        wanted = _cuda(wanted)
    on_cuda = wanted != "cpu"
    precision = options.precision
    if precision == "auto":
        precision = "fp16" if on_cuda else "fp32"
    if precision == "fp16" and not on_cuda:
        raise DeviceError(
            "fp16 needs a CUDA device; this run is on the CPU.",
            "Use --precision fp32 (the default on a CPU) or bf16.",
        )
    engine = _engine(options, wanted, precision)
    name = f"CPU, {threads} threads"
    if engine == "torch" or "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        name = torch.cuda.get_device_name(wanted) if on_cuda else name
    batch_size = options.batch_size or (BATCH_GPU if on_cuda else BATCH_CPU)
    return Runtime(wanted, name, precision, threads, engine, batch_size)


def n_gpus() -> int:
    """GPUs that PyTorch can use; it is not loaded where the machine has no driver for one."""
    if not _gpu_driver():
        return 0
    import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def _gpu_driver() -> bool:
    """Whether a driver of NVIDIA's or AMD's is there."""
    if os.path.exists("/dev/kfd"):  # ROCm, which PyTorch calls "cuda", too
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _engine(options: ModelOptions, device: str, precision: str) -> str:
    """ONNX Runtime where it is the faster one: on a CPU in float32."""
    fits = device == "cpu" and precision == "fp32"
    if options.engine == "onnxruntime" and not fits:
        raise DeviceError(
            f"--engine onnxruntime computes in fp32 on the CPU, not in {precision} on {device}.",
            "Use --engine auto or torch.",
        )
    if options.engine == "auto":
        return "onnxruntime" if fits else "torch"
    return options.engine


def onnx_session_options(threads: int) -> Any:
    """Options of every ONNX Runtime session: its threads, and no word on the terminal."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(threads, 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised anyway; its log goes to the terminal
    # Spinning threads would take the cores from the decoder and the other network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class BatchLimiter:
    """Runs a network over many items, some at a time; fewer where the GPU's memory is short.

    When it is exhausted, the same items are tried again half at a time, and so are all later
    ones: what filled the memory once would do so again.

    Args:
        size: Items at a time.
        what: What the items are, for messages: "faces", "pictures".
        smaller: How the user can make one item smaller; may be empty.

    Attributes:
        size: Items at a time from now on.
        warnings: That it was halved: one sentence, however often; else empty.
    """

    def __init__(self, size: int, what: str, smaller: str = "") -> None:
        self.size, self._what, self._smaller = size, what, smaller
        self._wanted = size

    @property
    def warnings(self) -> list[str]:
        """What the user should know of the size."""
        if self.size == self._wanted:
            return []
        return [
            f"The GPU's memory was exhausted by {self._wanted} {self._what} at once; "
            f"{self.size} at once went on."
        ]

    def over(self, run: Callable[[Any], T], items: Any) -> list[T]:
        """What `run` makes of slices of `items`, in order.

        Args:
            run: Takes a slice; is called again with a part of it where memory was exhausted.
            items: Something with a length that can be sliced.

        Raises:
            DeviceError: The memory does not suffice for one item.
        """
        results: list[T] = []
        at = 0
        while at < len(items):
            try:
                results.append(run(items[at : at + self.size]))
            except Exception as error:
                if not gpu_memory_exhausted(error):
                    raise
            else:
                at += self.size
                continue
            # Only here, as the error holds the tensors that are in the way.
            self._halve(min(self.size, len(items) - at))
        return results

    def _halve(self, tried: int) -> None:
        import torch

        if tried == 1:
            raise DeviceError(
                f"The GPU's memory does not suffice for one of the {self._what}.",
                f"{self._smaller}Free GPU memory (nvidia-smi shows who holds it), start fewer "
                "--jobs, or use --device cpu.",
            )
        self.size = tried // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def gpu_memory_exhausted(error: BaseException) -> bool:
    """Whether an error of PyTorch says that: its own allocator's, or that of cuBLAS or cuDNN."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("ALLOC_FAILED", "CUDA error: out of memory"))
    )


def _set_opencv_threads() -> None:
    """OpenCV works on small images here, where its own threads only get in the way."""
    require_opencv()
    import cv2

    cv2.setNumThreads(1)


def _cuda(wanted: str) -> str:
    """The full name of a CUDA device, checked."""
    count = n_gpus()
    index = int(wanted.removeprefix("cuda").removeprefix(":") or 0)
    if index < count:
        return f"cuda:{index}"
    if count:
        raise DeviceError(
            f"There is no device cuda:{index}; this machine has {count} CUDA device(s).",
            f"Use --device cuda:0 to cuda:{count - 1}, or --device auto.",
        )
    import torch

    build = "this PyTorch is a CPU build" if torch.version.cuda is None else "no GPU is visible"
    raise DeviceError(
        f"CUDA is not available: {build}.",
        "Use --device cpu, or see `jadfer doctor` for what is missing.",
    )


def keep_freed_memory() -> None:
    """Lets the C library keep what it frees, for PyTorch on a CPU under glibc; else nothing.

    glibc gives blocks of many megabytes back to the kernel after every operation and gets
    them again page by page: 5 to 25 % of a training step, and scoring faces in float32 at 127
    instead of 186 a second (measured on a virtual machine with two cores).
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
