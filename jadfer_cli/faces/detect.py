"""Choose a face detector and load it.

Every detector is one entry of `DETECTORS`; its network lives in a file of its own beside this
one (`centerface.py`, `scrfd.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.common import file_sha256, require_opencv
from jadfer_cli.errors import ModelError
from jadfer_cli.faces import centerface, scrfd
from jadfer_cli.faces.detector import Detector, Network
from jadfer_cli.faces.packs import (
    INSIGHTFACE_TERMS,
    PACKS,
    find_detector,
    installed_packs,
    packs_folder,
)
from jadfer_cli.records import DetectorInfo

if TYPE_CHECKING:
    from jadfer_cli.options import FaceOptions


@dataclass(frozen=True)
class DetectorKind:
    """One kind of detector.

    Attributes:
        name: Recorded in the metadata. If `weights` is set, `--detector` takes it, too.
        title: Name in running text.
        terms: Licence of its weights, in words.
        citation: BibTeX entry of the publication.
        load: Loads the network from a file of weights, given the number of CPU threads.
        load_in_torch: Loads it onto a PyTorch device; the network then also takes tensors. None
            if the kind runs on the CPU only.
        weights: Finds the weights that were installed with jadfer, and raises ModelError if they
            are missing. None is for SCRFD, whose weights are an InsightFace pack or the user's
            file; any other kind needs it, because `--detector` selects it by its name.
    """

    name: str
    title: str
    terms: str
    citation: str
    load: Callable[[Path, int], Network]
    load_in_torch: Callable[[Path, str], Network] | None = None
    weights: Callable[[], Path] | None = None


def _centerface_in_torch(path: Path, device: str) -> Network:
    from jadfer_cli.faces.torch.networks import TorchCenterFace

    return TorchCenterFace(path, device)


def _scrfd_in_torch(path: Path, device: str) -> Network:
    from jadfer_cli.faces.torch.networks import TorchScrfd

    return TorchScrfd(path, device)


CENTERFACE = DetectorKind(
    name="centerface",
    title="CenterFace",
    terms=centerface.TERMS,
    citation=centerface.CITATION,
    load=centerface.CenterFaceNetwork,
    load_in_torch=_centerface_in_torch,
    weights=centerface.weights_path,
)
SCRFD = DetectorKind(
    name="scrfd",
    title="SCRFD",
    terms=INSIGHTFACE_TERMS,
    citation=scrfd.CITATION,
    load=scrfd.ScrfdNetwork,
    load_in_torch=_scrfd_in_torch,
)
DETECTORS = {kind.name: kind for kind in (CENTERFACE, SCRFD)}

_USER_FILE_TERMS = "not recorded: a file of the user's own"
_FETCH_HINT = "To get an InsightFace pack: `jadfer models fetch buffalo_sc`."


@dataclass(frozen=True)
class _Backend:
    """What runs a network: ONNX Runtime on CPU threads, or PyTorch on a device."""

    threads: int
    device: str
    in_torch: bool


@dataclass(frozen=True)
class _Weights:
    """A file of weights, and what is recorded about it."""

    kind: DetectorKind
    name: str
    path: Path
    terms: str


def load_detector(
    options: FaceOptions, threads: int, device: str = "cpu", *, in_torch: bool | None = None
) -> Detector:
    """Load the detector that `options.detector` names.

    Args:
        options: The detector's name, input size, score threshold and smallest face.
        threads: CPU threads of ONNX Runtime.
        device: "cpu", "cuda" or "cuda:N".
        in_torch: True to run the network in PyTorch, several frames per call; None does so on
            CUDA, where ONNX Runtime would need a build of its own. `info.provider` names the
            choice.

    Returns:
        The detector. For "auto" without a usable pack: CenterFace, with a hint in `info.hint`.

    Raises:
        ModelError: The detector is missing, damaged, or not a face detector with landmarks.
    """
    require_opencv()
    backend = _Backend(threads, device, device != "cpu" if in_torch is None else in_torch)
    if options.detector == "auto":
        return _load_auto(options, backend)
    return _load(find_weights(options.detector), options, backend)


def choices() -> str:
    """The values that `--detector` takes, as a sentence for hints."""
    embedded = [name for name, kind in DETECTORS.items() if kind.weights is not None]
    names = ", ".join(("auto", *embedded))
    return f"Choose {names}, the name of an installed pack, or the path of an SCRFD .onnx file."


def find_weights(wanted: str) -> _Weights:
    """Resolve a detector's name: an embedded detector, a pack, or the path of an SCRFD file.

    Raises:
        ModelError: There is no such detector.
    """
    kind = DETECTORS.get(wanted)
    if kind is not None and kind.weights is not None:
        return _Weights(kind, kind.name, kind.weights(), kind.terms)
    pack_path = find_detector(wanted)
    if pack_path is not None:
        return _Weights(SCRFD, wanted, pack_path, SCRFD.terms)
    if wanted in PACKS:
        raise ModelError(
            f"The InsightFace pack {wanted} is not installed in {packs_folder()}, or its folder "
            "contains no detector.",
            f"Run `jadfer models fetch {wanted}`, or use `detector` centerface.",
        )
    path = Path(wanted).expanduser()
    if path.suffix.lower() != ".onnx" and not path.exists():
        raise ModelError(f"There is no detector {wanted}.", choices())
    if not path.is_file():
        raise ModelError(f"The detector file {path} does not exist.", choices())
    return _Weights(SCRFD, path.name, path, _USER_FILE_TERMS)


def _load_auto(options: FaceOptions, backend: _Backend) -> Detector:
    """The first installed pack that loads, else CenterFace with a hint."""
    hint = f"No InsightFace pack is installed; using the embedded CenterFace. {_FETCH_HINT}"
    for pack in installed_packs():
        try:
            weights = _Weights(SCRFD, pack.name, pack.detector_path, SCRFD.terms)
            return _load(weights, options, backend)
        except ModelError as error:
            hint = f"{error.message} Using the embedded CenterFace. {_FETCH_HINT}"
    return _load(find_weights(CENTERFACE.name), options, backend, hint)


def _load(
    weights: _Weights, options: FaceOptions, backend: _Backend, hint: str | None = None
) -> Detector:
    """Load a network and wrap it.

    Raises:
        ModelError: The file cannot be loaded, or is not a detector of that kind.
    """
    kind, path = weights.kind, weights.path
    device = backend.device if backend.in_torch and kind.load_in_torch else None
    try:
        sha256 = file_sha256(path)
        if device and kind.load_in_torch:
            network = kind.load_in_torch(path, device)
        else:
            network = kind.load(path, backend.threads)
    except ModelError as error:
        raise ModelError(error.message, error.hint or choices()) from error
    except Exception as error:  # protobuf, onnx and ONNX Runtime each raise their own
        raise ModelError(
            f"The detector file {path} cannot be loaded; it is damaged or not an ONNX model.",
            choices(),
        ) from error
    info = DetectorInfo(
        name=weights.name,
        kind=kind.name,
        path=str(path),
        sha256=sha256,
        terms=weights.terms,
        provider=network.provider,
        hint=hint,
        title=kind.title,
        citation=kind.citation,
        input_px=network.fixed_size,
    )
    return Detector(
        info,
        network,
        options,
        network.fixed_size,
        prefers_batches=device is not None,
        device=device,
    )
