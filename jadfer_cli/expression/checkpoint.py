"""Trained weights: find, verify, read and write checkpoints.

A checkpoint is one safetensors file (tensors only, never pickle). Its header holds the
network's architecture and config, the label order, the temperature and the metrics, so that
the file alone rebuilds the network. `weights/registry.json` lists the shipped ones with their
sha256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.common import atomic_write, file_sha256
from jadfer_cli.errors import ModelError, OutputError
from jadfer_cli.expression import networks
from jadfer_cli.labels import LABELS

if TYPE_CHECKING:
    import torch

    from jadfer_cli.expression.networks.base import Network, NetworkConfig

HEADER_KEY = "jadfer"
_DIGEST_KEY = "sha256"  # in the header: of everything else in the file
_FIRST_ARCHITECTURE = "jadfer"  # of files written before the header named one
_MIN_CROP_PX = 32
_ENTRY_KEYS = ("sha256", "preview", "summary", "terms", "card")  # of the registry
_REINSTALL = "Install jadfer again: pip install --force-reinstall jadfer-cli"
_FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


@dataclass(frozen=True)
class ModelEntry:
    """One model of the registry, or a file given by its path.

    Attributes:
        name: The name that `--model` takes.
        path: The safetensors file.
        sha256: Expected hash of the file; None for a file given by path.
        preview: True for a briefly trained placeholder.
        summary: One sentence about it.
        terms: Licence and history, in words.
        card: File name of its model card in weights/.
    """

    name: str
    path: Path
    sha256: str | None
    preview: bool = False
    summary: str = ""
    terms: str = ""
    card: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory.

    Attributes:
        entry: Its registry entry, or the file given by path.
        sha256: Hash of the file.
        architecture: A name of `expression.networks`.
        stored_config: The network's config as the header stores it; `config` gives it typed.
        labels: K class names in the order of the logits.
        temperature: Divides the logits before the softmax (Guo et al. 2017).
        metrics: Figures measured when it was written.
        data: Contents of the file.
    """

    entry: ModelEntry
    sha256: str
    architecture: str
    stored_config: dict[str, Any]
    labels: tuple[str, ...]
    temperature: float
    metrics: dict[str, Any] = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def crop_px(self) -> int:
        """Side of the crops that the network takes."""
        side: int = self.stored_config["crop_px"]
        return side

    @property
    def config(self) -> NetworkConfig:
        """The network's config; imports PyTorch.

        Raises:
            ModelError: The stored values do not make a config of this architecture.
        """
        kind = networks.load(self.architecture)
        try:
            return kind.config(**{**kind.earlier, **self.stored_config})
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"The config stored in {self.entry.path} does not fit the architecture "
                f"{self.architecture}: {error}.",
                "The file is damaged, or was written by another version of jadfer.",
            ) from error

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The tensors by name, sorted by name; imports PyTorch."""
        import safetensors.torch

        # sorted: safetensors returns them in a different order in every process
        return dict(sorted(safetensors.torch.load(self.data).items()))

    def build(self) -> Network:
        """The network with these weights, in eval mode.

        Raises:
            ModelError: The tensors do not fit the config.
        """
        network = networks.load(self.architecture).build(self.config)
        try:
            network.load_state_dict(self.state, strict=True)
        except RuntimeError as error:
            raise ModelError(
                f"The weights in {self.entry.path} do not fit their own config.",
                "The file is damaged, or was written by another version of jadfer: "
                f"{str(error).splitlines()[0]}",
            ) from error
        return network.eval()


def weights_dir() -> Path:
    """Folder of the shipped weights: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def registry() -> dict[str, ModelEntry]:
    """The shipped models by name, the default first.

    Raises:
        ModelError: The registry is missing or unreadable; the installation is broken.
    """
    path = weights_dir() / "registry.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(table["models"], key=lambda name: name != table["default"])
        return {
            name: ModelEntry(
                name=name,
                path=path.parent / table["models"][name]["file"],
                **{key: table["models"][name][key] for key in _ENTRY_KEYS},
            )
            for name in names
        }
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The registry of weights, {path}, cannot be read ({error}).",
            _REINSTALL,
        ) from error


def find(model: str) -> ModelEntry:
    """Resolves `--model`: "default", a registered name, or the path of a file.

    Raises:
        ModelError: No such name and no such file.
    """
    shipped = registry()
    if model == "default":
        return next(iter(shipped.values()))
    if model in shipped:
        return shipped[model]
    path = Path(model)
    if path.suffix == ".safetensors" or os.sep in model:
        if not path.is_file():
            raise ModelError(f"There is no weights file {model}.", _known(shipped))
        # every training run writes model.safetensors; the folder's name tells them apart
        name = path.resolve().parent.name if path.stem == "model" else path.stem
        return ModelEntry(name or path.stem, path, None, summary="a file of the user's own")
    raise ModelError(f"There is no model named {model}.", _known(shipped))


