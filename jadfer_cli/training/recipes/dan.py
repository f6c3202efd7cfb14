"""DAN: cross-entropy, affinity loss and partition loss (Wen et al. 2021, arXiv 2109.07270).

After the authors' public code (yaoing/DAN), which adds the three with weight 1. Different here:
labels may be distributions, so a face is drawn to each centre by its share of that class; both
denominators have a small constant, so that equal heads or centres give a large finite loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch, Recipe

_EPSILON = 1e-6


@dataclass(frozen=True)
class DanOptions:
    """Weights of the losses beside the cross-entropy.

    Raises:
        OptionError: A value is out of range.
    """

    affinity_weight: float = 1.0
    partition_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("affinity_weight", "partition_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise OptionError(f"{name} must be at least 0, not {getattr(self, name)}.")


def affinity_loss(
    pooled: torch.Tensor, centres: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Squared distance to the own class's centre, over the summed variance of the centres.

    Args:
        pooled: (B, C), features.
        centres: (K, C), learned.
        targets: (B, K), label distributions.
    """
    squared = torch.cdist(pooled, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
    return (targets * squared).sum(1).mean() / (centres.var(0).sum() + _EPSILON)


def partition_loss(heads: torch.Tensor) -> torch.Tensor:
    """Log(1 + M / mean variance over the heads); 0 for a single head.

    Args:
        heads: (B, M, C), log-probabilities over the heads.
    """
    m = heads.shape[1]
    if m < 2:
        return heads.new_zeros(())
    return torch.log1p(m / (heads.var(1).mean() + _EPSILON))


def loss(output: Output, batch: Batch, options: DanOptions) -> torch.Tensor:
    """Soft cross-entropy + weighted affinity loss + weighted partition loss."""
    parts = {name: tensor.float() for name, tensor in output.auxiliary.items()}
    return (
        soft_cross_entropy(output.logits, batch.targets)
        + options.affinity_weight * affinity_loss(parts["pooled"], parts["centres"], batch.targets)
        + options.partition_weight * partition_loss(parts["heads"])
    )


RECIPE = Recipe(
    architecture="dan",
    title="DAN",
    source="after the authors' public code, on another stem",
    citation="""@article{Wen2023,
  author  = {Wen, Zhengyao and Lin, Wenzhong and Wang, Tao and Xu, Ge},
  title   = {Distract Your Attention: Multi-Head Cross Attention Network for Facial Expression
             Recognition},
  journal = {Biomimetics},
  volume  = {8},
  number  = {2},
  pages   = {199},
  year    = {2023},
  doi     = {10.3390/biomimetics8020199}
}""",
    kind="published",
    needs=(),
    loss=loss,
    options=DanOptions,
    published={
        "optimiser": "sgd", "lr": 0.1, "stem_lr": 0.1, "weight_decay": 1e-4, "schedule": "step",
        "warmup": 0.0, "epochs": 40, "batch_size": 256, "label_smoothing": 0.0, "balance": 0.0,
    },
)  # fmt: skip
