"""What a recipe's network costs: parameters, and multiply-adds for one face."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from jadfer_cli.expression import networks
from jadfer_cli.expression.networks.base import Network, NetworkConfig
from jadfer_cli.training import recipes


@dataclass(frozen=True)
class Size:
    """Of a network with its default config.

    Attributes:
        parameters: All of them, with those that only training uses.
        multiply_adds: Of convolutions and matrix products, to score one crop of `crop_px`.
        crop_px: Side of the crop.
    """

    parameters: int
    multiply_adds: int
    crop_px: int


def size_of(recipe: str) -> Size:
    """Counts for the network that a recipe trains by default.

    Raises:
        OptionError: There is no such recipe.
    """
    return size_of_config(networks.load(recipes.facts(recipe)["architecture"]).config())


def size_of_config(config: NetworkConfig) -> Size:
    """Counts for the network of a config."""
    kind = networks.load(config.architecture)
    try:
        with torch.device("meta"):  # shapes without values: no weight is drawn, nothing computed
            network = kind.build(config)
            multiply_adds = _multiply_adds(network, config)
    except (NotImplementedError, RuntimeError):  # its shapes depend on values
        network = kind.build(config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of GPUs that are not asked for
            with torch.backends.mkldnn.flags(enabled=False):  # whose LSTM is not counted
                multiply_adds = _multiply_adds(network, config)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Size(parameters, multiply_adds, config.crop_px)


@torch.no_grad()
def _multiply_adds(network: Network, config: NetworkConfig) -> int:
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, config.crop_px, config.crop_px))
    return int(counter.get_total_flops()) // 2  # PyTorch counts both operations