def _known(shipped: Mapping[str, ModelEntry]) -> str:
    return f"Available models: {', '.join(shipped)}; or give the path of a .safetensors file."


def load(model: str = "default") -> Checkpoint:
    """Reads and verifies a checkpoint.

    Args:
        model: As for `find`.

    Raises:
        ModelError: It is missing, its sha256 differs from the registry's, or it is not a
            checkpoint of jadfer.
    """
    from safetensors import SafetensorError, deserialize

    entry = find(model)
    try:
        data = entry.path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The weights {entry.path} cannot be read ({error.strerror}).", _REINSTALL
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if entry.sha256 not in (None, digest):
        raise ModelError(
            f"The weights {entry.path} are damaged: sha256 is {digest}, expected {entry.sha256}.",
            _REINSTALL,
        )
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
        n_header = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + n_header])["__metadata__"][HEADER_KEY])
        _check_intact(entry.path, header, tensors)
        labels, temperature = tuple(header["labels"]), float(header["temperature"])
        config = _checked_config(header["config"], labels)
        metrics = dict(header.get("metrics", {}))
        if not temperature > 0:
            raise ValueError("the temperature is not positive")
    except (SafetensorError, AttributeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{entry.path} is not a jadfer checkpoint ({error}).",
            "Give a .safetensors file written by jadfer.",
        ) from error
    architecture = header.get("architecture", _FIRST_ARCHITECTURE)
    if architecture not in networks.names():
        raise ModelError(
            f"{entry.path} holds a network of an unknown architecture, {architecture!r}.",
            f"This version of jadfer has {', '.join(networks.names())}; a newer one may read it.",
        )
    return Checkpoint(entry, digest, architecture, config, labels, temperature, metrics, data)


def _checked_config(stored: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    """The config as its class takes it, with the checks that need no PyTorch.

    Raises:
        ValueError: It contradicts the labels, or has no usable crop size.
    """
    # JSON has no tuples
    config = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
    if config["n_classes"] != len(labels):
        raise ValueError(f"{len(labels)} labels for {config['n_classes']} classes")
    unknown = set(labels) - set(LABELS)
    if unknown:
        raise ValueError(f"labels {sorted(unknown)} are not among {LABELS}")
    if not isinstance(config["crop_px"], int) or config["crop_px"] < _MIN_CROP_PX:
        raise ValueError(f"crop_px is {config['crop_px']!r}")
    return config


def _check_intact(path: Path, header: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Detects damage in a file that no registry knows.

    Args:
        path: The file.
        header: Its header; the digest is removed from it.
        tensors: As safetensors reads them without PyTorch: name to dtype, shape and data.

    Raises:
        ModelError: The contents do not match the digest, or a value is not finite.
    """
    expected = header.pop(_DIGEST_KEY, None)  # missing from files of jadfer 0.2
    found = _digest(header, {name: bytes(tensor["data"]) for name, tensor in tensors.items()})
    if expected not in (None, found):
        raise ModelError(
            f"The weights {path} are damaged: they differ from what was written.",
            "Copy the file again, or train the model again.",
        )
    odd = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if odd:
        raise ModelError(
            f"The weights {path} contain values that are not finite, in {odd[0]}.",
            "The file is damaged, or its training diverged.",
        )


def _is_finite(tensor: Mapping[str, Any]) -> bool:
    kind, data = tensor["dtype"], bytes(tensor["data"])
    if kind == "BF16":  # the upper half of a float32
        values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif kind in _FLOATS:
        values = np.frombuffer(data, _FLOATS[kind])
    else:
        return True
    return bool(np.isfinite(values).all())


def _digest(header: Mapping[str, Any], tensors: Mapping[str, bytes]) -> str:
    """SHA-256 of a checkpoint's header and tensors."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def save(
    path: Path,
    network: Network,
    *,
    labels: tuple[str, ...] = LABELS,
    temperature: float = 1.0,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Writes a checkpoint to a temporary file and renames it into place.

    Returns:
        The sha256 of the file.

    Raises:
        OutputError: It cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {
        "architecture": network.config.architecture,
        "config": dataclasses.asdict(network.config),
        "labels": list(labels),
        "temperature": temperature,
        "metrics": dict(metrics or {}),
    }
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    header[_DIGEST_KEY] = _digest(
        header,
        {name: t.reshape(-1).view(torch.uint8).numpy().tobytes() for name, t in state.items()},
    )
    with atomic_write(path) as part:
        try:
            save_file(state, part, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:  # raised when the disk is full
            raise OutputError(f"{path} cannot be written ({error}).") from error
        part.chmod(0o644)  # safetensors makes it private; an installation serves all users
    return file_sha256(path)
