"""MTAC: ULC-AG with valence and arousal as a further task (Liu et al. 2022, arXiv 2212.07144).

A reconstruction: of the paper only the abstract was at hand. It names a confidence block and
weighted regularisation (here those of `ulc-ag`, the same for both), action unit detection on a
graph, valence-arousal measurement, and relabelling. With `affect_weight` 0 this is `ulc-ag`, bit
for bit.

Different here: nobody rated valence and arousal of the training images. Their targets are the
mean place of an image's votes on a circumplex, so the task adds no new labels: it only tells the
network which expressions are close to each other. The places are ours, rounded; only the
quadrants and their order follow Russell 1980 (doi 10.1037/h0077714), who has no contempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.labels import LABELS
from jadfer_cli.training.recipes import Batch, Recipe
from jadfer_cli.training.recipes import ulc_ag as base

# valence and arousal, -1 to 1
CIRCUMPLEX = {
    "neutral": (0.0, 0.0),
    "happiness": (0.9, 0.3),
    "surprise": (0.3, 0.9),
    "sadness": (-0.8, -0.4),
    "anger": (-0.6, 0.7),
    "disgust": (-0.7, 0.3),
    "fear": (-0.5, 0.8),
    "contempt": (-0.6, 0.1),
}


@dataclass(frozen=True)
class MtacOptions(base.UlcAgOptions):
    """Options of ULC-AG, and the weight of the further task.

    Raises:
        OptionError: A value is out of range.
    """

    affect_weight: float = 0.3  # of valence and arousal

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.affect_weight) and self.affect_weight >= 0):
            raise OptionError(f"affect_weight must be at least 0, not {self.affect_weight}.")


def affect_of(targets: torch.Tensor) -> torch.Tensor:
    """Valence and arousal (B, 2) of label distributions (B, K): the mean place of the labels."""
    places = torch.tensor([CIRCUMPLEX[label] for label in LABELS])  # (K, 2)
    return targets @ places.to(targets)


def concordance(guesses: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Lin's concordance correlation coefficient (1989, doi 10.2307/2532051), by column.

    Args:
        guesses: (B, D).
        truth: (B, D).

    Returns:
        (D,), -1 to 1; 0 where both are constant.
    """
    centred, centred_truth = guesses - guesses.mean(0), truth - truth.mean(0)
    covariance = (centred * centred_truth).mean(0)
    spread = centred.square().mean(0) + centred_truth.square().mean(0)
    apart = (guesses.mean(0) - truth.mean(0)).square()
    return 2 * covariance / (spread + apart).clamp_min(1e-12)


def loss(output: Output, batch: Batch, options: MtacOptions) -> torch.Tensor:
    """The loss of ULC-AG + weighted (1 - mean concordance of valence and arousal)."""
    total = base.loss(output, batch, options)
    if options.affect_weight:
        guesses, truth = output.auxiliary["affect"].float(), affect_of(batch.targets)
        total = total + options.affect_weight * (1 - concordance(guesses, truth).mean())
    return total


RECIPE = Recipe(
    architecture="mtac",
    title="MTAC",
    source="a reconstruction from the abstract and the public code of SCN, with blendshapes for "
    "action units and a circumplex for valence and arousal",
    citation="""@article{Liu2024mtac,
  author  = {Liu, Yang and Zhang, Xingming and Kauttonen, Janne and Zhao, Guoying},
  title   = {Uncertain Facial Expression Recognition via Multi-Task Assisted Correction},
  journal = {IEEE Transactions on Multimedia},
  volume  = {26},
  pages   = {2531--2543},
  year    = {2024},
  doi     = {10.1109/TMM.2023.3301209}
}""",
    kind="reconstruction",
    needs=("face_landmarker.task",),
    loss=loss,
    options=MtacOptions,
    statistics=base.statistics,
    prepare=base.prepare,
    relabel=base.relabel,
)
