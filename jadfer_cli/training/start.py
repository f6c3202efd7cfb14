"""Start weights of a training: none, those of a stem, or those of a whole network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.expression import checkpoint, lineage, networks
from jadfer_cli.expression.networks.base import Network, NetworkConfig
from jadfer_cli.expression.networks.stems import mobilefacenet_from_public
from jadfer_cli.labels import LABELS
from jadfer_cli.training import tensor_file

SCRATCH = "scratch"
_STEM = "stem."  # prefix of a stem's tensors in a network's state dict
# Changing it only resizes positions; taken from the start weights unless the recipe sets it.
_RESIZABLE = "crop_px"


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Attributes:
        name: As given by the user, for records.
        config: Of the whole network; None for a bare state dict, a stem, or no weights.
        temperature: Calibrated temperature of the whole network.
        whole: State dict of a whole network, or empty.
        stem: State dict of a stem, or empty.
        origin: What a trained model records about these weights; empty from scratch.
        partial: Whether tensors of `whole` that do not fit the network are left out.
    """

    name: str = SCRATCH
    config: NetworkConfig | None = None
    temperature: float = 1.0
    whole: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    stem: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    origin: Mapping[str, Any] = field(default_factory=dict, repr=False)
    partial: bool = False

    def stem_only(self) -> Start:
        """The same with nothing but the stem, so that recipes of any network start alike."""
        if not self.whole:
            return self
        origin = {**self.origin, "part": "stem"} if self.origin else {}
        return Start(self.name, stem=_stem_of(self.whole), origin=origin)

    @property
    def whole_network(self) -> bool:
        """Whether training continues from all weights of a network."""
        return bool(self.whole) and not self.partial

    def settle(self, wanted: NetworkConfig, named: Iterable[str] = ()) -> NetworkConfig:
        """The config to train: that of the start's network, with the wanted regularisation.

        Args:
            wanted: The config of the options.
            named: Fields that the user set; they must not be ignored silently.

        Raises:
            OptionError: One of them contradicts the start's network.
        """
        if self.config is None:
            return wanted
        named = set(named)
        tunable = networks.load(self.config.architecture).tunable
        for name in named - {*tunable, _RESIZABLE}:
            if getattr(wanted, name) != getattr(self.config, name):
                raise OptionError(
                    f"network.{name} is {getattr(self.config, name)} in the start weights "
                    f"{self.name}, not {getattr(wanted, name)}.",
                    "Leave it out, or start from scratch or from a stem.",
                )
        taken = (*tunable, _RESIZABLE) if _RESIZABLE in named else tunable
        return dataclasses.replace(self.config, **{name: getattr(wanted, name) for name in taken})

    def resized(self, network: Network) -> list[str]:
        """The start's position tensors whose size differs from those of a network."""
        if self.partial:
            return []  # `fit` names them
        wanted = network.state_dict()
        return [name for name in self.whole if _is_resized(name, self.whole, wanted)]

    def fit(self, network: Network) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
        """Which tensors a network takes from `whole`.

        Returns:
            Tensors whose name and shape fit, positions resized; the names of the network's that
            stay new; and the names of those that are not used.
        """
        wanted = network.state_dict()
        given = _with_fitted_positions(self.whole, wanted)
        taken = {
            name: tensor
            for name, tensor in given.items()
            if name in wanted and tensor.shape == wanted[name].shape
        }
        return taken, sorted(wanted.keys() - taken.keys()), sorted(given.keys() - taken.keys())

    def build(self, config: NetworkConfig) -> Network:
        """A new network with these weights.

        Raises:
            ModelError: They do not fit the config.
        """
        network = networks.load(config.architecture).build(config)
        try:
            if self.partial:
                taken, _, _ = self.fit(network)
                network.load_state_dict({**network.state_dict(), **taken})
            elif self.whole:
                network.load_state_dict(_with_fitted_positions(self.whole, network.state_dict()))
            elif self.stem:
                # a network may use the front part of a stem only
                used = network.stem.state_dict().keys()
                network.stem.load_state_dict({k: v for k, v in self.stem.items() if k in used})
        except RuntimeError as error:
            raise ModelError(
                f"The start weights {self.name} do not fit the network: "
                f"{str(error).splitlines()[-1].strip()}",
                "Set the network's sizes as they were, or start from scratch.",
            ) from error
        return network


