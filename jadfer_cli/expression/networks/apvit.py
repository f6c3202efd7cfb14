"""APViT: a transformer that keeps the most active patches (Xue et al. 2022, arXiv 2212.05463).

After the authors' public code (youqingxiaozhua/APViT), with its sizes as options. Attentive patch
pooling keeps the patches of the stem's fine map whose projected features have the largest
absolute sum (160 of 196), in their order. Attentive token pooling drops, in the second half of
the blocks, the tokens to which the class token attends least; it always keeps the class token.

Different here, so that this is another network than the published one: width 256 and 4 blocks
instead of 768 and 8; nothing but the stem is pretrained (theirs starts from IR-50 and ViT-small);
tokens are pooled for every batch size (their code skips a batch whose size equals the number of
tokens). `network.stem=ir50`, `network.width=768`, `network.depth=8` are the published sizes.

Shapes: B faces, N tokens with the class token first, D width, h heads, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output

_EPSILON = 1e-6  # of LayerNorm


@dataclass(frozen=True)
class ApvitConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range, or sizes do not divide.
    """

    width: int = 256  # D
    depth: int = 4  # blocks
    heads: int = 8  # h
    mlp_ratio: float = 3.0
    kept_patches: float = 160 / 196  # fraction of the patches that patch pooling keeps
    kept_tokens: float = 0.9  # fraction that each block of the second half keeps

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("kept_patches", "kept_tokens"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie above 0, up to 1, got {getattr(self, name)}")
        if self.mlp_ratio <= 0:
            raise ValueError(f"mlp_ratio must be positive, got {self.mlp_ratio}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must divide by heads {self.heads}")


def top(weight: torch.Tensor, count: int) -> torch.Tensor:
    """Indices (B, count) of the largest weights (B, N), ascending."""
    return weight.topk(count, 1).indices.sort(1).values


def _take(tokens: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Tokens (B, N, D) at indices (B, n)."""
    return tokens.gather(1, indices[:, :, None].expand(-1, -1, tokens.shape[2]))


class PoolingBlock(nn.Module):
    """Pre-norm self-attention and MLP; between them, the least attended tokens are dropped.

    Args:
        config: Sizes.
        kept: Number of tokens to keep beside the class token; None: all.
    """

    def __init__(self, config: ApvitConfig, kept: int | None) -> None:
        super().__init__()
        d, hidden = config.width, int(config.width * config.mlp_ratio)
        self.heads, self.kept = config.heads, kept
        self.norm_attention = nn.LayerNorm(d, _EPSILON)
        self.query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d)
        self.norm_mlp = nn.LayerNorm(d, _EPSILON)
        self.mlp = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens (B, N, D) to (B, 1 + kept, D)."""
        b, n, d = x.shape
        h = self.heads
        together = self.query_key_value(self.norm_attention(x)).view(b, n, 3, h, d // h)
        q, k, v = together.permute(2, 0, 3, 1, 4)  # (B, h, N, D/h) each
        logits = q @ k.transpose(-2, -1) / math.sqrt(d // h)  # (B, h, N, N)
        attended = (logits.softmax(-1) @ v).transpose(1, 2).reshape(b, n, d)
        x = x + self.out(attended)
        if self.kept is not None:
            weight = logits[:, :, 0, 1:].detach().sum(1)  # (B, N - 1), before the softmax
            x = torch.cat([x[:, :1], _take(x[:, 1:], top(weight, self.kept))], 1)
        y: torch.Tensor = x + self.mlp(self.norm_mlp(x))
        return y


class Apvit(Network):
    """The network.

    Args:
        config: Sizes.
    """

    config: ApvitConfig

    def __init__(self, config: ApvitConfig) -> None:
        super().__init__(config)
        self.stem.end_at_fine()
        d, side = config.width, config.crop_px // self.stem.fine_reduction
        self.project = nn.Conv2d(self.stem.fine_channels, d, 1)
        self.position = nn.Parameter(torch.empty(1, side * side, d))
        self.cls = nn.Parameter(torch.empty(1, 1, d))
        self.kept = n = max(round(config.kept_patches * side * side), 1)
        blocks = []
        for i in range(config.depth):
            pools = i >= config.depth // 2 and config.kept_tokens < 1
            n = max(int(config.kept_tokens * n), 1) if pools else n
            blocks.append(PoolingBlock(config, n if pools else None))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(d, _EPSILON)
        self.head = nn.Linear(d, config.n_classes)
        for parameter in (self.position, self.cls):
            nn.init.trunc_normal_(parameter, std=0.02)
        for layer in (m for block in self.blocks for m in block.modules()):
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map (B, C', H', W'); no auxiliary tensors."""
        patches = self.project(fine).flatten(2).transpose(1, 2)  # (B, H'W', D)
        tokens = patches + self.position
        if self.config.kept_patches < 1:
            tokens = _take(tokens, top(patches.detach().abs().sum(2), self.kept))
        tokens = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return Output(self.head(self.norm(tokens[:, 0])))


NETWORK = NetworkKind(
    title="APViT, compact",
    source="after the authors' public code, narrower and without their pretrained transformer",
    citation="""@article{Xue2023,
  author  = {Xue, Fanglei and Wang, Qiangchang and Tan, Zichang and Ma, Zhongsong and Guo, Guodong},
  title   = {Vision Transformer With Attentive Pooling for Robust Facial Expression Recognition},
  journal = {IEEE Transactions on Affective Computing},
  volume  = {14},
  number  = {4},
  pages   = {3244--3256},
  year    = {2023},
  doi     = {10.1109/TAFFC.2022.3226473}
}""",
    config=ApvitConfig,
    build=Apvit,
    tunable=("kept_patches", "kept_tokens"),
)
