"""Checks of what jadfer runs on: system, libraries, devices and video decoders.

A library is imported by name when it is checked, so that one that fails does not hide the rest.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from jadfer_cli._version import __version__
from jadfer_cli.installation.findings import OK, PROBLEM, WARNING, Finding
from jadfer_cli.runtime import usable_cores

# Import name: the distributions that provide it, starting with the one that jadfer requires.
# torch comes before decord, otherwise their shared libraries clash.
_LIBRARIES = {
    "torch": ("torch",),
    "decord": ("decord2", "decord"),
    "av": ("av",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "insightface": ("insightface",),
    "trackers": ("trackers",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "safetensors": ("safetensors",),
}
# Common codecs and their decoders in FFmpeg. Its native av1 decoder needs a GPU, libdav1d does not.
_CODECS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),
}
_LOW_MEMORY_BYTES = 2 << 30


def check_system() -> Iterator[Finding]:
    """Versions, cores, memory, terminal, and folders that must be writable."""
    group = "System"
    yield Finding(group, "jadfer", OK, f"{__version__}, in {Path(__file__).parents[1]}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding(group, "python", OK, f"{python}, {sys.executable}")
    yield Finding(group, "platform", OK, f"{platform.platform()}, {platform.machine()}")
    yield Finding(group, "cores", OK, f"{usable_cores()} usable of {os.cpu_count() or 1}")
    total, free = memory_bytes()
    if total is None:
        yield Finding(group, "memory", OK, "unknown on this platform")
    else:
        low = free is not None and free < _LOW_MEMORY_BYTES
        detail = f"{total / 2**30:.1f} GiB" + (f", {free / 2**30:.1f} GiB free" if free else "")
        remedy = "Close other programs, or use a smaller --batch-size." if low else ""
        yield Finding(group, "memory", WARNING if low else OK, detail, remedy)
    yield _terminal()
    temporary = Path(tempfile.gettempdir())
    yield check_folder("temporary folder", temporary, "Set TMPDIR to another disk.")
    from jadfer_cli.faces.packs import packs_folder

    remedy = "`jadfer models fetch` needs it; set HOME."
    yield check_folder("folder of packs", packs_folder(), remedy)


def memory_bytes() -> tuple[int | None, int | None]:
    """Total and free memory of this machine or its container, in bytes; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = table["MemTotal"], table["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
        except (AttributeError, ValueError, OSError):
            return None, None
    with contextlib.suppress(OSError, ValueError):  # limit of a container; "max" means none
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text("utf-8"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text("utf-8"))
        total, free = min(total, limit), min(free, max(limit - used, 0))
    return total, free


def _terminal() -> Finding:
    where = "a terminal" if sys.__stdout__ and sys.__stdout__.isatty() else "a pipe or file"
    encoding = getattr(sys.__stdout__, "encoding", None) or "unknown"
    colour = ", NO_COLOR is set" if os.environ.get("NO_COLOR") else ""
    width = shutil.get_terminal_size().columns
    detail = f"output goes to {where}, {width} columns, {encoding}{colour}"
    if encoding.lower().replace("-", "") == "utf8":
        return Finding("System", "terminal", OK, detail)
    remedy = "File names with accents may look wrong; set PYTHONUTF8=1."
    return Finding("System", "terminal", WARNING, detail, remedy)


def check_folder(name: str, folder: Path, remedy: str) -> Finding:
    """Whether a folder can be written to, or created.

    Args:
        name: What it is for.
        folder: The folder; it may be missing.
        remedy: What to do if it cannot be written to.
    """
    place = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        detail = f"{folder} cannot be written ({error.strerror})"
        return Finding("System", name, WARNING, detail, remedy)
    return Finding("System", name, OK, f"{folder}, {free / 1e9:.1f} GB free")


def check_libraries() -> Iterator[Finding]:
    """Whether each library can be imported, and whether ONNX Runtime reports usage."""
    # Read before insightface sets it, which is too late to have an effect.
    off = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"
    for module, distributions in _LIBRARIES.items():
        yield check_library(module, distributions)
    detail = "of ONNX Runtime: " + ("off" if off else "on; since 1.29 it reports to Microsoft")
    remedy = "" if off else "Set the environment variable ORT_DISABLE_TELEMETRY=1."
    yield Finding("Libraries", "telemetry", OK if off else WARNING, detail, remedy)


def check_library(module: str, distributions: tuple[str, ...]) -> Finding:
    """Whether a library can be imported, and is installed only once.

    Args:
        module: Its import name.
        distributions: The packages that provide it, starting with the one that jadfer requires.
    """
    present = {name: version for name in distributions if (version := installed_version(name))}
    label = next(iter(present), distributions[0])
    try:
        import_library(module)
    except Exception as error:  # not only ImportError: loading a shared object raises OSError
        detail = f"{next(iter(present.values()), 'not installed')}; import fails: {error}"
        return Finding("Libraries", label, PROBLEM, detail, import_remedy(module, str(error)))
    detail = ", ".join(f"{version}" for version in present.values()) or "version not recorded"
    if len(present) > 1 and module != "cv2":  # variants of OpenCV contain the same code
        names = " ".join(present)
        remedy = f"pip uninstall -y {names} && pip install {distributions[0]}"
        both = " and ".join(f"{name} {version}" for name, version in present.items())
        return Finding("Libraries", label, WARNING, f"{both} overwrite each other's files", remedy)
    return Finding("Libraries", label, OK, detail)


def installed_version(distribution: str) -> str | None:
    """The version of an installed package; None if it is missing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def import_library(module: str) -> ModuleType:
    """Imports a library; raises whatever it raises."""
    return importlib.import_module(module)


def import_remedy(module: str, message: str) -> str:
    """What to do about a failed import.

    Args:
        module: The import name of the library.
        message: What the import error says.
    """
    distribution = _LIBRARIES[module][0]
    # OpenCV needs these, but other libraries import OpenCV.
    if any(library in message for library in ("libGL", "libgthread", "libglib")):
        return (
            "On Debian or Ubuntu: apt-get install libgl1 libglib2.0-0; "
            "or: pip uninstall -y opencv-python && pip install opencv-python-headless"
        )
    if "GLIBCXX" in message or "GLIBC_" in message:
        return (
            "This system is too old for the package; use a newer one, or packages of conda-forge."
        )
    if "numpy" in message.lower() and module != "numpy":
        return f"Built for another NumPy: pip install --force-reinstall numpy {distribution}"
    return f"pip install --force-reinstall {distribution}"


def check_devices() -> Iterator[Finding]:
    """CPU, CUDA devices, and what ONNX Runtime can use."""
    group = "Devices"
    yield Finding(group, "cpu", OK, f"{platform.processor() or platform.machine()}")
    torch = import_library("torch")
    available = torch.cuda.is_available()
    if available:
        for i in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(i)
            detail = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
            yield Finding(group, f"cuda:{i}", OK, detail)
    else:
        yield explain_no_cuda(torch, driver=_has_driver())
    providers = import_library("onnxruntime").get_available_providers()
    detail = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    if available:
        detail += "; on CUDA, PyTorch runs both networks"
    yield Finding(group, "ONNX Runtime", OK, detail)


def _has_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def explain_no_cuda(torch: ModuleType, *, driver: bool) -> Finding:
    """Why CUDA is not available; a warning only if the user can do something about it.

    Args:
        torch: PyTorch.
        driver: Whether an NVIDIA driver is installed.
    """
    if torch.version.cuda is None:
        detail = "not available: this PyTorch is a CPU build"
        if not driver:
            return Finding("Devices", "cuda", OK, detail + ", and there is no NVIDIA driver")
        remedy = "Install a CUDA build: see https://pytorch.org/get-started/locally"
        detail += ", but there is an NVIDIA driver"
        return Finding("Devices", "cuda", WARNING, detail, remedy)
    if not driver:
        return Finding("Devices", "cuda", OK, "not available: no NVIDIA driver on this machine")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        detail = "not available: CUDA_VISIBLE_DEVICES hides every GPU"
        return Finding("Devices", "cuda", WARNING, detail, "Unset CUDA_VISIBLE_DEVICES.")
    try:
        torch.cuda.init()
        reason = "no GPU responds"
    except Exception as error:  # its message contains the version of the driver
        reason = str(error).split(". ")[0]
    remedy = f"Update the NVIDIA driver; this PyTorch needs CUDA {torch.version.cuda}."
    return Finding("Devices", "cuda", WARNING, f"not available: {reason}", remedy)


def check_decoders() -> Iterator[Finding]:
    """Decoder libraries, and common codecs that they lack."""
    group = "Video decoders"
    import_library("torch")
    detail = f"{installed_version('decord2') or installed_version('decord')}, reads short clips"
    import_library("decord")
    yield Finding(group, "decord", OK, detail)
    av = import_library("av")
    yield Finding(group, "PyAV", OK, f"{av.__version__}, reads all others and checks every frame")
    missing = [
        name for name, decoders in _CODECS.items() if not av.codecs_available & set(decoders)
    ]
    if missing:
        detail = f"PyAV cannot decode {', '.join(missing)}"
        remedy = "pip install --force-reinstall --only-binary av av"
        yield Finding(group, "codecs", WARNING, detail, remedy)
    else:
        yield Finding(group, "codecs", OK, f"{', '.join(_CODECS)} can be decoded")
