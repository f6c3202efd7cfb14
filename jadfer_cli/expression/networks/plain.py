"""A plain classifier: stem, average pooling, one linear layer; the baseline of other networks.

Shapes: B crops of S x S px, C stem channels, K classes, a map of H x W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output


@dataclass(frozen=True)
class PlainConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    dropout: float = 0.2  # before the linear layer

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {self.dropout}")


class Plain(Network):
    """The network.

    Args:
        config: Sizes and dropout.
    """

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config)
        linear = nn.Linear(self.stem.channels, config.n_classes)
        self.head = nn.Sequential(nn.Dropout(config.dropout), linear)

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            Logits (B, K); in training also "cams" (B, K, H, W), the class activation maps (Zhou
            et al. 2016, arXiv 1512.04150), whose mean over the cells is a logit without its bias.
            Their gradient reaches the features, not the linear layer.
        """
        features = self.stem.coarse(fine)  # (B, C, H, W)
        logits = self.head(features.mean((2, 3)))
        if not self.training:
            return Output(logits)
        linear: nn.Linear = self.head[-1]  # type: ignore[assignment]
        cams = torch.einsum("bchw,kc->bkhw", features, linear.weight.detach())
        return Output(logits, {"cams": cams})


NETWORK = NetworkKind(
    title="plain classifier",
    source="stem, average pooling and a linear layer; a baseline of this program",
    citation="",
    config=PlainConfig,
    build=Plain,
    tunable=("dropout",),
)
