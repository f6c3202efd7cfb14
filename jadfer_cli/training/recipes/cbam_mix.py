"""CBAM, class weights and uncertainty mixing (Fan et al. 2022, arXiv 2212.07751).

A reconstruction from the abstract; the add-up loss is that of Relative Uncertainty Learning's
public code (Zhang et al. 2021). A mixed face must be recognised as both of its faces:

    1/2 w(y_i) CE(z, y_i) + 1/2 w(y_j) CE(z, y_j)

The abstract says that small classes weigh more, not how. Chosen here: a class weighs 1 over its
size, with mean 1 over the classes that occur, and a label distribution p weighs sum_c p_c w_c.
Classes are drawn at their natural frequencies, as they are weighted already.
"""

from __future__ import annotations

import torch

from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch, NoOptions, Recipe


def class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Weights (K,) ~ 1 / counts, with mean 1 over the classes that occur; 0 for the others."""
    weights = torch.where(counts > 0, 1 / counts.clamp_min(1).float(), 0.0)
    return weights * (counts > 0).sum() / weights.sum()


def weighted_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Mean over faces of w(y) CE(logits, y), with w(y) = sum_c y_c w_c.

    Args:
        logits: (B, K).
        targets: (B, K), label distributions.
        weights: (K,), of the classes.
    """
    per_face = -(targets * logits.log_softmax(-1)).sum(-1)  # (B,)
    return ((targets @ weights) * per_face).mean()


def loss(output: Output, batch: Batch, options: NoOptions) -> torch.Tensor:
    """Half the weighted cross-entropy with each of the two faces of a mixture."""
    logits, partner = output.auxiliary["mixed"].float(), output.auxiliary["partner"]
    weights = class_weights(batch.statistics["class_counts"])
    own = weighted_cross_entropy(logits, batch.targets, weights)
    other = weighted_cross_entropy(logits, batch.targets[partner], weights)
    return 0.5 * own + 0.5 * other


RECIPE = Recipe(
    architecture="cbam-mix",
    title="CBAM with class weights and uncertainty mixing",
    source="a reconstruction from the abstract and the code of Relative Uncertainty Learning",
    citation="""@misc{Fan2022,
  author = {Fan, Jiaxiang and Zhou, Jian and Deng, Xiaoyu and Wang, Huabin and Tao, Liang
            and Kwan, Hon Keung},
  title  = {Combating Uncertainty and Class Imbalance in Facial Expression Recognition},
  year   = {2022},
  note   = {arXiv:2212.07751}
}""",
    kind="reconstruction",
    needs=(),
    loss=loss,
    defaults={"balance": 0.0},
)
