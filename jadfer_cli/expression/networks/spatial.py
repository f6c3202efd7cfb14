"""The spatial branch (SB) of JADFER: N parallel paths, each with a map of where it looks.

Shapes: B faces, a feature map (B, C', H', W') of the stem, N paths, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

_MEAN_MOMENTUM = 0.05


class SpatialConfig(Protocol):
    """The fields of a network's config that its spatial branch needs."""

    @property
    def width(self) -> int:
        """D."""

    @property
    def paths(self) -> int:
        """N."""

    @property
    def map_hidden(self) -> int:
        """Channels inside each path's map."""

    @property
    def centred_maps(self) -> bool:
        """A map shows where a face differs from the mean face."""

    @property
    def region_contrast(self) -> bool:
        """A token says how the region's features differ from the whole face's."""


@dataclass
class Probe:
    """Changes to the inside of a trained network, which show what a part contributes.

    Attributes:
        maps: Replaces the spatial maps (B, N, H', W').
        blank: SB sees the mean feature of each cell over the batch: no face in particular.
        context: Indices (B,): each face gets the context tokens of another one.
        jad: JAD drops in every face, as in training; `random` replaces every reading.
    """

    maps: Callable[[torch.Tensor], torch.Tensor] | None = None
    blank: bool = False
    context: torch.Tensor | None = None
    jad: str | None = None  # "own" or "random"


class SpatialMaps(nn.Sequential):
    """The logits of N maps, if wanted without what they show of every face."""

    mean_position: torch.Tensor  # what a map shows at each cell on average

    def __init__(self, config: SpatialConfig, channels: int, side: int) -> None:
        n, hidden = config.paths, config.map_hidden
        super().__init__(
            nn.Conv2d(channels, n * hidden, 1, bias=False),
            nn.BatchNorm2d(n * hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(n * hidden, n, 1, groups=n),
        )
        self.centred = config.centred_maps
        if self.centred:
            self.register_buffer("mean_position", torch.zeros(1, side * side, n))
            self.scale = nn.Parameter(torch.ones(1, n, 1, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps features (B, C', H', W') to logits (B, N, H', W')."""
        logits: torch.Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        if not self.centred:
            return logits
        if self.training:
            mean = logits.mean(0, keepdim=True)  # (1, N, H', W')
            flat = mean.detach().flatten(2).transpose(1, 2)
            self.mean_position.lerp_(flat.to(self.mean_position.dtype), _MEAN_MOMENTUM)
        else:
            mean = self.mean_position.transpose(1, 2).reshape(1, *logits.shape[1:])
        return (logits - mean) * self.scale


class SpatialRegions(nn.Module):
    """SB: N parallel paths; each pools the features over its own region to one token."""

    def __init__(self, config: SpatialConfig, channels: int, side: int) -> None:
        super().__init__()
        d = config.width
        self.contrast = config.region_contrast
        self.maps = SpatialMaps(config, channels, side)
        self.project = nn.Conv2d(channels, d, 1)
        self.position = nn.Parameter(torch.randn(1, side * side, d) * 0.02)
        self.norm = nn.LayerNorm(d)
        self.path = nn.Parameter(torch.randn(config.paths, d, d) / math.sqrt(d))
        self.bias = nn.Parameter(torch.randn(1, config.paths, d) * 0.02)

    def forward(self, features: torch.Tensor, probe: Probe) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps features (B, C', H', W') to tokens S (B, N, D) and maps (B, N, H', W').

        A map is a softmax over its cells, times their number: 1 on average.
        """
        logits = self.maps(features).float()
        maps = logits.flatten(2).softmax(-1).view_as(logits) * logits[0, 0].numel()
        maps = maps if probe.maps is None else probe.maps(maps)
        seen = features.mean(0, keepdim=True).expand_as(features) if probe.blank else features
        cells = self.project(seen).flatten(2).transpose(1, 2) + self.position  # (B, H'W', D)
        weights = maps - 1 if self.contrast else maps
        pooled = weights.flatten(2).to(cells.dtype) @ cells / cells.shape[1]  # (B, N, D)
        tokens = torch.einsum("bnd,nde->bne", self.norm(pooled), self.path) + self.bias
        return tokens, maps


class SpatialCells(nn.Module):
    """SB: N parallel paths; each weights every cell by a map in [0, 1] and projects it."""

    def __init__(self, config: SpatialConfig, channels: int, side: int) -> None:
        super().__init__()
        self.maps = SpatialMaps(config, channels, side)
        self.project = nn.Conv2d(channels, config.width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.width))
        self.position = nn.Parameter(torch.randn(1, side * side, config.width) * 0.02)

    def forward(self, features: torch.Tensor, probe: Probe) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps features (B, C', H', W') to tokens S (B, H'W', D) and maps (B, N, H', W')."""
        maps = self.maps(features).sigmoid()
        maps = maps if probe.maps is None else probe.maps(maps)
        seen = features.mean(0, keepdim=True).expand_as(features) if probe.blank else features
        # proj_i(F * M_i) = M_i * proj_i(F): a map scales all channels of a cell equally
        projected = self.project(seen).unflatten(1, (maps.shape[1], -1))  # (B, N, D/N, H', W')
        paths = (projected * maps.unsqueeze(2)).flatten(1, 2)  # (B, D, H', W')
        tokens = paths.flatten(2).transpose(1, 2) + self.bias + self.position  # (B, H'W', D)
        return tokens, maps
