"""Loss functions for training, of label distributions and of attention maps."""

from __future__ import annotations

import torch
from torch import nn

VARIETY_KINDS = ("cosine", "centred", "partition", "none")


def soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with target distributions, averaged over the batch.

    Args:
        logits: (B, K).
        target: (B, K), rows sum to 1.
    """
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def variety_loss(maps: torch.Tensor, kind: str = "cosine", margin: float = 0.2) -> torch.Tensor:
    """Penalises spatial paths whose maps overlap.

    The abstract of Gao et al. 2025 names a Variety loss and gives no formula.

    Args:
        maps: (B, N, H, W), not negative.
        kind: `cosine`: mean over path pairs of relu(cos(M_i, M_j) - margin), between 0 and
            1 - margin; `centred`: the same after each path's mean map over the batch is
            subtracted, so that paths cannot differ by what they show of every face; `partition`:
            log(1 + N / mean variance over the paths), Wen et al. 2021 (DAN, arXiv 2109.07270),
            Eq. 8; `none`: 0.
        margin: Cosine below which two maps count as different.

    Returns:
        A scalar; 0 for fewer than two paths.

    Raises:
        ValueError: An unknown kind.
    """
    if kind not in VARIETY_KINDS:
        raise ValueError(f"kind must be one of {VARIETY_KINDS}, got {kind!r}")
    n = maps.shape[1]
    if n < 2 or kind == "none":
        return maps.new_zeros(())
    flat = maps.float().flatten(2)  # (B, N, HW)
    if kind == "partition":
        variance = flat.var(1, unbiased=False).mean()
        return torch.log1p(n / (variance + 1e-6))
    if kind == "centred":
        flat = flat - flat.mean(0, keepdim=True)
    unit = nn.functional.normalize(flat, dim=-1)
    cosine = unit @ unit.transpose(1, 2)  # (B, N, N)
    pairs = torch.triu_indices(n, n, 1, device=maps.device)
    return torch.relu(cosine[:, pairs[0], pairs[1]] - margin).mean()
