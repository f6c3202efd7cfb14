"""APViT: cross-entropy with the votes; the method is its network (arXiv 2212.05463)."""

from __future__ import annotations

import torch

from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch, NoOptions, Recipe


def loss(output: Output, batch: Batch, options: NoOptions) -> torch.Tensor:
    """Soft cross-entropy."""
    return soft_cross_entropy(output.logits, batch.targets)


RECIPE = Recipe(
    architecture="apvit",
    title="APViT, compact",
    source="after the authors' public code, narrower and without their pretrained transformer",
    citation="""@article{Xue2023,
  author  = {Xue, Fanglei and Wang, Qiangchang and Tan, Zichang and Ma, Zhongsong and Guo, Guodong},
  title   = {Vision Transformer With Attentive Pooling for Robust Facial Expression Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {14},
  number  = {4},
  pages   = {3244--3256},
  year    = {2023},
  doi     = {10.1109/TAFFC.2022.3226473}
}""",
    kind="published",
    needs=(),
    loss=loss,
    published={
        "optimiser": "sgd", "lr": 1e-3, "stem_lr": 1e-3, "weight_decay": 5e-4, "warmup": 0.0,
        "batch_size": 128, "label_smoothing": 0.0, "balance": 0.0,
    },
)  # fmt: skip
