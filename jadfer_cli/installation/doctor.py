"""The checks of `jadfer doctor`: what this installation is made of, and whether it works.

Each check gives findings and never raises: what is broken is what the user came to hear.
The libraries are imported by name, one by one, so that one that fails does not hide the rest.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from jadfer_cli._version import __version__
from jadfer_cli.common import suppressed_output
from jadfer_cli.errors import JadferError
from jadfer_cli.runtime import usable_cores

OK, WARNING, PROBLEM = "ok", "warning", "problem"

# import name: the distributions that may bring it, the one that jadfer asks for first.
# torch comes before decord, or the two clash over shared libraries.
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
# What users meet: decoder names in FFmpeg. The native av1 decoder needs a GPU, libdav1d none.
_CODECS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1"),
}
_LOW_MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        group: The heading it stands under.
        name: What was checked.
        status: OK, WARNING or PROBLEM.
        detail: What was found.
        remedy: What to do about it; empty where nothing is to be done.
    """

    group: str
    name: str
    status: str
    detail: str
    remedy: str = ""


def examine(begin: Callable[[str], None] = lambda group: None) -> Iterator[Finding]:
    """All checks, in order.

    Args:
        begin: Called with the name of each group before its checks run.
    """
    groups: dict[str, Callable[[], Iterator[Finding]]] = {
        "System": _system,
        "Libraries": _libraries,
        "Devices": _devices,
        "Video decoders": _decoders,
        "Face detectors": _detectors,
        "Expression weights": _weights,
        "Self test": _self_test,
    }
    for group, check in groups.items():
        begin(group)
        try:
            with suppressed_output():
                findings = list(check())
        except Exception as error:  # a check that fails is a finding, too
            findings = [_from_error(group, error)]
        yield from findings


def _from_error(group: str, error: Exception) -> Finding:
    if isinstance(error, JadferError):
        return Finding(group, group.lower(), PROBLEM, error.message, error.hint or "")
    said = f"{type(error).__name__}: {error}"
    return Finding(
        group, group.lower(), PROBLEM, said, "See the lines above; if all is ok there, report it."
    )


def _system() -> Iterator[Finding]:
    group = "System"
    yield Finding(group, "jadfer", OK, f"{__version__}, in {Path(__file__).parents[1]}")
    python = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    yield Finding(group, "python", OK, python)
    yield Finding(group, "platform", OK, f"{platform.platform()}, {platform.machine()}")
    yield Finding(group, "cores", OK, f"{usable_cores()} usable of {os.cpu_count() or 1}")
    total, free = memory_bytes()
    if total is None:
        yield Finding(group, "memory", OK, "not known on this platform")
    else:
        low = free is not None and free < _LOW_MEMORY_BYTES
        told = f"{total / 2**30:.1f} GiB" + (f", {free / 2**30:.1f} GiB free" if free else "")
        remedy = "Close other programs, or use a smaller --batch-size." if low else ""
        yield Finding(group, "memory", WARNING if low else OK, told, remedy)
    yield _terminal()
    yield _writable("temporary folder", Path(tempfile.gettempdir()), "Set TMPDIR to another disk.")
    from jadfer_cli.faces.packs import packs_folder

    yield _writable("folder of packs", packs_folder(), "`jadfer models fetch` needs it; set HOME.")


