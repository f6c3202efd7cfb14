"""Uncertain label correction: confidence ranked, templates of classes, labels mixed.

Liu et al. 2022, arXiv 2204.11053 (ULC-AG), whose abstract names the three parts. Ranking is that
of SCN's public code (Wang et al. 2020, arXiv 2002.10392, Eq. 3). Templates and mixing are a
reconstruction.

Shapes: B faces, K classes, F semantic features, N nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.losses import soft_cross_entropy
from jadfer_cli.expression.networks.base import Output


@dataclass(frozen=True)
class CorrectionOptions:
    """Options of uncertain label correction.

    Raises:
        OptionError: A value is out of range.
    """

    confident: float = 0.7  # fraction of each batch that counts as confident
    rank_margin: float = 0.15  # between mean confidence of the confident and of the rest
    rank_weight: float = 1.0
    activity_weight: float = 0.5  # of the graph branch
    relabel_rho: float = 0.6  # weight of the templates' opinion on unsure faces; 0 for none
    relabel_tau: float = 0.1  # temperature of the cosines with the templates
    relabel_from: float = 0.2  # fraction of the epochs before faces are relabelled
    template_decay: float = 0.99  # of the moving means, per batch

    def __post_init__(self) -> None:
        for name in ("confident", "relabel_rho", "relabel_from", "template_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} must lie between 0 and 1, not {getattr(self, name)}.")
        for name in ("rank_margin", "rank_weight", "activity_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise OptionError(f"{name} must be at least 0, not {getattr(self, name)}.")
        if not self.relabel_tau > 0:
            raise OptionError(f"relabel_tau must be above 0, not {self.relabel_tau}.")


def confident_faces(alpha: torch.Tensor, fraction: float) -> torch.Tensor:
    """True (B,) for the floor(fraction x B) faces of highest confidence (B,)."""
    chosen = torch.zeros_like(alpha, dtype=torch.bool)
    chosen[alpha.detach().topk(int(fraction * len(alpha))).indices] = True
    return chosen


def rank_loss(alpha: torch.Tensor, fraction: float, margin: float) -> torch.Tensor:
    """max(0, margin - (mean confidence of the confident faces - mean of the rest))."""
    confident = confident_faces(alpha, fraction)
    if confident.all() or not confident.any():
        return alpha.new_zeros(())
    return torch.relu(margin - (alpha[confident].mean() - alpha[~confident].mean()))


@torch.no_grad()
def update_templates(
    templates: torch.Tensor, semantic: torch.Tensor, targets: torch.Tensor, decay: float
) -> None:
    """Moves each class's template to the mean of its faces, in place.

    Args:
        templates: (K, F), zeros where a class has not been seen.
        semantic: (B', F), of confident faces.
        targets: (B', K); the greatest entry is a face's class.
        decay: 0 takes the new mean alone; a class seen for the first time does so anyway.
    """
    classes = targets.argmax(1)
    for c in sorted(set(classes.tolist())):
        mean = semantic[classes == c].mean(0).to(templates)
        seen = bool(templates[c].any())
        templates[c] = decay * templates[c] + (1 - decay) * mean if seen else mean


@torch.no_grad()
def opinions(semantic: torch.Tensor, templates: torch.Tensor, tau: float) -> torch.Tensor:
    """Class probabilities (B, K) by templates: softmax of cosine / tau.

    A class without a template gets 0.

    Args:
        semantic: (B, F).
        templates: (K, F), of which at least one is not zero.
        tau: Temperature.
    """
    cosines = functional.normalize(semantic, dim=1) @ functional.normalize(templates, dim=1).T
    missing = ~templates.any(1)
    return (cosines / tau).masked_fill(missing, float("-inf")).softmax(1)


def relabelled(
    output: Output, targets: torch.Tensor, progress: float, options: CorrectionOptions
) -> torch.Tensor:
    """Targets (B, K) of a training batch: those of unsure faces mixed with the templates' opinion.

    Also moves the templates, which are a buffer of the network.

    Args:
        output: Of a network of `expression.networks.ulc`, in training.
        targets: (B, K), label distributions.
        progress: Finished epochs as a fraction of all.
        options: When, and how much.
    """
    o, found = options, output.auxiliary
    templates, semantic = found["templates"], found["semantic"].float()
    confident = confident_faces(found["alpha"].float(), o.confident)
    update_templates(templates, semantic[confident], targets[confident], o.template_decay)
    if progress < o.relabel_from or o.relabel_rho == 0 or not templates.any():
        return targets
    mixed = (1 - o.relabel_rho) * targets + o.relabel_rho * opinions(
        semantic, templates, o.relabel_tau
    )
    return torch.where(confident[:, None], targets, mixed)


def correction_loss(
    output: Output, targets: torch.Tensor, active: torch.Tensor, options: CorrectionOptions
) -> torch.Tensor:
    """Soft cross-entropy + weighted rank loss + weighted loss of the graph branch.

    Args:
        output: Of a network of `expression.networks.ulc`, in training.
        targets: (B, K), after `relabelled`.
        active: (B, N), which nodes are active in each face; NaN where that is not known.
        options: Weights.
    """
    total = soft_cross_entropy(output.logits, targets)
    if options.rank_weight:
        alpha = output.auxiliary["alpha"].float()
        rank = rank_loss(alpha, options.confident, options.rank_margin)
        total = total + options.rank_weight * rank
    if options.activity_weight:
        known = torch.isfinite(active)
        guesses = output.auxiliary["activity"].float()
        errors = functional.binary_cross_entropy_with_logits(
            guesses, active.nan_to_num(), reduction="none"
        )
        activity = (errors * known).sum() / known.sum().clamp_min(1)
        total = total + options.activity_weight * activity
    return total
