"""EAC: class activation maps of a face and its mirror image must agree (Zhang et al. 2022).

arXiv 2207.10299, after the authors' public code (zyh-uaiaaaa/Erasing-Attention-Consistency): the
second view is the mirror image of the same erased crop; the loss is cross-entropy on the first
view plus 5 times the mean squared difference between its maps and the mirrored maps of the
second. The maps use the classifier's weights without their gradient.

Different here: the stem is one of this program's (theirs is ResNet-50 at 224 px); erasing fills a
rectangle of 2 to 11 % of the crop with one random colour (theirs: 2 to 25 %, with zeros); the
first view has the augmentation that all recipes share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.augment import AugmentOptions
from jadfer_cli.training.recipes import Batch, Recipe


@dataclass(frozen=True)
class EacOptions:
    """Options of the consistency loss.

    Raises:
        OptionError: A value is out of range.
    """

    consistency_weight: float = 5.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.consistency_weight) and self.consistency_weight >= 0):
            raise OptionError(
                f"consistency_weight must be at least 0, not {self.consistency_weight}."
            )


def mirrored(images: torch.Tensor) -> torch.Tensor:
    """Images or maps (B, C, H, W), left and right exchanged."""
    return images.flip(-1)


def consistency_loss(maps: torch.Tensor, maps_of_mirrored: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of maps (B, K, H, W) after the second are mirrored back."""
    return (maps - mirrored(maps_of_mirrored)).square().mean()


def loss(output: Output, batch: Batch, options: EacOptions) -> torch.Tensor:
    """Soft cross-entropy of the first view + weighted consistency of both views' maps."""
    assert batch.second is not None
    maps, second = output.auxiliary["cams"].float(), batch.second.auxiliary["cams"].float()
    return soft_cross_entropy(
        output.logits, batch.targets
    ) + options.consistency_weight * consistency_loss(maps, second)


RECIPE = Recipe(
    architecture="plain",
    title="EAC",
    source="after the authors' public code, on another stem",
    citation="""@inproceedings{Zhang2022eac,
  author    = {Zhang, Yuhang and Wang, Chengrui and Ling, Xu and Deng, Weihong},
  title     = {Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression
               Recognition},
  booktitle = {Computer Vision -- ECCV 2022},
  pages     = {418--434},
  year      = {2022},
  doi       = {10.1007/978-3-031-19809-0_24}
}""",
    kind="published",
    needs=(),
    loss=loss,
    options=EacOptions,
    defaults={"augmentation": AugmentOptions(erase=0.5)},
    second_view=mirrored,
    published={
        "optimiser": "adam", "lr": 1e-4, "stem_lr": 1e-4, "weight_decay": 1e-4, "warmup": 0.0,
        "schedule": "exponential", "epochs": 60, "batch_size": 32, "label_smoothing": 0.0,
        "balance": 0.0,
    },
)  # fmt: skip
