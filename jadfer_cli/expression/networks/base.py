"""What every network has in common: its record, its config, and a stem that sees the crops.

Shapes: B crops of S x S px; the stem's fine map (B, C', H', W') and its last one (B, C, H, W);
K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

from jadfer_cli.expression import named_files
from jadfer_cli.expression.networks.stems import STEMS

OWN = "own"  # the stem of a network that brings a backbone of its own
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)


class Output(NamedTuple):
    """What a network returns.

    Attributes:
        logits: (B, K); all that scoring and the ONNX export use.
        auxiliary: Tensors by name that a training loss needs, such as attention maps.
    """

    logits: torch.Tensor
    auxiliary: Mapping[str, torch.Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class NetworkConfig:
    """What a checkpoint stores to rebuild its network; each network adds its own fields.

    Raises:
        ValueError: A value is unknown, or sizes do not divide.
    """

    n_classes: int = 8  # K
    crop_px: int = 112  # S
    stem: str = "mobilefacenet"  # a key of STEMS, or OWN

    def __post_init__(self) -> None:
        if self.stem not in (*STEMS, OWN):
            raise ValueError(f"stem must be one of {(*STEMS, OWN)}, got {self.stem!r}")
        if self.n_classes < 1:
            raise ValueError(f"n_classes must be at least 1, got {self.n_classes}")
        reduction = 1 if self.stem == OWN else STEMS[self.stem].reduction
        if self.crop_px < 32 or self.crop_px % reduction:
            raise ValueError(
                f"crop_px must be a multiple of {reduction}, such as 96 or 112, and at least 32, "
                f"got {self.crop_px}"
            )

    @property
    def architecture(self) -> str:
        """The network's name: that of the file which defines its config."""
        return named_files.name_of(type(self).__module__)


class Network(nn.Module):
    """A stem behind the normalisation of the crops; subclasses add the rest.

    With the stem OWN, the subclass assigns any module to `self.stem`. It is trained at the
    learning rate of stems, and frozen only as far as it has a method `early`, as STEMS have.
    It has no fine map: `fine` gives the normalised crops.

    Args:
        config: Sizes and switches.
        mean: Of RGB in [0, 1], subtracted from the crops.
        std: Of RGB in [0, 1], divides them.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        config: NetworkConfig,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.config = config
        if config.stem != OWN:
            self.stem = STEMS[config.stem]()
        # not saved: they are constants or in the config
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def fine(self, crops: torch.Tensor) -> torch.Tensor:
        """The stem's fine map (B, C', H', W') of crops (B, 3, S, S), RGB in [0, 1]."""
        normalised = (crops - self.mean) / self.std
        return normalised if self.config.stem == OWN else self.stem.fine(normalised)

    def features(self, crops: torch.Tensor) -> torch.Tensor:
        """The stem's last map (B, C, H, W) of crops (B, 3, S, S), RGB in [0, 1]."""
        after_fine = self.stem if self.config.stem == OWN else self.stem.coarse
        features: torch.Tensor = after_fine(self.fine(crops))
        return features

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map (B, C', H', W').

        All that follows the fine map is here, so that a training may keep the fine maps of a
        stem that does not change.
        """
        raise NotImplementedError

    def forward(self, crops: torch.Tensor) -> Output:
        """Scores crops, float (B, 3, S, S), RGB in [0, 1]."""
        return self.score(self.fine(crops))

    def freeze(self, n_blocks: int) -> list[nn.Module]:
        """Excludes the stem's entry and first `n_blocks` blocks from training.

        Returns:
            The frozen modules; their batch statistics must not change either.

        Raises:
            ValueError: The stem is the network's own and has no blocks.
        """
        if self.config.stem == OWN and not hasattr(self.stem, "early"):
            if n_blocks:
                raise ValueError(f"{type(self).__name__} has no blocks to freeze, got {n_blocks}")
            return []
        frozen: list[nn.Module] = self.stem.early(n_blocks)
        for module in frozen:
            module.requires_grad_(False)
        return frozen

    def parameter_groups(
        self, lr: float, stem_lr: float, weight_decay: float
    ) -> list[dict[str, Any]]:
        """Groups for an optimiser: the stem has a learning rate of its own.

        Norms, biases, positions and class tokens do not decay.
        """
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                decays = parameter.ndim > 1 and "position" not in name and "cls" not in name
                groups.setdefault((name.startswith("stem."), decays), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": stem_lr if in_stem else lr,
                "weight_decay": weight_decay if decays else 0.0,
            }
            for (in_stem, decays), parameters in groups.items()
        ]


@dataclass(frozen=True)
class NetworkKind:
    """The record `NETWORK` of a network's file; the first three are string literals there.

    Attributes:
        title: What the literature calls it.
        source: Where this implementation comes from, as a phrase with its article: "a
            reconstruction from the abstract".
        citation: BibTeX; empty where there is nothing to cite.
        config: Its config class.
        build: A new network of a config, with random weights.
        tunable: Config fields that change neither shapes nor what the weights mean; a
            fine-tuning may change them.
        earlier: Values of the fields that files do not name which were written before the
            fields existed.
    """

    title: str
    source: str
    citation: str
    config: type[NetworkConfig]
    build: Callable[[Any], Network]
    tunable: tuple[str, ...] = ()
    earlier: Mapping[str, Any] = field(default_factory=dict)
