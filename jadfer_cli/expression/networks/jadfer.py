"""The JADFER network (Gao et al., IEEE TAFFC 16(2), 2025, doi 10.1109/TAFFC.2024.3454988).

A face crop passes a convolutional stem. The spatial branch (SB) weights its map along N parallel
paths, the contextual branch (CB) applies self-attention; in the spatial-contextual interaction
(SCI) SB's tokens query CB's by cross-attention. Attention in CB and SCI is regularised by joint
attention dropping (JAD). Only the abstract of the paper is open: what it states is followed;
every size, and the reading of JAD, is this project's choice (a reconstruction).

Shapes: B crops of S x S px, C stem channels, H x W stem map, D width, h heads, N paths,
K classes, Nq queries, Nk keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Network,
    NetworkConfig,
    NetworkKind,
    Output,
)

JAD_READINGS = ("none", "heads", "queries", "similar", "random")
BRANCHES = ("both", "context", "spatial", "pool")


@dataclass(frozen=True)
class JadferConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or sizes do not divide.
    """

    width: int = 256  # D
    heads: int = 8  # h
    paths: int = 4  # N, spatial paths
    map_hidden: int = 64  # channels inside each path's map
    context_layers: int = 2  # L_c
    interaction_layers: int = 2  # L_s
    mlp_ratio: float = 2.0
    dropout: float = 0.2  # in the head
    drop_path: float = 0.1  # probability that a face skips a block's attention or MLP
    jad: str = "heads"  # one of JAD_READINGS
    jad_p: float = 0.5  # probability that a sample's attention is dropped, in training only
    jad_rho: float = 0.1  # fraction of keys dropped per query
    jad_tau: float = 0.9  # reading `similar`: cosine above which two heads are similar
    branches: str = "both"  # one of BRANCHES; the others are for ablation
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("jad", JAD_READINGS), ("branches", BRANCHES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        for name in ("width", "heads", "paths", "map_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("context_layers", "interaction_layers", "mlp_ratio"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("dropout", "drop_path", "jad_p", "jad_rho"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError("mean and std have three values")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        if self.width % self.heads or self.width % self.paths:
            raise ValueError(
                f"width {self.width} must divide by heads {self.heads} and paths {self.paths}"
            )


@torch.no_grad()
def joint_attention_mask(
    attention: torch.Tensor, reading: str, rho: float, *, n_cls: int = 0, tau: float = 0.9
) -> torch.Tensor:
    """Selects the attention weights that JAD drops.

    Args:
        attention: (B, h, Nq, Nk), rows sum to 1.
        reading: What "joint" means, one of JAD_READINGS. `heads`: keys that all heads of a query
            attend to; `queries`: keys that all queries attend to; `similar`: peaks that two
            similar heads share, dropped from the weaker head; `random`: the same number of
            keys at random, as a control.
        rho: Fraction of the keys that is dropped, 0 to 1; the count is ceil(rho * Nk).
        n_cls: The first `n_cls` keys are never dropped.
        tau: Cosine above which two heads count as similar.

    Returns:
        bool (B, h, Nq, Nk), True where a weight is dropped; at least one key per row stays.
    """
    b, h, n_q, n_k = attention.shape
    free = attention[..., n_cls:]  # (B, h, Nq, Nk - n_cls)
    count = min(math.ceil(rho * n_k), free.shape[-1] - (0 if n_cls else 1))
    mask = torch.zeros_like(attention, dtype=torch.bool)
    if reading == "none" or count <= 0:
        return mask
    if reading == "similar":
        mask[..., n_cls:] = _similar_peaks(free, count, tau)
        return mask
    if reading == "heads":
        peak = attention.amax(-1, keepdim=True)  # (B, h, Nq, 1)
        score = (free / peak).amin(1, keepdim=True)  # (B, 1, Nq, Nk - n_cls)
    elif reading == "queries":
        score = free.mean((1, 2), keepdim=True)  # (B, 1, 1, Nk - n_cls)
    elif reading == "random":
        score = torch.rand_like(free[:, :1])  # (B, 1, Nq, Nk - n_cls)
    else:
        raise ValueError(f"reading must be one of {JAD_READINGS}, got {reading!r}")
    dropped = torch.zeros_like(score, dtype=torch.bool)
    dropped.scatter_(-1, score.topk(count, -1).indices, True)
    mask[..., n_cls:] = dropped.expand(b, h, n_q, n_k - n_cls)
    return mask


def _similar_peaks(attention: torch.Tensor, count: int, tau: float) -> torch.Tensor:
    """For head pairs with cosine > tau: the shared top keys, masked in the weaker head."""
    flat = nn.functional.normalize(attention.flatten(2), dim=-1)  # (B, h, Nq * Nk)
    similar = flat @ flat.transpose(1, 2) > tau  # (B, h, h)
    strength = attention.amax(-1).mean(-1)  # (B, h), mean peak
    # head i is masked in favour of a stronger head j; the lower index wins a tie
    order = torch.arange(attention.shape[1], device=attention.device)
    weaker = (strength[:, :, None] < strength[:, None, :]) | (
        (strength[:, :, None] == strength[:, None, :]) & (order[:, None] > order[None, :])
    )
    top = torch.zeros_like(attention, dtype=torch.bool)
    top.scatter_(-1, attention.topk(count, -1).indices, True)  # (B, h, Nq, Nk)
    masked_for = (similar & weaker).to(attention.dtype)  # (B, h, h)
    shared = torch.einsum("bij,bjqk->biqk", masked_for, top.to(attention.dtype)) > 0
    return top & shared


class Attention(nn.Module):
    """Multi-head attention whose weights JAD can drop while training."""

    def __init__(self, config: JadferConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, query: torch.Tensor, context: torch.Tensor, n_cls: int) -> torch.Tensor:
        """Attends from `query` (B, Nq, D) to `context` (B, Nk, D); gives (B, Nq, D)."""
        b, n_q, d = query.shape
        h, n_k = self.config.heads, context.shape[1]
        q = self.query(query).view(b, n_q, h, d // h).transpose(1, 2)  # (B, h, Nq, D/h)
        k, v = self.key_value(context).view(b, n_k, 2, h, d // h).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) / math.sqrt(d // h)  # (B, h, Nq, Nk)
        weights = self.drop(logits, n_cls).softmax(-1)
        y: torch.Tensor = self.out((weights @ v).transpose(1, 2).reshape(b, n_q, d))
        return y

    def drop(self, logits: torch.Tensor, n_cls: int) -> torch.Tensor:
        """Sets the logits that JAD drops to -inf, so that softmax rows still sum to 1."""
        c = self.config
        if not self.training or c.jad == "none" or c.jad_p <= 0 or c.jad_rho <= 0:
            return logits
        mask = joint_attention_mask(
            logits.detach().float().softmax(-1), c.jad, c.jad_rho, n_cls=n_cls, tau=c.jad_tau
        )
        sample = torch.rand(len(logits), 1, 1, 1, device=logits.device) < c.jad_p
        dropped: torch.Tensor = logits.masked_fill(mask & sample, float("-inf"))
        return dropped


class DropPath(nn.Module):
    """Skips a residual branch for some faces in training (Huang et al. 2016, arXiv 1603.09382).

    One draw per face: element-wise dropout draws millions of numbers per step, which takes 9 %
    of a training step on a CPU.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zeroes faces of (B, N, D) with probability p and scales the others by 1 / (1 - p)."""
        if not self.training or self.p <= 0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.p
        return x * (kept.to(x.dtype) / (1 - self.p))


class Block(nn.Module):
    """Pre-norm attention and MLP; self-attention unless a context is given."""

    def __init__(self, config: JadferConfig, *, cross: bool) -> None:
        super().__init__()
        d, hidden = config.width, int(config.width * config.mlp_ratio)
        self.norm_query = nn.LayerNorm(d)
        self.norm_context = nn.LayerNorm(d) if cross else None
        self.attention = Attention(config)
        self.norm_mlp = nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))
        self.drop_path = DropPath(config.drop_path)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Maps tokens (B, Nq, D) to (B, Nq, D); `context` is (B, Nk, D), class token first."""
        query = self.norm_query(x)
        keys = query if self.norm_context is None else self.norm_context(context)
        x = x + self.drop_path(self.attention(query, keys, n_cls=1))
        y: torch.Tensor = x + self.drop_path(self.mlp(self.norm_mlp(x)))
        return y


class SpatialBranch(nn.Module):
    """SB: N parallel paths; each weights the features by a map in [0, 1] and projects them."""

    def __init__(self, config: JadferConfig, channels: int, side: int) -> None:
        super().__init__()
        n, hidden = config.paths, config.map_hidden
        self.maps = nn.Sequential(
            nn.Conv2d(channels, n * hidden, 1, bias=False),
            nn.BatchNorm2d(n * hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(n * hidden, n, 1, groups=n),
            nn.Sigmoid(),
        )
        self.project = nn.Conv2d(channels, config.width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.width))
        self.position = nn.Parameter(torch.randn(1, side * side, config.width) * 0.02)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps features (B, C, H, W) to tokens S (B, HW, D) and maps (B, N, H, W)."""
        maps = self.maps(features)  # (B, N, H, W)
        # proj_i(F * M_i) = M_i * proj_i(F): a map scales all channels of a cell equally
        projected = self.project(features).unflatten(1, (maps.shape[1], -1))  # (B, N, D/N, H, W)
        paths = (projected * maps.unsqueeze(2)).flatten(1, 2)  # (B, D, H, W)
        tokens = paths.flatten(2).transpose(1, 2) + self.bias + self.position  # (B, HW, D)
        return tokens, maps


class ContextualBranch(nn.Module):
    """CB: self-attention with JAD over a class token and the cells of the stem's map."""

    def __init__(self, config: JadferConfig, channels: int, side: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, config.width, 1)
        self.cls = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, side * side + 1, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config, cross=False) for _ in range(config.context_layers)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps features (B, C, H, W) to tokens C (B, HW + 1, D), the class token first."""
        cells = self.project(features).flatten(2).transpose(1, 2)  # (B, HW, D)
        tokens: torch.Tensor = torch.cat([self.cls.expand(cells.shape[0], -1, -1), cells], 1)
        tokens = tokens + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class Jadfer(Network):
    """The network: stem, SB, CB, SCI, head.

    Args:
        config: Sizes and switches.
    """

    config: JadferConfig

    def __init__(self, config: JadferConfig) -> None:
        super().__init__(config, config.mean, config.std)
        channels, side = self.stem.channels, config.crop_px // self.stem.reduction
        d = config.width
        spatial, context = (config.branches in ("both", name) for name in ("spatial", "context"))
        self.spatial = SpatialBranch(config, channels, side) if spatial else None
        self.context = ContextualBranch(config, channels, side) if context else None
        self.interaction = nn.ModuleList(
            Block(config, cross=True)
            for _ in range(config.interaction_layers if config.branches == "both" else 0)
        )
        head_in = {"both": 2 * d, "pool": channels}.get(config.branches, d)
        self.head = nn.Sequential(
            nn.LayerNorm(head_in), nn.Dropout(config.dropout), nn.Linear(head_in, config.n_classes)
        )

    def forward(self, crops: torch.Tensor) -> Output:
        """Scores crops.

        Args:
            crops: float (B, 3, S, S), RGB in [0, 1].

        Returns:
            Logits (B, K) and, as "maps", spatial maps (B, N, H, W) in [0, 1]; N = 0 without the
            spatial branch.
        """
        features = self.features(crops)  # (B, C, H, W)
        maps = features.new_zeros(features.shape[0], 0, *features.shape[2:])
        parts = []
        context = None if self.context is None else self.context(features)  # (B, HW + 1, D)
        if self.spatial is not None:
            tokens, maps = self.spatial(features)  # (B, HW, D)
            for block in self.interaction:
                tokens = block(tokens, context)
            parts.append(tokens.mean(1))  # (B, D)
        if context is not None:
            parts.append(context[:, 0])  # (B, D)
        if not parts:
            parts.append(features.mean((2, 3)))  # (B, C)
        return Output(self.head(torch.cat(parts, 1)), {"maps": maps})


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
    tunable=("dropout", "drop_path", "jad", "jad_p", "jad_rho", "jad_tau"),
)
