"""A plain classifier: stem, average pooling, one linear layer; the baseline of other networks.

Shapes: B crops of S x S px, C stem channels, K classes.
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
        self.head = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(self.stem.channels, config.n_classes)
        )

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map; no auxiliary tensors."""
        pooled = self.stem.coarse(fine).mean((2, 3))  # (B, C)
        return Output(self.head(pooled))


NETWORK = NetworkKind(
    title="plain classifier",
    source="stem, average pooling and a linear layer; a baseline of this program",
    citation="",
    config=PlainConfig,
    build=Plain,
    tunable=("dropout",),
)
