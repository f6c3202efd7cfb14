"""Multi-head attention with joint attention dropping (JAD), and the blocks made of it.

Shapes: B faces, h heads, D width, Nq queries, Nk keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import NetworkConfig

JAD_READINGS = ("none", "heads", "queries", "similar", "random")
JAD_AMOUNTS = ("mass", "count")


@dataclass(frozen=True)
class AttentionConfig(NetworkConfig):
    """The fields of a network's config that attention needs.

    Raises:
        ValueError: A value is unknown or out of range, or sizes do not divide.
    """

    width: int = 256  # D
    heads: int = 8  # h
    mlp_ratio: float = 2.0
    drop_path: float = 0.1  # probability that a face skips a block's attention or MLP
    jad_p: float = 0.5  # probability that a sample's attention is dropped, in training only
    jad_rho: float = 0.3  # fraction that is dropped
    jad_amount: str = "mass"  # of what: one of JAD_AMOUNTS
    jad_tau: float = 0.9  # reading `similar`: cosine above which two heads are similar

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jad_amount not in JAD_AMOUNTS:
            raise ValueError(f"jad_amount must be one of {JAD_AMOUNTS}, got {self.jad_amount!r}")
        for name in ("width", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.mlp_ratio < 0:
            raise ValueError(f"mlp_ratio must not be negative, got {self.mlp_ratio}")
        for name in ("drop_path", "jad_p", "jad_rho"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must divide by heads {self.heads}")


@torch.no_grad()
def joint_attention_mask(
    attention: torch.Tensor,
    reading: str,
    rho: float,
    *,
    n_cls: int = 0,
    tau: float = 0.9,
    amount: str = "count",
) -> torch.Tensor:
    """Selects the attention weights that JAD drops.

    Args:
        attention: (B, h, Nq, Nk), rows sum to 1.
        reading: What "joint" means, one of JAD_READINGS. `heads`: keys that all heads of a query
            attend to; `queries`: keys that all queries attend to; `similar`: peaks that two
            similar heads share, dropped from the weaker head; `random`: keys at random until the
            same amount is dropped, as a control.
        rho: Fraction that is dropped, 0 to 1; of what, `amount` says.
        n_cls: The first `n_cls` keys are never dropped.
        tau: Cosine above which two heads count as similar.
        amount: `count`: ceil(rho * Nk) keys; `mass`: the most joint keys in order until their
            attention, averaged over the rows that lose them, adds up to rho. The key that exceeds
            rho is dropped by chance, so that every reading drops rho on average. `similar` always
            counts.

    Returns:
        bool (B, h, Nq, Nk), True where a weight is dropped; at least one key per row stays.

    Raises:
        ValueError: An unknown reading.
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
    if amount == "mass":
        dropped = _up_to_mass(score, free, rho)
    else:
        dropped = torch.zeros_like(score, dtype=torch.bool)
        dropped.scatter_(-1, score.topk(count, -1).indices, True)
    mask[..., n_cls:] = dropped.expand(b, h, n_q, n_k - n_cls)
    if not n_cls:  # the last key of a row stays
        mask &= ~mask.all(-1, keepdim=True)
    return mask


def _up_to_mass(score: torch.Tensor, free: torch.Tensor, rho: float) -> torch.Tensor:
    """True for the highest scores (B, 1, Nq or 1, Nk) whose attention adds up to `rho`."""
    shared = [axis for axis in (1, 2) if score.shape[axis] == 1]
    mass = free.mean(shared, keepdim=True)  # as `score`
    order = score.argsort(-1, descending=True)
    ordered = mass.gather(-1, order)
    before = ordered.cumsum(-1) - ordered
    chance = (rho - before) / ordered.clamp_min(1e-9)  # 1 or more: within; 0 or less: beyond
    dropped = torch.rand_like(chance) < chance
    return torch.zeros_like(score, dtype=torch.bool).scatter_(-1, order, dropped)


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
    """Multi-head attention whose weights JAD can drop while training.

    Args:
        config: Sizes, and how much JAD drops.
        reading: One of JAD_READINGS.

    Attributes:
        forced: Drop in every face, and in evaluation too; for probes.
    """

    def __init__(self, config: AttentionConfig, reading: str) -> None:
        super().__init__()
        self.config, self.reading = config, reading
        self.forced = False
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
        active = self.forced or (self.training and c.jad_p > 0)
        if not active or self.reading == "none" or c.jad_rho <= 0:
            return logits
        mask = joint_attention_mask(
            logits.detach().float().softmax(-1), self.reading, c.jad_rho,
            n_cls=n_cls, tau=c.jad_tau, amount=c.jad_amount,
        )  # fmt: skip
        if not self.forced:
            mask = mask & (torch.rand(len(logits), 1, 1, 1, device=logits.device) < c.jad_p)
        dropped: torch.Tensor = logits.masked_fill(mask, float("-inf"))
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

    def __init__(self, config: AttentionConfig, reading: str, *, cross: bool) -> None:
        super().__init__()
        d, hidden = config.width, int(config.width * config.mlp_ratio)
        self.norm_query = nn.LayerNorm(d)
        self.norm_context = nn.LayerNorm(d) if cross else None
        self.attention = Attention(config, reading)
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
