"""A cosine classifier for margins on long-tailed data (Xu et al. 2022, arXiv 2205.12117).

Coupling-regulation loss subtracts margins from cosines, as LDAM does (Cao et al. 2019, arXiv
1906.07413; public code kaidic/LDAM-DRW): the logits are a scale times the cosine between the
pooled feature and each class's weights. Margins belong to the loss, so scoring has none.

Shapes: B crops, C stem channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output


@dataclass(frozen=True)
class PhasedCriConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    scale: float = 30.0  # s; the logits lie between -s and s
    dropout: float = 0.2  # before the classifier

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scale > 0:
            raise ValueError(f"scale must be positive, got {self.scale}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {self.dropout}")


class PhasedCri(Network):
    """The network.

    Args:
        config: Scale and dropout.
    """

    config: PhasedCriConfig

    def __init__(self, config: PhasedCriConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.weight = nn.Parameter(torch.empty(config.n_classes, self.stem.channels))  # (K, C)
        nn.init.xavier_uniform_(self.weight)

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            Logits (B, K), and "scale", what the cosines were multiplied by.
        """
        pooled = self.dropout(self.stem.coarse(fine).mean((2, 3)))  # (B, C)
        unit = nn.functional.normalize(pooled, dim=-1)
        cosines = unit @ nn.functional.normalize(self.weight, dim=-1).T  # (B, K)
        return Output(self.config.scale * cosines, {"scale": cosines.new_tensor(self.config.scale)})


NETWORK = NetworkKind(
    title="cosine classifier of coupling-regulation loss",
    source="after the public code of LDAM",
    citation="""@misc{Xu2022,
  author = {Xu, Liang and Cheng, Yi and Zhang, Fan and Wu, Bingxuan and Shao, Pengfei
            and Liu, Peng and Shen, Shuwei and Yao, Peng and Xu, Ronald X.},
  title  = {Phased Progressive Learning with Coupling-Regulation-Imbalance Loss for Imbalanced
            Data Classification},
  year   = {2022},
  note   = {arXiv:2205.12117}
}""",
    config=PhasedCriConfig,
    build=PhasedCri,
    tunable=("dropout",),
)
