"""The JADFER network (Gao et al., IEEE TAFFC 16(2), 2025, doi 10.1109/TAFFC.2024.3454988).

A face crop passes a convolutional stem. The spatial branch (SB) has N parallel paths, each of
which looks at its own region of the face; the contextual branch (CB) applies self-attention; in
the spatial-contextual interaction (SCI) SB's tokens query CB's by cross-attention. Attention in
CB and SCI is regularised by joint attention dropping (JAD). Only the abstract of the paper is
open: what it states is followed; every size, and the reading of JAD, is this project's choice (a
reconstruction).

Shapes: B crops of S x S px; the stem's fine map (B, C', H', W') and its last one (B, C, H, W);
D width, h heads, N paths, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.attention import (
    JAD_READINGS,
    Attention,
    AttentionConfig,
    Block,
)
from jadfer_cli.expression.networks.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Network,
    NetworkKind,
    Output,
)
from jadfer_cli.expression.networks.spatial import Probe, SpatialCells, SpatialRegions

BRANCHES = ("both", "context", "spatial", "pool")
SPATIAL_TOKENS = ("regions", "cells")


@dataclass(frozen=True)
class JadferConfig(AttentionConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range, or sizes do not divide.
    """

    paths: int = 4  # N, spatial paths
    map_hidden: int = 64  # channels inside each path's map
    spatial_tokens: str = "regions"  # regions: one token a path; cells: one a cell of the map
    fine_maps: bool = False  # SB sees the stem's fine map, else its last one
    # CB's tokens are cells of the stem's fine map, 2 x 2 averaged, else of its last one. Those know
    # the whole face already, so CB alone would do as well as the network, and SB stay inert.
    fine_context: bool = True
    region_contrast: bool = True  # a region's token: how its features differ from the whole face's
    centred_maps: bool = True  # a map shows where a face differs from the mean face
    own_classifiers: bool = True  # SB and CB also classify alone, in training
    context_layers: int = 2  # L_c
    interaction_layers: int = 2  # L_s
    dropout: float = 0.2  # in the head
    jad: str = "heads"  # CB's reading, one of JAD_READINGS
    jad_interaction: str = "queries"  # SCI's reading
    branches: str = "both"  # one of BRANCHES; the others are for ablation
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (
            ("jad", JAD_READINGS),
            ("jad_interaction", JAD_READINGS),
            ("spatial_tokens", SPATIAL_TOKENS),
            ("branches", BRANCHES),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        for name in ("paths", "map_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("context_layers", "interaction_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {self.dropout}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError("mean and std have three values")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        if self.width % self.paths:
            raise ValueError(f"width {self.width} must divide by paths {self.paths}")


# of files written before the header named these fields
EARLIER_CONFIG = {
    "spatial_tokens": "cells",
    "fine_maps": False,
    "centred_maps": False,
    "own_classifiers": False,
    "region_contrast": False,
    "fine_context": False,
    "jad_interaction": "heads",
    "jad_amount": "count",
}


class ContextualBranch(nn.Module):
    """CB: self-attention with JAD over a class token and the cells of the stem's map."""

    def __init__(self, config: JadferConfig, channels: int, side: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, config.width, 1)
        self.cls = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, side * side + 1, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config, config.jad, cross=False) for _ in range(config.context_layers)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps features (B, C, H, W) to tokens C (B, HW + 1, D), the class token first."""
        cells = self.project(features).flatten(2).transpose(1, 2)  # (B, HW, D)
        tokens: torch.Tensor = torch.cat([self.cls.expand(cells.shape[0], -1, -1), cells], 1)
        tokens = tokens + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


def _classifier(width: int, n_classes: int, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, n_classes))


class Jadfer(Network):
    """The network: stem, SB, CB, SCI, head.

    Args:
        config: Sizes and switches.

    Attributes:
        probe: What `probed` changes; nothing by default.
    """

    config: JadferConfig

    def __init__(self, config: JadferConfig) -> None:
        super().__init__(config, config.mean, config.std)
        stem, d = self.stem, config.width
        fine = stem.fine_channels, config.crop_px // stem.fine_reduction
        coarse = stem.channels, config.crop_px // stem.reduction
        spatial, context = (config.branches in ("both", name) for name in ("spatial", "context"))
        kind = SpatialRegions if config.spatial_tokens == "regions" else SpatialCells
        seen = fine if config.fine_maps else coarse
        self.spatial = kind(config, *seen) if spatial else None
        cells = (fine[0], fine[1] // 2) if config.fine_context else coarse
        self.context = ContextualBranch(config, *cells) if context else None
        self.interaction = nn.ModuleList(
            Block(config, config.jad_interaction, cross=True)
            for _ in range(config.interaction_layers if config.branches == "both" else 0)
        )
        own = config.own_classifiers and config.branches == "both"
        self.own_spatial = _classifier(d, config.n_classes) if own else None
        self.own_context = _classifier(d, config.n_classes) if own else None
        head_in = {"both": 2 * d, "pool": stem.channels}.get(config.branches, d)
        self.head = _classifier(head_in, config.n_classes, config.dropout)
        self.probe = Probe()

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Args:
            fine: float (B, C', H', W'), of `Network.fine`.

        Returns:
            Logits (B, K). As "maps": spatial maps (B, N, H', W'), N = 0 without the spatial
            branch. As "spatial" and "context": logits (B, K) of each branch alone, in training,
            if `own_classifiers`.
        """
        features = self.stem.coarse(fine)  # (B, C, H, W)
        auxiliary = {"maps": features.new_zeros(features.shape[0], 0, *features.shape[2:])}
        parts = []
        cells = nn.functional.avg_pool2d(fine, 2) if self.config.fine_context else features
        context = None if self.context is None else self.context(cells)  # (B, HW + 1, D)
        if context is not None and self.own_context is not None and self.training:
            auxiliary["context"] = self.own_context(context[:, 0])
        if context is not None and self.probe.context is not None:
            context = context[self.probe.context]
        if self.spatial is not None:
            tokens, auxiliary["maps"] = self.spatial(
                fine if self.config.fine_maps else features, self.probe
            )
            if self.own_spatial is not None and self.training:
                auxiliary["spatial"] = self.own_spatial(tokens.mean(1))
            for block in self.interaction:
                tokens = block(tokens, context)
            parts.append(tokens.mean(1))  # (B, D)
        if context is not None:
            parts.append(context[:, 0])  # (B, D)
        if not parts:
            parts.append(features.mean((2, 3)))  # (B, C)
        return Output(self.head(torch.cat(parts, 1)), auxiliary)

    @contextlib.contextmanager
    def probed(self, probe: Probe) -> Iterator[None]:
        """Scores with a change inside, until the block ends."""
        layers = [module for module in self.modules() if isinstance(module, Attention)]
        readings = [layer.reading for layer in layers]
        self.probe = probe
        for layer in layers if probe.jad else ():
            layer.forced = True
            if probe.jad == "random" and layer.reading != "none":
                layer.reading = "random"
        try:
            yield
        finally:
            self.probe = Probe()
            for layer, reading in zip(layers, readings, strict=True):
                layer.forced, layer.reading = False, reading


NETWORK = NetworkKind(
    title="JADFER",
    source="a reconstruction from the abstract, as its authors published neither code nor weights",
    citation="""@article{Gao2025,
  author  = {Gao, Yu and Ren, Weihong and Jiang, Weibo and Dong, Qian and Nie, Wei and Wu, Wenhao
             and Liu, Honghai},
  title   = {{JADFER}: Exploring Spatial-Contextual Interaction With Joint Attention Dropping for
             Facial Expression Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {16},
  number  = {2},
  pages   = {655--668},
  year    = {2025},
  doi     = {10.1109/TAFFC.2024.3454988},
  note    = {Published online in 2024}
}""",
    config=JadferConfig,
    build=Jadfer,
    tunable=(
        "dropout",
        "drop_path",
        "jad",
        "jad_interaction",
        "jad_p",
        "jad_rho",
        "jad_amount",
        "jad_tau",
    ),
    earlier=EARLIER_CONFIG,
)
