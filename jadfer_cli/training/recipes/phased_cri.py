"""Phased progressive learning with coupling-regulation loss (Xu et al. 2022, arXiv 2205.12117).

For long-tailed data: margins of LDAM (Cao et al. 2019, arXiv 1906.07413), the focus on hard
images of focal loss (Lin et al. 2017, arXiv 1708.02002), a bounded loss for outliers, and class
weights that set in late. With p the probability of the true class c after its scaled cosine has
lost s m_c,

    loss = w_c (1 - p)^gamma (-log p),    m_c ~ n_c^(-1/4) with maximum 0.5,    w_c ~ n_c^(-a)

An image is an outlier if the probability q of its class, before the margin, is below q0. There the
loss goes on as its tangent at q0, so that no outlier has a gradient above that of q0 with respect
to q. (Judged after the margin, every image of a small class would be an outlier: a margin of 0.5
at scale 30 divides its odds by three million, and the class would not be learned.) The exponent a
is 0 in the first 60 % of the epochs, which learn features, and grows to 1 at 80 %.

A reconstruction: of the paper only the abstract was at hand; it names the three parts and the
schedule. LDAM and focal loss follow their public formulas and code. Chosen here: the tangent as
the correction, q0, gamma, and the times of the schedule. A label distribution t costs
sum_c t_c loss_c. Weights are divided by their mean over the batch, as in LDAM's code. The paper
was tested on CIFAR, ImageNet and iNaturalist, not on faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch, Recipe


@dataclass(frozen=True)
class PhasedCriOptions:
    """Options of the coupling-regulation loss.

    Raises:
        OptionError: A value is out of range.
    """

    max_margin: float = 0.5  # of the smallest class, in cosines
    gamma: float = 1.0  # focus on hard images; 0 for none
    correction: float = 0.05  # q0, below which the loss is linear in q; 0 for none
    phase_begin: float = 0.6  # fraction of the epochs after which class weights set in
    phase_end: float = 0.8  # and from which they are full
    last_exponent: float = 1.0  # a from then on

    def __post_init__(self) -> None:
        for name in ("max_margin", "gamma", "last_exponent"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise OptionError(f"{name} must be at least 0, not {getattr(self, name)}.")
        if not 0 <= self.correction < 1:
            raise OptionError(f"correction must be at least 0 and below 1, not {self.correction}.")
        if not 0 <= self.phase_begin <= self.phase_end <= 1:
            raise OptionError(
                "phase_begin and phase_end must lie between 0 and 1 in this order, not "
                f"{self.phase_begin} and {self.phase_end}."
            )


def margins(counts: torch.Tensor, greatest: float) -> torch.Tensor:
    """Margins (K,) ~ counts ** -1/4, that of the smallest class being `greatest`."""
    relative = counts.clamp_min(1).double() ** -0.25
    return (relative * (greatest / relative.max())).float()


def exponent(epoch: int, epochs: int, options: PhasedCriOptions) -> float:
    """The exponent a of the class weights in an epoch (finished epochs, of `epochs`)."""
    begin, end = options.phase_begin * epochs, options.phase_end * epochs
    if epoch < begin:
        return 0.0
    if epoch >= end:
        return options.last_exponent
    return options.last_exponent * (epoch - begin) / (end - begin)


def log_true(logits: torch.Tensor, reduced_by: torch.Tensor) -> torch.Tensor:
    """Log-probability (B, K) of each class c if it is the true one, and its logit is reduced.

    Args:
        logits: (B, K).
        reduced_by: (K,), what the logit of the true class loses.
    """
    k = logits.shape[1]
    # row c: the logits if c is the true class
    rows = logits[:, None, :] - torch.diag(reduced_by)  # (B, K, K)
    return rows.log_softmax(-1)[:, range(k), range(k)]


def focal(log_p: torch.Tensor, gamma: float) -> torch.Tensor:
    """(1 - p)^gamma (-log p) of log-probabilities of any shape; gamma 0 is cross-entropy."""
    if gamma == 0:
        return -log_p
    # the base is kept off 0, where a power below 1 has an infinite gradient
    return (1 - log_p.exp()).clamp_min(1e-7) ** gamma * -log_p


def tangent(
    q: torch.Tensor, reduced_by: torch.Tensor, gamma: float, correction: float
) -> torch.Tensor:
    """The tangent of the focal loss at q0, as a function of the probability before the margin.

    A logit that loses r turns q into p = q e^-r / (q e^-r + 1 - q).

    Args:
        q: (..., K), probabilities of the true class before the margin.
        reduced_by: (K,), r, what the logit of the true class loses.
        gamma: Focus of the loss.
        correction: q0.
    """
    kept = (-reduced_by.double()).exp()
    odds = correction * kept + 1 - correction
    p = correction * kept / odds
    slope = gamma * (1 - p) ** (gamma - 1) * p.log() - (1 - p) ** gamma / p
    slope = slope * kept / odds**2  # dp/dq
    at = (1 - p) ** gamma * -p.log()
    return at.to(q) + slope.to(q) * (q - correction)


def coupling_regulation(
    logits: torch.Tensor,
    targets: torch.Tensor,
    counts: torch.Tensor,
    *,
    scale: float,
    a: float,
    options: PhasedCriOptions,
) -> torch.Tensor:
    """The loss of a batch, a scalar.

    Args:
        logits: (B, K), `scale` times cosines.
        targets: (B, K), label distributions.
        counts: (K,), images of each class.
        scale: s.
        a: Exponent of the class weights.
        options: Margin, focus and correction.
    """
    reduced_by = scale * margins(counts, options.max_margin)
    losses = focal(log_true(logits, reduced_by), options.gamma)  # (B, K)
    if options.correction:
        q = logits.softmax(-1)
        outliers = tangent(q, reduced_by, options.gamma, options.correction)
        losses = torch.where(q < options.correction, outliers, losses)
    weighted = targets * counts.clamp_min(1).float() ** -a  # (B, K)
    return (weighted * losses).sum() / weighted.sum()


def loss(output: Output, batch: Batch, options: PhasedCriOptions) -> torch.Tensor:
    """The coupling-regulation loss of this epoch."""
    return coupling_regulation(
        output.logits, batch.targets, batch.statistics["class_counts"],
        scale=float(output.auxiliary["scale"]), a=exponent(batch.epoch, batch.epochs, options),
        options=options,
    )  # fmt: skip


RECIPE = Recipe(
    architecture="phased-cri",
    title="phased progressive learning with coupling-regulation loss",
    source="a reconstruction from the abstract and the public code of LDAM and focal loss",
    citation="""@misc{Xu2022,
  author = {Xu, Liang and Cheng, Yi and Zhang, Fan and Wu, Bingxuan and Shao, Pengfei
            and Liu, Peng and Shen, Shuwei and Yao, Peng and Xu, Ronald X.},
  title  = {Phased Progressive Learning with Coupling-Regulation-Imbalance Loss for Imbalanced
            Data Classification},
  year   = {2022},
  note   = {arXiv:2205.12117}
}""",
    kind="reconstruction",
    needs=(),
    loss=loss,
    options=PhasedCriOptions,
    # weights replace balanced draws, and margins need targets that are not smoothed
    defaults={"balance": 0.0, "label_smoothing": 0.0},
)
