"""JADFER: cross-entropy with the votes, the Variety loss, and each branch's own classifier."""

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
    """Options of the losses beside the cross-entropy of the whole network.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    variety: str = "centred"  # one of VARIETY_KINDS
    variety_weight: float = 0.1  # lambda
    own_weight: float = 0.3  # of the cross-entropy of each branch's own classifier

    def __post_init__(self) -> None:
        if self.variety not in VARIETY_KINDS:
            raise OptionError(
                f"variety must be one of {', '.join(VARIETY_KINDS)}, not {self.variety}."
            )
        for name in ("variety_weight", "own_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise OptionError(f"{name} must be at least 0, not {getattr(self, name)}.")


def loss(output: Output, batch: Batch, options: JadferOptions) -> torch.Tensor:
    """Soft cross-entropy + lambda x Variety loss + weighted soft cross-entropy of each branch."""
    total = soft_cross_entropy(output.logits, batch.targets)
    if options.variety_weight:
        variety = variety_loss(output.auxiliary["maps"], options.variety)
        total = total + options.variety_weight * variety
    for branch in ("spatial", "context"):
        if options.own_weight and branch in output.auxiliary:
            logits = batch.shifted(output.auxiliary[branch].float())
            own = soft_cross_entropy(logits, batch.targets)
            total = total + options.own_weight * own
    return total


RECIPE = Recipe(
    architecture="jadfer",
    title="JADFER",
    source="a reconstruction from the abstract, as its authors published neither code nor weights",
    citation="""@article{Gao2025,
  author  = {Gao, Yu and Ren, Weihong and Jiang, Weibo and Dong, Qian and Nie, Wei and Wu, Wenhao
             and Liu, Honghai},
  title   = {{JADFER}: Exploring Spatial-Contextual Interaction With Joint Attention Dropping for
             Facial Expression Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {16},
  number  = {2},
  pages   = {655--668},
  year    = {2025},
  doi     = {10.1109/TAFFC.2024.3454988},
  note    = {Published online in 2024}
}""",
    kind="reconstruction",
    needs=(),
    loss=loss,
    options=JadferOptions,
)
