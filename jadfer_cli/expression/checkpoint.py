"""Trained weights: find, verify, read and write checkpoints.

A checkpoint is one safetensors file (tensors only, never pickle). Its header holds the
network's architecture and config, the label order, the temperature, the metrics, the terms and a
digest, so that the file alone rebuilds the network and shows damage; `header` checks it.
`weights/registry.json` lists the shipped ones with their sha256.
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

from jadfer_cli.common import atomic_write, file_sha256, weights_folder
from jadfer_cli.errors import ModelError, OutputError
from jadfer_cli.expression import build, header, networks
from jadfer_cli.expression.scores import Calibration, read_scores
from jadfer_cli.labels import LABELS

if TYPE_CHECKING:
    import torch

    from jadfer_cli.expression.networks.base import Network, NetworkConfig

SUFFIX = ".safetensors"
_MAX_BYTES = 2 << 30  # far above any network of jadfer
_ENTRY_KEYS = ("sha256", "preview", "summary", "terms", "card")  # of the registry
_REINSTALL = "Install jadfer again: pip install --force-reinstall jadfer-cli"
_OTHER_FILE = f"Give a {SUFFIX} file written by jadfer."
_DAMAGED = "The file is damaged, or was written by another version of jadfer."
_STATE_DICTS = (".pt", ".pth", ".bin", ".ckpt")


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
        earlier_sha256: Hashes of earlier files with the same tensors.
        alias: A shorter name that `--model` takes as well; empty for none.
    """

    name: str
    path: Path
    sha256: str | None
    preview: bool = False
    summary: str = ""
    terms: str = ""
    card: str = ""
    earlier_sha256: tuple[str, ...] = ()
    alias: str = ""


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
        metrics: Figures, and under "training" how it was trained; see `lineage`.
        scores: How logits become scores, by definition; see `expression.scores`.
        data: Contents of the file.
        note: What the user should know about the file; usually empty.
    """

    entry: ModelEntry
    sha256: str
    architecture: str
    stored_config: dict[str, Any]
    labels: tuple[str, ...]
    temperature: float
    metrics: dict[str, Any] = field(repr=False)
    scores: dict[str, Calibration]
    data: bytes = field(repr=False)
    note: str = ""

    @property
    def crop_px(self) -> int:
        """Side of the crops that the network takes."""
        return int(self.stored_config["crop_px"])

    @property
    def config(self) -> NetworkConfig:
        """The network's config; imports PyTorch.

        Raises:
            ModelError: The stored values do not make a config of this architecture.
        """
        try:
            return build.config(self.architecture, self.stored_config)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"The config stored in {self.entry.path} does not fit the architecture "
                f"{self.architecture}: {error}.",
                _DAMAGED,
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
        try:
            return build.network(self.config, self.state)
        except ValueError as error:
            raise ModelError(
                f"The weights in {self.entry.path} do not fit their own config: {error}.", _DAMAGED
            ) from error


def weights_dir() -> Path:
    """Folder of the shipped weights: in the installed package, or beside it in a checkout."""
    return weights_folder()


def registry() -> dict[str, ModelEntry]:
    """The shipped models by name, the default first.

    Raises:
        ModelError: The registry is missing or unreadable; the installation is broken.
    """
    path = weights_dir() / "registry.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        models = sorted(table["models"].items(), key=lambda item: item[0] != table["default"])
        if not models:
            raise ValueError("it lists no models")
        return {
            name: ModelEntry(
                name=name,
                path=path.parent / entry["file"],
                earlier_sha256=tuple(entry.get("earlier_sha256", ())),
                alias=entry.get("alias", ""),
                **{key: entry[key] for key in _ENTRY_KEYS},
            )
            for name, entry in models
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error if isinstance(error, OSError | ValueError) else "it is damaged"
        raise ModelError(
            f"The registry of weights, {path}, cannot be read ({reason}).", _REINSTALL
        ) from error


def find(model: str) -> ModelEntry:
    """Resolves `--model`: "default", a registered name or alias, or the path of a file.

    Raises:
        ModelError: No such name and no such file.
    """
    shipped = registry()
    if model == "default":
        return next(iter(shipped.values()))
    names = {entry.alias: entry for entry in shipped.values() if entry.alias} | shipped
    if model in names:
        return names[model]
    path = Path(model)
    if path.suffix != SUFFIX and path.is_file():
        hint = _known(shipped)
        if path.suffix in _STATE_DICTS:
            hint = f"A PyTorch file can only be a start of training. {hint}"
        raise ModelError(f"{model} is not a file of weights: those end in {SUFFIX}.", hint)
    if path.suffix == SUFFIX or os.sep in model:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise ModelError(f"The weights file {model} {problem}.", _known(shipped))
        # every training run writes model.safetensors; the folder's name tells them apart
        name = path.resolve().parent.name if path.stem == "model" else path.stem
        return ModelEntry(name or path.stem, path, None, summary="a file of the user's own")
    raise ModelError(f"There is no model named {model}.", _known(shipped))


def _known(shipped: Mapping[str, ModelEntry]) -> str:
    names = (f"{e.name} ({e.alias})" if e.alias else e.name for e in shipped.values())
    return f"Available models: {', '.join(names)}; or give the path of a .safetensors file."


def load(model: str = "default") -> Checkpoint:
    """Reads and verifies a checkpoint.

    Args:
        model: As for `find`.

    Raises:
        ModelError: It is missing, its sha256 differs from the registry's, or it is not a
            checkpoint of jadfer.
    """
    entry = find(model)
    data = _read(entry.path)
    sha256 = hashlib.sha256(data).hexdigest()
    if entry.sha256 not in (None, sha256):
        raise ModelError(
            f"The weights {entry.path} are damaged: sha256 is {sha256}, expected {entry.sha256}.",
            _REINSTALL,
        )
    try:
        found = header.read(data)
    except header.DamagedCheckpoint as error:
        raise ModelError(
            f"The weights {entry.path} {error}.", "Copy the file again, or train the model again."
        ) from error
    except header.InvalidCheckpoint as error:
        raise ModelError(
            f"{entry.path} is not a jadfer checkpoint ({error}).", _OTHER_FILE
        ) from error
    if found.architecture not in networks.names():
        raise ModelError(
            f"{entry.path} holds a network of an unknown architecture, {found.architecture!r}.",
            f"This version of jadfer has {', '.join(networks.names())}; a newer one may read it.",
        )
    note = "" if found.has_digest else _note_without_digest(sha256)
    if entry.sha256 is None:
        entry = dataclasses.replace(entry, terms=found.terms)
    scores = read_scores(found.temperature, found.scores)
    return Checkpoint(
        entry, sha256, found.architecture, found.config, found.labels, found.temperature,
        found.metrics, scores, data, note,
    )  # fmt: skip


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            problem = f"it has {size:,} bytes, more than any network of jadfer"
            raise ModelError(f"{path} is not a jadfer checkpoint: {problem}.", _OTHER_FILE)
        return path.read_bytes()
    except OSError as error:
        problem = f"The weights {path} cannot be read ({error.strerror})."
        raise ModelError(problem, _REINSTALL) from error


def _note_without_digest(sha256: str) -> str:
    for entry in registry().values():
        if sha256 in entry.earlier_sha256:
            return f"These are the weights {entry.name} as an earlier jadfer shipped them."
    return (
        "The file was written by jadfer 0.2 or by another program: it holds no digest, so damage "
        "to it cannot be detected."
    )


def shipped_metrics(sha256: str) -> dict[str, Any] | None:
    """Current figures of shipped weights, by the hash of their file or of an earlier one.

    Figures are measured again when the program around the weights changes.

    Returns:
        None if no shipped file has had this hash.

    Raises:
        ModelError: The shipped file is missing or damaged.
    """
    for entry in registry().values():
        if sha256 == entry.sha256 or sha256 in entry.earlier_sha256:
            return load(entry.name).metrics
    return None


def current_hashes() -> dict[str, str]:
    """The SHA-256 of each shipped file, by that of earlier files with the same tensors."""
    try:
        entries = registry().values()
    except ModelError:  # a broken installation, which can still read results
        return {}
    return {old: entry.sha256 for entry in entries if entry.sha256 for old in entry.earlier_sha256}


def save(
    path: Path,
    network: Network,
    *,
    labels: tuple[str, ...] = LABELS,
    temperature: float = 1.0,
    metrics: Mapping[str, Any] | None = None,
    terms: str = "",
    scores: Mapping[str, Calibration] | None = None,
) -> str:
    """Writes a checkpoint to a temporary file and renames it into place.

    Args:
        path: The file.
        network: The network.
        labels: K class names in the order of its logits.
        temperature: Divides the logits before the softmax.
        metrics: Figures, and under "training" how it was trained; JSON-ready.
        scores: Further definitions of scores, by name.
        terms: Licence and history, in words.

    Returns:
        The sha256 of the file.

    Raises:
        OutputError: It cannot be written.
        ModelError: `load` would refuse it, e.g. because of values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save as to_bytes
    from safetensors.torch import save_file

    contents = {
        "architecture": network.config.architecture,
        "config": dataclasses.asdict(network.config),
        "labels": list(labels),
        "temperature": temperature,
        "metrics": dict(metrics or {}),
        "terms": terms,
        "scores": {name: scale.as_table() for name, scale in (scores or {}).items()},
    }
    state = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
    text = header.text_with_digest(contents, header.tensors_of(to_bytes(state)))
    with atomic_write(path) as part:
        try:
            save_file(state, part, metadata={header.HEADER_KEY: text})
            header.read(part.read_bytes())
        except SafetensorError as error:  # raised when the disk is full
            raise OutputError(f"{path} cannot be written ({error}).") from error
        except (header.InvalidCheckpoint, header.DamagedCheckpoint) as error:
            raise ModelError(
                f"{path} was not written: it could not be loaded ({error})."
            ) from error
        part.chmod(0o644)  # safetensors makes it private; an installation serves all users
    return file_sha256(path)
