"""MTAC: uncertain label correction with a valence-arousal task beside it (Liu et al. 2022).

arXiv 2212.07144. ULC-AG's network (see `ulc.py`; the confidence block is its confidence layer)
with one more head in training: valence and arousal, tanh of a linear layer. The head is created
last, so that all other weights start as those of ULC-AG do. A reconstruction from the abstract.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import NetworkKind, Output
from jadfer_cli.expression.networks.ulc import Ulc, UlcConfig


@dataclass(frozen=True)
class MtacConfig(UlcConfig):
    """Everything that rebuilds the network."""

    nodes: int = 18  # action units


class Mtac(Ulc):
    """The network.

    Args:
        config: Sizes and dropout.
    """

    def __init__(self, config: MtacConfig) -> None:
        super().__init__(config)
        self.affect = nn.Linear(self.stem.channels, 2)

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            As of `Ulc.score`; in training also "affect" (B, 2), valence and arousal in [-1, 1].
        """
        pooled = self.stem.coarse(fine).mean((2, 3))  # (B, C)
        output = self._score(pooled)
        if not self.training:
            return output
        return Output(output.logits, {**output.auxiliary, "affect": self.affect(pooled).tanh()})


NETWORK = NetworkKind(
    title="MTAC",
    source="a reconstruction from the abstract and the public code of SCN",
    citation="""@article{Liu2024mtac,
  author  = {Liu, Yang and Zhang, Xingming and Kauttonen, Janne and Zhao, Guoying},
  title   = {Uncertain Facial Expression Recognition via Multi-Task Assisted Correction},
  journal = {IEEE Transactions on Multimedia},
  volume  = {26},
  pages   = {2531--2543},
  year    = {2024},
  doi     = {10.1109/TMM.2023.3301209}
}""",
    config=MtacConfig,
    build=Mtac,
    tunable=("dropout",),
)
