"""CBAM attention, and features mixed by their uncertainty (Fan et al. 2022, arXiv 2212.07751).

A reconstruction: only the abstract of that paper was at hand. It combines a convolutional block
attention module (CBAM: Woo et al. 2018, arXiv 1807.06521, equations 2 and 3), weights per class,
and uncertain features that are mixed between faces. The mixing follows the code of Relative
Uncertainty Learning (Zhang et al. 2021, zyh-uaiaaaa/Relative-Uncertainty-Learning). Two heads give
each face a feature mu and a scale s = mean exp(logvar). In training, faces i and j are mixed to

    z = (s_i mu_i + s_j mu_j) / (s_i + s_j)

and the classifier sees z; afterwards it sees mu. Chosen here: the heads see the mean of the map
(`pooled`), which saves 3.1 million parameters of the two layers; `pooled = false` is RUL's way.

Shapes: B faces, C stem channels, a map of H x W, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output

_EPSILON = 2e-5  # of the heads' BatchNorm, as in RUL's code


@dataclass(frozen=True)
class CbamMixConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    reduction: int = 16  # channels over the hidden width of channel attention
    kernel: int = 7  # of spatial attention, odd
    features: int = 64  # F
    pooled: bool = True  # the heads see the map's mean, else all of its cells
    dropout: float = 0.4  # before each head's linear layer

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("reduction", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {self.dropout}")


class Cbam(nn.Module):
    """Channel attention, then spatial attention; keeps the shape."""

    def __init__(self, channels: int, reduction: int, kernel: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to (B, C, H, W)."""
        mean, peak = features.mean((2, 3)), features.amax((2, 3))  # (B, C) each
        channel = (self.channel(mean) + self.channel(peak)).sigmoid()  # Eq. 2
        features = features * channel[:, :, None, None]
        seen = torch.stack([features.mean(1), features.amax(1)], 1)  # (B, 2, H, W)
        y: torch.Tensor = features * self.spatial(seen).sigmoid()  # Eq. 3
        return y


def mixed(mu: torch.Tensor, scale: torch.Tensor, partner: torch.Tensor) -> torch.Tensor:
    """Features (B, F) mixed with those of partners (B,), weighted by scales (B, 1)."""
    own, other = scale, scale[partner]
    return (own * mu + other * mu[partner]) / (own + other)


class CbamMix(Network):
    """The network.

    Args:
        config: Sizes.
    """

    config: CbamMixConfig

    def __init__(self, config: CbamMixConfig) -> None:
        super().__init__(config)
        channels = self.stem.channels
        self.attention = Cbam(channels, config.reduction, config.kernel)
        cells = 1 if config.pooled else (config.crop_px // self.stem.reduction) ** 2

        def head() -> nn.Sequential:
            return nn.Sequential(
                nn.BatchNorm2d(channels, _EPSILON, affine=False),
                nn.Dropout(config.dropout),
                nn.Flatten(),
                nn.Linear(channels * cells, config.features),
                nn.BatchNorm1d(config.features, _EPSILON),
            )

        self.mu, self.logvar = head(), head()
        self.classifier = nn.Linear(config.features, config.n_classes)

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            Logits (B, K) of mu; in training also "mixed" (B, K), the logits of the mixed features,
            and "partner" (B,), whom each face was mixed with.
        """
        features = self.attention(self.stem.coarse(fine))  # (B, C, H, W)
        if self.config.pooled:
            features = features.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        mu = self.mu(features)  # (B, F)
        logits = self.classifier(mu)
        if not self.training:
            return Output(logits)
        scale = self.logvar(features).float().exp().mean(1, keepdim=True)  # (B, 1)
        partner = torch.randperm(len(mu), device=mu.device)
        z = mixed(mu.float(), scale, partner)
        return Output(logits, {"mixed": self.classifier(z), "partner": partner})


NETWORK = NetworkKind(
    title="CBAM with uncertainty mixing",
    source="a reconstruction from the abstract and the code of Relative Uncertainty Learning",
    citation="""@misc{Fan2022,
  author = {Fan, Jiaxiang and Zhou, Jian and Deng, Xiaoyu and Wang, Huabin and Tao, Liang
            and Kwan, Hon Keung},
  title  = {Combating Uncertainty and Class Imbalance in Facial Expression Recognition},
  year   = {2022},
  note   = {arXiv:2212.07751}
}""",
    config=CbamMixConfig,
    build=CbamMix,
    tunable=("dropout",),
)