def _is_resized(
    name: str, state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> bool:
    return name.endswith("position") and name in wanted and state[name].shape != wanted[name].shape


def _with_fitted_positions(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Weights whose positions (1, cls + side^2, D) are resized to the wanted network's map.

    So a network can be trained on small crops first, which is faster (progressive resizing: Tan
    and Le 2021, arXiv 2104.00298), and then on larger ones.
    """
    fitted = dict(state)
    for name in (name for name in state if _is_resized(name, state, wanted)):
        if state[name].ndim != 3 or wanted[name].ndim != 3:
            continue
        sides = [math.isqrt(tensor.shape[1]) for tensor in (state[name], wanted[name])]
        n_cls = state[name].shape[1] - sides[0] ** 2  # class tokens come first
        grid = state[name][:, n_cls:].reshape(1, sides[0], sides[0], -1)  # (1, side, side, D)
        resized = torch.nn.functional.interpolate(
            grid.permute(0, 3, 1, 2), (sides[1], sides[1]), mode="bicubic", align_corners=False
        )  # (1, D, side, side)
        fitted[name] = torch.cat([state[name][:, :n_cls], resized.flatten(2).transpose(1, 2)], 1)
    return fitted


def labelled(name: str) -> checkpoint.Checkpoint:
    """Loads a model whose labels are those of training.

    Raises:
        ModelError: It cannot be loaded, or has other labels.
    """
    found = checkpoint.load(name)
    if found.labels != LABELS:
        raise ModelError(
            f"{name} has the labels {', '.join(found.labels)}; training and "
            f"evaluation need {', '.join(LABELS)}, in this order."
        )
    return found


def load(start: str, architecture: str) -> Start:
    """Reads start weights.

    Args:
        start: "scratch"; a shipped model's name, "default" or a .safetensors checkpoint; or a
            PyTorch state dict (.pt, .pth): of MobileFaceNet in foamliu's public layout, of a
            stem, or of a whole network.
        architecture: The network to train; of a checkpoint of another one only the stem is used.

    Raises:
        ModelError: It is missing, unreadable or of no known layout.
    """
    if start == SCRATCH:
        return Start()
    path = Path(start)
    if path.suffix not in (".pt", ".pth"):
        found = labelled(start)
        if found.architecture != architecture:
            origin = lineage.origin(found, "stem")
            return Start(found.entry.name, stem=_stem_of(found.state), origin=origin)
        found.build()  # checks that tensors and config agree
        return Start(
            found.entry.name, found.config, found.temperature, whole=found.state,
            origin=lineage.origin(found),
        )  # fmt: skip
    if not path.is_file():
        raise ModelError(f"There is no file {start} to start from.")
    try:
        state = tensor_file.read(path)
    except tensor_file.Unreadable as error:
        raise ModelError(
            f"{start} is not a readable state dict ({error}).",
            "It must hold plain tensors: torch.save(network.state_dict(), FILE).",
        ) from error
    if isinstance(state, Mapping) and "network" in state:  # state.pt of a run
        state = state["network"]
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"{start} holds no state dict of tensors.")
    if not all(torch.isfinite(tensor.float()).all() for tensor in state.values()):
        raise ModelError(f"{start} holds values that are not finite.", "Its training diverged.")
    origin = {"name": path.name, "sha256": file_sha256(path), "terms": ""}
    if any(name.startswith(_STEM) for name in state):
        return Start(path.name, whole=state, origin=origin)
    origin["part"] = "stem"
    if "dw_conv.depthwise.weight" in state:
        try:
            return Start(path.name, stem=mobilefacenet_from_public(state), origin=origin)
        except KeyError as error:
            raise ModelError(f"{start}: the layer {error} of MobileFaceNet is missing.") from error
    return Start(path.name, stem=state, origin=origin)


def chosen(start: str | None, init: str | None, architecture: str) -> Start:
    """The weights of `start`, or what fits of those of `init`.

    Raises:
        OptionError: Both are given.
        ModelError: As of `load`, or `init` holds no whole network.
    """
    if init is None:
        return load(start or SCRATCH, architecture)
    if start not in (None, SCRATCH):
        raise OptionError("`start` and `init` exclude each other.")
    path = Path(init)
    if path.suffix in (".pt", ".pth"):
        found = load(init, architecture)
        if not found.whole:
            raise ModelError(f"{init} holds a stem only.", "Give it as `start`.")
        return dataclasses.replace(found, config=None, partial=True)
    model = labelled(init)
    return Start(
        model.entry.name, whole=model.state, origin=lineage.origin(model), partial=True,
        temperature=model.temperature,
    )  # fmt: skip


def _stem_of(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The stem's tensors of a whole network."""
    return {
        name.removeprefix(_STEM): tensor for name, tensor in state.items() if name.startswith(_STEM)
    }
