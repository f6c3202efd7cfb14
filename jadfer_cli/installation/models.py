"""All networks on this machine: shipped weights, detectors, InsightFace packs, the landmarker.

For `jadfer models` and `jadfer doctor`; the pipeline does not use it. Importing this module
imports neither PyTorch nor ONNX Runtime.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError
from jadfer_cli.expression import checkpoint, lineage, networks
from jadfer_cli.faces.detect import CENTERFACE, DETECTORS, DetectorKind
from jadfer_cli.faces.landmarker import MODEL_NAME, MODEL_SHA256, TERMS, Landmarker
from jadfer_cli.faces.landmarker import find_model as find_landmarker
from jadfer_cli.faces.packs import INSIGHTFACE_TERMS, PACKS, installed_packs, packs_folder
from jadfer_cli.installation.fetch import KNOWN_ZIPS
from jadfer_cli.installation.unpack import check_files, read_manifest
from jadfer_cli.options import FaceOptions

WEIGHTS, PACK, LANDMARKER = "weights", "pack", "landmarker"
DEFAULT, PREVIEW, EMBEDDED = "default", "preview", "embedded"
INSTALLED, FETCHABLE, MISSING, AUTO = "installed", "can be fetched", "missing", "used by auto"


@dataclass(frozen=True)
class Item:
    """A network that is on this machine, or can be fetched.

    Attributes:
        name: The name that `--model` or `--detector` takes.
        kind: WEIGHTS, PACK, or the name of an embedded detector, e.g. "centerface".
        marks: Its states, such as DEFAULT or INSTALLED.
        path: Its file; None if it is not installed.
        sha256: Expected hash of the file; None if no hash is recorded.
        summary: One sentence.
        terms: Licence and history, in words.
        card: Its model card, if there is one.
    """

    name: str
    kind: str
    marks: tuple[str, ...]
    path: Path | None
    sha256: str | None
    summary: str
    terms: str
    card: Path | None = None


def weights() -> list[Item]:
    """The shipped weights, the default first.

    Raises:
        ModelError: The registry cannot be read.
    """
    entries = list(checkpoint.registry().values())
    return [_weights(entry, default=entry is entries[0]) for entry in entries]


def _weights(entry: checkpoint.ModelEntry, *, default: bool) -> Item:
    missing = not entry.path.is_file()
    states = (
        (DEFAULT, default),
        (entry.alias, bool(entry.alias)),
        (PREVIEW, entry.preview),
        (MISSING, missing),
    )
    return Item(
        name=entry.name,
        kind=WEIGHTS,
        marks=tuple(mark for mark, holds in states if holds),
        path=entry.path,
        sha256=entry.sha256,
        summary=entry.summary,
        terms=entry.terms or lineage.NOT_RECORDED,
        card=entry.path.parent / entry.card if entry.card else None,
    )


def detectors() -> list[Item]:
    """The embedded detectors, the installed packs, and the packs that can be fetched."""
    installed = {pack.name: pack.detector_path for pack in installed_packs()}
    preferred = next(iter(installed), None)
    items = [
        _embedded(kind, auto=preferred is None and kind is CENTERFACE)
        for kind in DETECTORS.values()
        if kind.weights is not None
    ]
    for name in [*installed, *(name for name in PACKS if name not in installed)]:
        items.append(_pack(name, installed.get(name), auto=name == preferred))
    return items


def _embedded(kind: DetectorKind, *, auto: bool) -> Item:
    try:
        path = kind.weights() if kind.weights else None
    except ModelError:
        path = None
    states = ((EMBEDDED, path is not None), (MISSING, path is None), (AUTO, auto))
    return Item(
        name=kind.name,
        kind=kind.name,
        marks=tuple(mark for mark, holds in states if holds),
        path=path,
        sha256=None if path is None else _sha256_by_pip(path),
        summary=f"{kind.title}, installed with jadfer",
        terms=kind.terms,
    )


def _sha256_by_pip(path: Path) -> str | None:
    """The hash that pip recorded when it installed the package of a file (PEP 376, RECORD)."""
    try:
        files = importlib.metadata.files(path.parent.name) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == path.name and file.hash and file.hash.mode == "sha256":
            return base64.urlsafe_b64decode(file.hash.value + "=").hex()
    return None


def _pack(name: str, path: Path | None, *, auto: bool) -> Item:
    manifest = read_manifest(name)
    recorded = None
    if path is not None and manifest is not None:
        recorded = manifest["files"].get(path.relative_to(packs_folder() / name).as_posix())
    detector = PACKS[name].detector if name in PACKS else "a pack of the user's own"
    states = ((INSTALLED, path is not None), (FETCHABLE, path is None), (AUTO, auto))
    return Item(
        name=name,
        kind=PACK,
        marks=tuple(mark for mark, holds in states if holds),
        path=path,
        sha256=recorded,
        summary=f"InsightFace pack ({detector})",
        terms=INSIGHTFACE_TERMS,
    )


def landmarker() -> Item:
    """The face landmarker, installed or not."""
    try:
        path = find_landmarker()
    except ModelError:
        path = None
    return Item(
        name=MODEL_NAME,
        kind=LANDMARKER,
        marks=(FETCHABLE if path is None else INSTALLED,),
        path=path,
        sha256=MODEL_SHA256,
        summary="MediaPipe's 478 landmarks and 52 blendshapes, for actions",
        terms=TERMS,
    )


def find(name: str) -> Item:
    """The network of that name, or in that .safetensors file.

    Raises:
        ModelError: There is none; the hint lists the names.
    """
    known = {item.name: item for item in [*detectors(), landmarker()]}
    if name in known:
        return known[name]
    shipped = weights()
    for item in shipped:
        if name == item.name or (name == DEFAULT and DEFAULT in item.marks):
            return item
    try:
        return _weights(checkpoint.find(name), default=False)
    except ModelError as error:
        names = ", ".join(item.name for item in [*shipped, *known.values()])
        raise ModelError(
            error.message, f"Known names: {names}; or give the path of a .safetensors file."
        ) from error


def verify(item: Item) -> str:
    """Reads the files of a network, compares their sha256, and loads it.

    Returns:
        The kind of network and the sha256, in words.

    Raises:
        ModelError: It is missing, damaged, or does not load.
    """
    if item.kind == WEIGHTS:
        loaded = checkpoint.load(item.name if item.sha256 else str(item.path))
        loaded.build()
        # the file's own digest shows damage as well, but not which file it should be
        compared = "as in the registry" if item.sha256 else loaded.note or "undamaged"
        history = lineage.text(item.name, loaded.sha256, loaded.metrics)
        return (
            f"{_architecture(loaded)} loads; sha256 {loaded.sha256} ({compared.rstrip('.')}); "
            f"{history}"
        )
    if item.kind == LANDMARKER:
        loaded_from = Landmarker()
        if loaded_from.sha256 != item.sha256:
            raise ModelError(
                f"{loaded_from.path} is not Google's file: sha256 is {loaded_from.sha256}, "
                f"expected {item.sha256}.",
                f"Run: jadfer models fetch {item.name} --overwrite",
            )
        return f"the face landmarker loads; sha256 {loaded_from.sha256} (as published)"
    if item.kind == PACK:
        if item.path is None:
            raise ModelError(
                f"The pack {item.name} is not installed, or its folder in {packs_folder()} "
                "contains no detector.",
                f"Run: jadfer models fetch {item.name}",
            )
        if problems := check_files(item.name):
            raise ModelError(
                " ".join(problems), f"Run: jadfer models fetch {item.name} --overwrite"
            )
    from jadfer_cli.faces.detect import load_detector

    info = load_detector(FaceOptions(detector=item.name), threads=1).info
    if item.sha256 not in (None, info.sha256):
        raise ModelError(
            f"{info.path} is damaged: sha256 is {info.sha256}, expected {item.sha256}.",
            f"Install it again: pip install --force-reinstall {Path(info.path).parent.name}",
        )
    compared = "as installed" if item.sha256 else "no hash to compare it with"
    return f"{info.title} loads; sha256 {info.sha256} ({compared})"


def _architecture(loaded: checkpoint.Checkpoint) -> str:
    """The title of the network that a checkpoint names."""
    return networks.facts(loaded.architecture)["title"]


def describe(item: Item) -> dict[str, Any]:
    """Everything about one network, JSON-ready. Weights are read and verified for it.

    Raises:
        ModelError: The file is missing or damaged.
    """
    facts: dict[str, Any] = {
        "name": item.name,
        "kind": item.kind,
        "marks": list(item.marks),
        "summary": item.summary,
        "terms": item.terms,
        "path": None if item.path is None else str(item.path),
    }
    if item.path is not None and item.kind != WEIGHTS:
        facts |= {"size_bytes": item.path.stat().st_size, "sha256": file_sha256(item.path)}
    if item.kind == WEIGHTS:
        loaded = checkpoint.load(item.name if item.sha256 else str(item.path))
        network = loaded.build()
        facts |= {
            "size_bytes": loaded.entry.path.stat().st_size,
            "sha256": loaded.sha256,
            "sha256_registered": item.sha256,
            "card": None if item.card is None else str(item.card),
            "labels": list(loaded.labels),
            "temperature": loaded.temperature,
            "calibrated_on": lineage.calibrated_on(loaded.metrics) or None,
            "scores": {name: scale.as_table() for name, scale in loaded.scores.items()},
            "votes_fitted_on": lineage.votes_fitted_on(loaded.metrics) or None,
            "history": lineage.text(item.name, loaded.sha256, loaded.metrics),
            "note": loaded.note or None,
            "terms": loaded.entry.terms or item.terms,
            "architecture": loaded.architecture,
            "network": networks.facts(loaded.architecture),
            "parameters": sum(p.numel() for p in network.parameters()),
            "config": dataclasses.asdict(network.config),
            "metrics": loaded.metrics,
        }
    if item.kind == PACK:
        known = KNOWN_ZIPS.get(item.name)
        facts |= {
            "folder": str(packs_folder() / item.name),
            "url": PACKS[item.name].url if item.name in PACKS else None,
            "zip_bytes": known.size_bytes if known else None,
            "zip_sha256": known.sha256 if known else None,
            "fetched": read_manifest(item.name),
        }
    return facts