def memory_bytes() -> tuple[int | None, int | None]:
    """Memory of this machine, or of its container, and how much is free; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = table["MemTotal"], table["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
        except (AttributeError, ValueError, OSError):
            return None, None
    with contextlib.suppress(OSError, ValueError):  # a container's own limit, "max" for none
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        total, free = min(total, limit), min(free, max(limit - used, 0))
    return total, free


def _terminal() -> Finding:
    where = "a terminal" if sys.__stdout__ and sys.__stdout__.isatty() else "a pipe or file"
    encoding = getattr(sys.__stdout__, "encoding", None) or "unknown"
    colour = ", NO_COLOR is set" if os.environ.get("NO_COLOR") else ""
    width = shutil.get_terminal_size().columns
    told = f"output goes to {where}, {width} columns, {encoding}{colour}"
    if encoding.lower().replace("-", "") == "utf8":
        return Finding("System", "terminal", OK, told)
    remedy = "File names with accents may look wrong; set PYTHONUTF8=1."
    return Finding("System", "terminal", WARNING, told, remedy)


def _writable(name: str, folder: Path, remedy: str) -> Finding:
    """Whether files can be made in a folder, or the folder itself where it is not there yet."""
    place = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        said = f"{folder} cannot be written ({error.strerror})"
        return Finding("System", name, WARNING, said, remedy)
    return Finding("System", name, OK, f"{folder}, {free / 1e9:.1f} GB free")


def _libraries() -> Iterator[Finding]:
    off = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"  # before insightface sets it, too late
    for module, distributions in _LIBRARIES.items():
        yield _library(module, distributions)
    told = (
        "of ONNX Runtime: off" if off else "of ONNX Runtime: on; since 1.29 it reports to Microsoft"
    )
    remedy = "" if off else "Set the environment variable ORT_DISABLE_TELEMETRY=1."
    yield Finding("Libraries", "telemetry", OK if off else WARNING, told, remedy)


def _library(module: str, distributions: tuple[str, ...]) -> Finding:
    present = {name: version for name in distributions if (version := _version(name))}
    label = next(iter(present), distributions[0])
    try:
        _import(module)
    except Exception as error:  # also OSError and worse: libraries load shared objects
        said = f"{next(iter(present.values()), 'not installed')}; import fails: {error}"
        return Finding("Libraries", label, PROBLEM, said, import_remedy(module, str(error)))
    told = ", ".join(f"{version}" for version in present.values()) or "version not recorded"
    if len(present) > 1 and module != "cv2":  # OpenCV's variants hold the same code
        names = " ".join(present)
        remedy = f"pip uninstall -y {names} && pip install {distributions[0]}"
        both = " and ".join(f"{name} {version}" for name, version in present.items())
        return Finding("Libraries", label, WARNING, f"{both} overwrite each other's files", remedy)
    return Finding("Libraries", label, OK, told)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import(module: str) -> ModuleType:
    return importlib.import_module(module)


def import_remedy(module: str, said: str) -> str:
    """What to do about an import that failed with the message `said`."""
    distribution = _LIBRARIES[module][0]
    if "libGL" in said or "libgthread" in said or "libglib" in said:  # OpenCV's, whoever asks
        return (
            "On Debian or Ubuntu: apt-get install libgl1 libglib2.0-0; "
            "or: pip uninstall -y opencv-python && pip install opencv-python-headless"
        )
    if "GLIBCXX" in said or "GLIBC_" in said:
        return "This system is too old for the wheel; use a newer one, or conda-forge's packages."
    if "numpy" in said.lower() and module != "numpy":
        return f"Built for another NumPy: pip install --force-reinstall numpy {distribution}"
    return f"pip install --force-reinstall {distribution}"


def _devices() -> Iterator[Finding]:
    group = "Devices"
    yield Finding(group, "cpu", OK, f"{platform.processor() or platform.machine()}")
    torch = _import("torch")
    available = torch.cuda.is_available()
    if available:
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            told = f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
            yield Finding(group, f"cuda:{i}", OK, told)
    else:
        yield _no_cuda(torch, driver=_has_driver())
    providers = _import("onnxruntime").get_available_providers()
    told = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    if available:
        told += "; on CUDA PyTorch runs both networks"
    yield Finding(group, "ONNX Runtime", OK, told)


def _has_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _no_cuda(torch: ModuleType, *, driver: bool) -> Finding:
    """Why there is no CUDA; only what can be helped is a warning."""
    if torch.version.cuda is None:
        said = "not available: this PyTorch is a CPU build"
        if not driver:
            return Finding("Devices", "cuda", OK, said + ", and no NVIDIA driver is here")
        remedy = "Install a CUDA build: see https://pytorch.org/get-started/locally"
        return Finding("Devices", "cuda", WARNING, said + ", yet an NVIDIA driver is here", remedy)
    if not driver:
        return Finding("Devices", "cuda", OK, "not available: no NVIDIA driver on this machine")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        said = "not available: CUDA_VISIBLE_DEVICES hides every card"
        return Finding("Devices", "cuda", WARNING, said, "Unset CUDA_VISIBLE_DEVICES.")
    try:
        torch.cuda.init()
        said = "no card answers"
    except Exception as error:  # torch's own words name the driver's version
        said = str(error).split(". ")[0]
    remedy = f"Update the NVIDIA driver; this PyTorch needs CUDA {torch.version.cuda}."
    return Finding("Devices", "cuda", WARNING, f"not available: {said}", remedy)


def _decoders() -> Iterator[Finding]:
    group = "Video decoders"
    _import("torch")
    told = f"{_version('decord2') or _version('decord')}, reads short clips"
    _import("decord")
    yield Finding(group, "decord", OK, told)
    av = _import("av")
    yield Finding(group, "PyAV", OK, f"{av.__version__}, reads the rest and checks every frame")
    missing = [
        name for name, decoders in _CODECS.items() if not av.codecs_available & set(decoders)
    ]
    if missing:
        said = f"PyAV cannot decode {', '.join(missing)}"
        remedy = "pip install --force-reinstall --only-binary av av"
        yield Finding(group, "codecs", WARNING, said, remedy)
    else:
        yield Finding(group, "codecs", OK, f"{', '.join(_CODECS)} can be decoded")


def _detectors() -> Iterator[Finding]:
    from jadfer_cli.faces.packs import packs_folder
    from jadfer_cli.installation import models as catalogue

    group, fetch = "Face detectors", "jadfer models fetch"
    packs = 0
    for item in catalogue.detectors():
        auto = ", used by --detector auto" if catalogue.AUTO in item.marks else ""
        if catalogue.FETCHABLE in item.marks:
            if (packs_folder() / item.name).exists():
                said = f"{packs_folder() / item.name} holds no detector: a broken download"
                yield Finding(group, item.name, WARNING, said, f"{fetch} {item.name} --overwrite")
            continue
        packs += item.kind == catalogue.PACK
        try:
            told = f"{catalogue.verify(item)}; {item.terms}{auto}"
            yield Finding(group, item.name, OK, told)
        except JadferError as error:
            # a broken pack is passed over by --detector auto; CenterFace must be there
            status = WARNING if item.kind == catalogue.PACK else PROBLEM
            remedy = error.hint or ""
            if item.kind == catalogue.PACK:
                remedy = f"{fetch} {item.name} --overwrite"
            yield Finding(group, item.name, status, error.message, remedy)
    if not packs:
        told = f"none installed; `{fetch} buffalo_sc` brings one (non-commercial research only)"
        yield Finding(group, "InsightFace packs", OK, told)


def _weights() -> Iterator[Finding]:
    from jadfer_cli.installation import models as catalogue

    for item in catalogue.weights():
        marks = f"{', '.join(item.marks)}; " if item.marks else ""
        try:
            told = f"{marks}{catalogue.verify(item)}"
            yield Finding("Expression weights", item.name, OK, told)
        except JadferError as error:
            yield Finding("Expression weights", item.name, PROBLEM, error.message, error.hint or "")


def _self_test() -> Iterator[Finding]:
    from jadfer_cli.installation import selftest

    yield from selftest.run()
