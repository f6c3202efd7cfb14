"""DAN: several attention heads that are pushed apart (Wen et al. 2021, arXiv 2109.07270).

After the authors' public code (yaoing/DAN). Each head weights the stem's map by a spatial map,
then its channels; the heads' features pass a log-softmax over the heads and are summed. As in
that code, BatchNorm follows the linear layer. Different here: the stem is one of this program's
(theirs is ResNet-18 at 224 px), and the affinity loss's class centres belong to the network, so
that a resumed training keeps them.

Shapes: B faces, M heads, C stem channels, K classes, a map of H x W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output

_REDUCTION = 16  # channels over the hidden width of channel attention: 512 to 32


@dataclass(frozen=True)
class DanConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    heads: int = 4  # M; 2 is a compact choice: a head has 2.1 million parameters
    hidden: int = 256  # channels inside spatial attention

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("heads", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def _conv_bn(c_in: int, c_out: int, kernel: tuple[int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, padding=padding), nn.BatchNorm2d(c_out))


class CrossAttentionHead(nn.Module):
    """Spatial, then channel attention; gives one feature vector per face."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.entry = _conv_bn(channels, hidden, (1, 1))
        self.branches = nn.ModuleList(
            _conv_bn(hidden, channels, kernel) for kernel in ((3, 3), (1, 3), (3, 1))
        )
        squeezed = max(channels // _REDUCTION, 1)
        self.channel = nn.Sequential(
            nn.Linear(channels, squeezed),
            nn.BatchNorm1d(squeezed),
            nn.ReLU(inplace=True),
            nn.Linear(squeezed, channels),
            nn.Sigmoid(),
        )
        for layer in self.modules():  # as in the authors' code
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.001)
                nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C)."""
        entry = self.entry(features)
        seen = torch.stack([branch(entry) for branch in self.branches]).sum(0)  # (B, C, H, W)
        spatial = seen.relu().sum(1, keepdim=True)  # (B, 1, H, W)
        pooled = (features * spatial).mean((2, 3))  # (B, C)
        y: torch.Tensor = pooled * self.channel(pooled)
        return y


class Dan(Network):
    """The network.

    Args:
        config: Sizes.
    """

    def __init__(self, config: DanConfig) -> None:
        super().__init__(config)
        channels = self.stem.channels
        self.heads = nn.ModuleList(
            CrossAttentionHead(channels, config.hidden) for _ in range(config.heads)
        )
        self.linear = nn.Linear(channels, config.n_classes)
        self.norm = nn.BatchNorm1d(config.n_classes)
        self.centres = nn.Parameter(torch.randn(config.n_classes, channels))

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            Logits (B, K); in training also "pooled" (B, C), the stem's mean features, "heads"
            (B, M, C), log-probabilities over the heads, and "centres" (K, C).
        """
        features = self.stem.coarse(fine)  # (B, C, H, W)
        heads = torch.stack([head(features) for head in self.heads], 1)  # (B, M, C)
        if len(self.heads) > 1:
            heads = heads.log_softmax(1)
        logits = self.norm(self.linear(heads.sum(1)))
        if not self.training:
            return Output(logits)
        auxiliary = {"pooled": features.mean((2, 3)), "heads": heads, "centres": self.centres}
        return Output(logits, auxiliary)


NETWORK = NetworkKind(
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
    config=DanConfig,
    build=Dan,
)
