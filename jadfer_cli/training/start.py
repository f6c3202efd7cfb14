"""What a training starts from: nothing, a stem's weights, or a whole network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.networks.config import STEM_REDUCTIONS, JadferConfig
from jadfer_cli.expression.networks.jadfer import Jadfer
from jadfer_cli.expression.networks.stems import mobilefacenet_from_public

SCRATCH = "scratch"

# What changes neither shapes nor use: a fine-tuning may set it anew.
_FREE = ("dropout", "drop_path", "jad", "jad_p", "jad_rho", "jad_tau")
# What only moves positions, which are resized: kept unless the recipe names it, or unknown, as of
# a bare state dict.
_RESIZED = "crop_px"


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Attributes:
        name: As given, for records.
        config: Of the whole network; None where only a stem's weights, or none, are given.
        temperature: Of the whole network, as it was calibrated.
        whole: State dict of a whole network, or empty.
        stem: State dict of the stem, or empty.
    """

    name: str = SCRATCH
    config: JadferConfig | None = None
    temperature: float = 1.0
    whole: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    stem: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)

    def settle(self, wanted: JadferConfig, named: Iterable[str] = ()) -> JadferConfig:
        """The config to train: that of the start's network, with the wanted regularisation.

        Args:
            wanted: What the recipe says.
            named: Names that the recipe itself gives, which must not be passed over.

        Raises:
            OptionError: One of them contradicts the start's network.
        """
        if self.config is None:
            return wanted
        named = set(named)
        for name in named - {*_FREE, _RESIZED}:
            if getattr(wanted, name) != getattr(self.config, name):
                raise OptionError(
                    f"network.{name} is {getattr(self.config, name)} in the start weights "
                    f"{self.name}, not {getattr(wanted, name)}.",
                    "Leave it out, or start from scratch or from a stem.",
                )
        taken = (*_FREE, _RESIZED) if _RESIZED in named else _FREE
        free = {name: getattr(wanted, name) for name in taken}
        return dataclasses.replace(self.config, **free)

    def resized(self, config: JadferConfig) -> tuple[int, int] | None:
        """The side of the start's map and of the wanted one, where they differ."""
        position = self.whole.get("spatial.position")  # (1, side^2, D)
        if position is None:
            return None
        sides = math.isqrt(position.shape[1]), config.crop_px // STEM_REDUCTIONS[config.stem]
        return sides if sides[0] != sides[1] else None

    def build(self, config: JadferConfig) -> Jadfer:
        """A new network with these weights.

        Raises:
            ModelError: They do not fit the config.
        """
        network = Jadfer(config)
        try:
            if self.whole:
                network.load_state_dict(_positions_fitted(self.whole, network.state_dict()))
            elif self.stem:
                network.stem.load_state_dict(self.stem)
        except RuntimeError as error:
            raise ModelError(
                f"The start weights {self.name} do not fit the network: "
                f"{str(error).splitlines()[-1].strip()}",
                "Give the network's sizes as they were, or start from scratch.",
            ) from error
        return network


def _positions_fitted(
    state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Weights whose positions (1, cls + side^2, D) are resized to the wanted network's map.

    A network may so be trained on small crops first, which is faster (progressive resizing:
    Tan and Le 2021, arXiv 2104.00298), and then on larger ones.
    """
    fitted = dict(state)
    for name, n_cls in (("spatial.position", 0), ("context.position", 1)):
        if name not in state or name not in wanted or state[name].shape == wanted[name].shape:
            continue
        sides = [math.isqrt(tensor.shape[1] - n_cls) for tensor in (state[name], wanted[name])]
        grid = state[name][:, n_cls:].reshape(1, sides[0], sides[0], -1)  # (1, side, side, D)
        resized = torch.nn.functional.interpolate(
            grid.permute(0, 3, 1, 2), (sides[1], sides[1]), mode="bicubic", align_corners=False
        )  # (1, D, side, side)
        fitted[name] = torch.cat([state[name][:, :n_cls], resized.flatten(2).transpose(1, 2)], 1)
    return fitted


def labelled(name: str) -> checkpoint.Checkpoint:
    """A whole model whose labels are those of training.

    Raises:
        ModelError: It cannot be loaded, or has other labels.
    """
    found = checkpoint.load(name)
    if found.labels != checkpoint.LABELS:
        raise ModelError(
            f"{name} has the labels {', '.join(found.labels)}; training needs "
            f"{', '.join(checkpoint.LABELS)}, in this order."
        )
    return found


def load(start: str) -> Start:
    """Reads start weights.

    Args:
        start: "scratch"; a shipped model's name, "default" or a .safetensors checkpoint; or a
            PyTorch state dict (.pt, .pth): of MobileFaceNet in foamliu's public layout, of a
            stem, or of a whole network.

    Raises:
        ModelError: It is missing, unreadable or of no known layout.
    """
    if start == SCRATCH:
        return Start()
    path = Path(start)
    if path.suffix not in (".pt", ".pth"):
        found = labelled(start)
        return Start(found.entry.name, found.config, found.temperature, whole=found.state)
    if not path.is_file():
        raise ModelError(f"There is no file {start} to start from.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file makes the unpickler raise
        raise ModelError(
            f"{start} is not a readable state dict ({type(error).__name__}).",
            "It must hold plain tensors: torch.save(network.state_dict(), FILE).",
        ) from error
    if isinstance(state, Mapping) and "network" in state:  # state.pt of a run
        state = state["network"]
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"{start} holds no state dict of tensors.")
    if any(name.startswith("stem.") for name in state):
        return Start(path.name, whole=state)
    if "dw_conv.depthwise.weight" in state:
        try:
            return Start(path.name, stem=mobilefacenet_from_public(state))
        except KeyError as error:
            raise ModelError(f"{start}: the layer {error} of MobileFaceNet is missing.") from error
    return Start(path.name, stem=state)
