"""Chooses CPU threads, device, precision and engine, and adapts batches to GPU memory."""

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
from jadfer_cli.text import count_text

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks run.

    Attributes:
        device: "cpu" or "cuda:N".
        device_name: e.g. "CPU, 2 threads" or the name of the GPU.
        precision: "fp32", "bf16" or "fp16".
        threads: CPU threads of every library.
        engine: What runs the expression network: "torch" or "onnxruntime".
        batch_size: Faces scored at once.
    """

    device: str
    device_name: str
    precision: str
    threads: int
    engine: str = "torch"
    batch_size: int = BATCH_CPU


def usable_cores() -> int:
    """Returns how many cores this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return max(os.cpu_count() or 1, 1)


def settle(options: ModelOptions) -> Runtime:
    """Chooses device and precision, and sets the thread counts of PyTorch and OpenCV.

    PyTorch is imported only if it will compute or is needed to look for a GPU.

    Args:
        options: Device, precision and threads as requested.

    Raises:
        DeviceError: The device is missing, or does not support the precision.
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
            "fp16 needs a CUDA device, but this run uses the CPU.",
            "Use `precision` fp32 (the default on a CPU) or bf16.",
        )
    engine = _engine(options, wanted, precision)
    name = f"CPU, {count_text(threads, 'thread')}"
    if engine == "torch" or "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        name = torch.cuda.get_device_name(wanted) if on_cuda else name
    batch_size = options.batch_size or (BATCH_GPU if on_cuda else BATCH_CPU)
    return Runtime(wanted, name, precision, threads, engine, batch_size)


def settle_for_training(options: ModelOptions) -> Runtime:
    """As `settle`, for a process that only trains: on a CPU it also keeps freed memory."""
    runtime = settle(options)
    if runtime.device == "cpu":
        keep_freed_memory()
    return runtime


def n_gpus() -> int:
    """Returns how many GPUs PyTorch can use; imports it only if the machine has a GPU driver."""
    if not _gpu_driver():
        return 0
    import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def _gpu_driver() -> bool:
    """Returns True if a driver by NVIDIA or AMD is installed."""
    if os.path.exists("/dev/kfd"):  # ROCm, which PyTorch also calls "cuda"
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _engine(options: ModelOptions, device: str, precision: str) -> str:
    """Chooses ONNX Runtime where it is faster: on a CPU in float32."""
    suits_onnx = device == "cpu" and precision == "fp32"
    if options.engine == "onnxruntime" and not suits_onnx:
        raise DeviceError(
            f"`engine` onnxruntime supports only fp32 on the CPU, not {precision} on {device}.",
            "Use `engine` auto or torch.",
        )
    if options.engine == "auto":
        return "onnxruntime" if suits_onnx else "torch"
    return options.engine


def onnx_session_options(threads: int) -> Any:
    """Returns the options of every ONNX Runtime session: its threads, and no log output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(threads, 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised anyway
    # Spinning threads would take cores from the decoder and the other network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class BatchLimiter:
    """Runs a network on many items in batches, smaller ones if GPU memory runs out.

    The items that did not fit are retried in batches of half the size. All later batches have
    that size too, because larger ones would fail again.

    Args:
        size: Items per batch.
        what: What the items are, for messages: "faces", "pictures".
        smaller: How the user can make one item smaller; may be empty.

    Attributes:
        size: Items per batch from now on.
    """

    def __init__(self, size: int, what: str, smaller: str = "") -> None:
        self.size, self._what, self._smaller = size, what, smaller
        self._wanted = size

    @property
    def warnings(self) -> list[str]:
        """One sentence if batches had to be reduced, however often; otherwise empty."""
        if self.size == self._wanted:
            return []
        return [
            f"{self._wanted} {self._what} at once exceeded the GPU's memory; "
            f"batches were reduced to {self.size}."
        ]

    def over(self, run: Callable[[Any], T], items: Any) -> list[T]:
        """Returns the results of `run` for consecutive slices of `items`.

        Args:
            run: Takes a slice; called again with a part of it if memory ran out.
            items: Anything with a length that can be sliced.

        Raises:
            DeviceError: The memory does not suffice for a single item.
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
            # not in the except block: the exception keeps tensors alive that fill the memory
            self._halve(min(self.size, len(items) - at))
        return results

    def _halve(self, tried: int) -> None:
        import torch

        if tried == 1:
            raise DeviceError(
                f"The GPU's memory is too small for even one of the {self._what}.",
                f"{self._smaller}Free GPU memory (nvidia-smi lists what uses it), start fewer "
                "`jobs`, or use `device` cpu.",
            )
        self.size = tried // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def gpu_memory_exhausted(error: BaseException) -> bool:
    """Returns True if PyTorch reports this, from its own allocator, cuBLAS or cuDNN."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("ALLOC_FAILED", "CUDA error: out of memory"))
    )


def _set_opencv_threads() -> None:
    """Limits OpenCV to one thread: it processes small images here, where more are a burden."""
    require_opencv()
    import cv2

    cv2.setNumThreads(1)


def _cuda(wanted: str) -> str:
    """Checks a CUDA device and returns its full name, cuda:N."""
    count = n_gpus()
    index = int(wanted.removeprefix("cuda").removeprefix(":") or 0)
    if index < count:
        return f"cuda:{index}"
    if count:
        raise DeviceError(
            f"The device cuda:{index} does not exist; this machine has {count} CUDA device(s).",
            f"Use `device` cuda:0 to cuda:{count - 1}, or `device` auto.",
        )
    import torch

    build = "this PyTorch is a CPU build" if torch.version.cuda is None else "no GPU is visible"
    raise DeviceError(
        f"CUDA is not available: {build}.",
        "Use `device` cpu, or run `jadfer doctor` to see what is missing.",
    )


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory, for PyTorch on a CPU; does nothing with other C libraries.

    By default glibc returns blocks of many megabytes to the kernel after every operation and
    obtains them again page by page. That costs 5 to 25 % of a training step, and scoring drops
    from 186 to 127 faces per second (fp32, virtual machine with two cores).
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
