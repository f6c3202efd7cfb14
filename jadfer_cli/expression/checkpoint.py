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

from jadfer_cli.common import file_sha256, written_whole
from jadfer_cli.errors import ModelError, OutputError

if TYPE_CHECKING:
    import torch

    from jadfer_cli.expression.jadfer import Jadfer, JadferConfig

# The order of FER+'s vote columns, and of the probability columns of every result.
LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
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
        state: The tensors.
    """

    entry: ModelEntry
    sha256: str
    config: JadferConfig
    labels: tuple[str, ...]
    temperature: float
    metrics: dict[str, Any] = field(repr=False)
    state: dict[str, torch.Tensor] = field(repr=False)

    def build(self) -> Jadfer:
        """The network with these weights, in eval mode.

        Raises:
            ModelError: The tensors do not fit the config.
        """
        from jadfer_cli.expression.jadfer import Jadfer

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
        return ModelEntry(path.stem, path, None, summary="a file of the user's own")
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
    from safetensors import SafetensorError, safe_open

    from jadfer_cli.expression.jadfer import JadferConfig

    entry = find(model)
    try:
        digest = file_sha256(entry.path)
    except OSError as error:
        raise ModelError(
            f"The weights {entry.path} cannot be read ({error.strerror}).", _REINSTALL
        ) from error
    if entry.sha256 not in (None, digest):
        raise ModelError(
            f"The weights {entry.path} are damaged: sha256 is {digest}, expected {entry.sha256}.",
            _REINSTALL,
        )
    try:
        with safe_open(entry.path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER_KEY])
            state = {name: file.get_tensor(name) for name in file.keys()}
        sizes: dict[str, Any] = header["config"]  # JSON has no tuples
        kwargs: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()
        }
        config = JadferConfig(**kwargs)
        _check_intact(entry.path, header, state)
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
            "Give a .safetensors file written by jadfer, or leave --model out.",
        ) from error
    return Checkpoint(entry, digest, config, labels, temperature, metrics, state)


def _check_intact(path: Path, header: dict[str, Any], state: Mapping[str, torch.Tensor]) -> None:
    """Tells a damaged file of the user's own, which no registry knows.

    Raises:
        ModelError: It does not hash to what it says, or a value is not finite.
    """
    expected = header.pop(_DIGEST_KEY, None)  # files of jadfer 0.2 have none
    if expected is not None and expected != _digest(header, state):
        raise ModelError(
            f"The weights {path} are damaged: they are not what was written.",
            "Copy the file again, or train it anew.",
        )
    odd = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if odd:
        raise ModelError(
            f"The weights {path} hold values that are no numbers, in {odd[0]}.",
            "The file is damaged, or its training diverged.",
        )


def _digest(header: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of what a checkpoint holds."""
    import torch

    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].reshape(-1).view(torch.uint8).numpy().tobytes())
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
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {
        "config": dataclasses.asdict(network.config),
        "labels": list(labels),
        "temperature": temperature,
        "metrics": dict(metrics or {}),
    }
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    header[_DIGEST_KEY] = _digest(header, state)
    with written_whole(path) as part:
        try:
            save_file(state, part, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:  # how it says that the disk is full
            raise OutputError(f"{path} cannot be written ({error}).") from error
        part.chmod(0o644)  # safetensors writes for the owner alone; an installation is for all
    return file_sha256(path)
