"""JADFER: cross-entropy with the votes, and the Variety loss on the spatial maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.losses import VARIETY_KINDS, soft_cross_entropy, variety_loss
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch, Recipe


@dataclass(frozen=True)
class JadferOptions:
    """Options of the Variety loss.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    variety: str = "cosine"  # one of VARIETY_KINDS
    variety_weight: float = 0.1  # lambda

    def __post_init__(self) -> None:
        if self.variety not in VARIETY_KINDS:
            raise OptionError(
                f"variety must be one of {', '.join(VARIETY_KINDS)}, not {self.variety}."
            )
        if not (math.isfinite(self.variety_weight) and self.variety_weight >= 0):
            raise OptionError(f"variety_weight must be at least 0, not {self.variety_weight}.")


def loss(output: Output, batch: Batch, options: JadferOptions) -> torch.Tensor:
    """Soft cross-entropy + lambda x Variety loss."""
    variety = variety_loss(output.auxiliary["maps"], options.variety)
    return soft_cross_entropy(output.logits, batch.targets) + options.variety_weight * variety


RECIPE = Recipe(architecture="jadfer", loss=loss, options=JadferOptions)
