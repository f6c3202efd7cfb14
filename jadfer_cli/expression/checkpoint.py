"""Trained weights: where they are, what they are, and that they are what they claim.

A checkpoint is one safetensors file (tensors only, never pickle). Its header holds the
network's config, the label order, the temperature and the metrics, so that the file alone
rebuilds the network. `weights/registry.json` names the shipped ones with their sha256.
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
from jadfer_cli.expression.networks.config import JadferConfig
from jadfer_cli.labels import LABELS as LABELS

if TYPE_CHECKING:
    import torch

    from jadfer_cli.expression.networks.jadfer import Jadfer

HEADER_KEY = "jadfer"
_DIGEST_KEY = "sha256"  # in the header: of all else


@dataclass(frozen=True)
class ModelEntry:
    """One line of the registry.

    Attributes:
        name: What `--model` takes.
        path: The safetensors file.
        sha256: What it must hash to; None for a file given by path.
        preview: True for a briefly trained stand-in.
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
    """Weights read into memory, verified.

    Attributes:
        entry: Where they came from.
        sha256: Of the file.
        config: Rebuilds the network.
        labels: K class names in the order of the logits.
        temperature: Divides the logits before the softmax (Guo et al. 2017).
        metrics: Figures measured when it was made.
        data: The file.
    """

    entry: ModelEntry
    sha256: str
    config: JadferConfig
    labels: tuple[str, ...]
    temperature: float
    metrics: dict[str, Any] = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The tensors by name, in the names' order; reading them loads PyTorch."""
        import safetensors.torch

        # safetensors gives them in another order in every process
        return dict(sorted(safetensors.torch.load(self.data).items()))

    def build(self) -> Jadfer:
        """The network with these weights, in eval mode.

        Raises:
            ModelError: The tensors do not fit the config.
        """
        from jadfer_cli.expression.networks.jadfer import Jadfer

        network = Jadfer(self.config)
        try:
            network.load_state_dict(self.state, strict=True)
        except RuntimeError as error:
            raise ModelError(
                f"The weights in {self.entry.path} do not fit their own config.",
                f"The file is damaged or of another version: {str(error).splitlines()[0]}",
            ) from error
        return network.eval()


def weights_dir() -> Path:
    """The folder of shipped weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def registry() -> dict[str, ModelEntry]:
    """The shipped models by name, the default first.

    Raises:
        ModelError: The registry is missing or unreadable: the installation is broken.
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
            "Install jadfer again: pip install --force-reinstall jadfer-cli",
        ) from error


_ENTRY_KEYS = ("sha256", "preview", "summary", "terms", "card")


def find(model: str) -> ModelEntry:
    """The entry that `--model` means: "default", a registered name, or a file's path.

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
        # every training leaves a model.safetensors: its run's folder tells it from others
        name = path.resolve().parent.name if path.stem == "model" else path.stem
        return ModelEntry(name or path.stem, path, None, summary="a file of the user's own")
    raise ModelError(f"There is no model named {model}.", _known(shipped))


def _known(shipped: Mapping[str, ModelEntry]) -> str:
    return f"Models here: {', '.join(shipped)}; or give the path of a .safetensors file."


def load(model: str = "default") -> Checkpoint:
    """Reads and verifies a checkpoint.

    Args:
        model: As for `find`.

    Raises:
        ModelError: It is missing, its sha256 differs from the registry's, or it is no
            JADFER checkpoint.
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
        sizes: dict[str, Any] = header["config"]  # JSON has no tuples
        kwargs: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()
        }
        config = JadferConfig(**kwargs)
        _check_intact(entry.path, header, tensors)
        labels, temperature = tuple(header["labels"]), float(header["temperature"])
        metrics = dict(header.get("metrics", {}))
        if len(labels) != config.n_classes or not temperature > 0:
            raise ValueError("labels or temperature do not fit the config")
        unknown = set(labels) - set(LABELS)
        if unknown:
            raise ValueError(f"labels {sorted(unknown)} are not among {LABELS}")
    except (SafetensorError, AttributeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{entry.path} is not a JADFER checkpoint ({error}).",
            "Give a .safetensors file written by jadfer.",
        ) from error
    return Checkpoint(entry, digest, config, labels, temperature, metrics, data)


def _check_intact(path: Path, header: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Tells a damaged file of the user's own, which no registry knows.

    Args:
        path: The file.
        header: What it says of itself; the digest is taken out.
        tensors: As safetensors reads them without PyTorch: name to dtype, shape and data.

    Raises:
        ModelError: It does not hash to what it says, or a value is not finite.
    """
    expected = header.pop(_DIGEST_KEY, None)  # files of jadfer 0.2 have none
    found = _digest(header, {name: bytes(tensor["data"]) for name, tensor in tensors.items()})
    if expected not in (None, found):
        raise ModelError(
            f"The weights {path} are damaged: they are not what was written.",
            "Copy the file again, or train it anew.",
        )
    odd = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if odd:
        raise ModelError(
            f"The weights {path} hold values that are no numbers, in {odd[0]}.",
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


_FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


def _digest(header: Mapping[str, Any], tensors: Mapping[str, bytes]) -> str:
    """SHA-256 of what a checkpoint holds."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()


_REINSTALL = "Install jadfer again: pip install --force-reinstall jadfer-cli"


def save(
    path: Path,
    network: Jadfer,
    *,
    labels: tuple[str, ...] = LABELS,
    temperature: float = 1.0,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Writes a checkpoint beside its name and renames it into place.

    Returns:
        The sha256 of the file.

    Raises:
        OutputError: It cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {
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
        except SafetensorError as error:  # how it says that the disk is full
            raise OutputError(f"{path} cannot be written ({error}).") from error
        part.chmod(0o644)  # safetensors writes for the owner alone; an installation is for all
    return file_sha256(path)
