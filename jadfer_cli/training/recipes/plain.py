"""Plain: cross-entropy with the votes, and nothing else; the baseline of other recipes."""

from __future__ import annotations

import torch

from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch, NoOptions, Recipe


def loss(output: Output, batch: Batch, options: NoOptions) -> torch.Tensor:
    """Soft cross-entropy."""
    return soft_cross_entropy(output.logits, batch.targets)


RECIPE = Recipe(
    architecture="plain",
    title="plain classifier",
    source="cross-entropy alone; the baseline of this program",
    citation="",
    kind="control",
    needs=(),
    loss=loss,
)
