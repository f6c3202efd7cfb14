"""Parts of an optimisation step: schedules, averaged weights, sharpness-aware gradients."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from jadfer_cli.training.options import TrainOptions


def lr_factor(options: TrainOptions, steps_per_epoch: int, step: int) -> float:
    """Fraction of the peak learning rate: linear warm-up, then the schedule."""
    steps, warm = options.epochs * steps_per_epoch, options.warmup * steps_per_epoch
    if step < warm:
        return (step + 1) / (warm + 1)
    if options.schedule == "step":
        return float(0.1 ** (step // (10 * steps_per_epoch)))
    if options.schedule == "exponential":
        return float(0.9 ** (step // steps_per_epoch))
    if options.schedule == "trapezoid":
        return max(min(1.0, (steps - step) / max(options.cooldown * steps_per_epoch, 1)), 0.0)
    return 0.5 * (1 + math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1)))


def optimiser_of(groups: list[dict[str, Any]], options: TrainOptions) -> torch.optim.Optimizer:
    """The optimiser that the option names, on the network's parameter groups."""
    if options.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    if options.optimiser == "adam":
        return torch.optim.Adam(groups)
    return torch.optim.AdamW(groups)  # sam, too: it changes the gradients only


def moving_average(decay: float) -> Callable[..., None]:
    """An exponential moving average for `AveragedModel`.

    Its decay grows from 0.1 to `decay`, so that the average of a short run follows it, too.
    """

    def update(averaged: Any, current: Any, n_averaged: Any) -> None:
        n = int(n_averaged)
        now = min(decay, (1 + n) / (10 + n))
        torch.optim.swa_utils.get_ema_multi_avg_fn(now)(averaged, current, n_averaged)  # type: ignore[no-untyped-call]

    return update


@contextlib.contextmanager
def shifted(network: nn.Module, rho: float) -> Iterator[None]:
    """Weights moved up the gradient by `rho` (Foret et al. 2021, arXiv 2010.01412, Eq. 2)."""
    climbing = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    norm = torch.stack([gradient.norm() for _, gradient in climbing]).norm()
    before = [(p, p.detach().clone()) for p, _ in climbing]  # restores every bit
    with torch.no_grad():
        for parameter, gradient in climbing:
            parameter.add_(gradient * (rho / (norm + 1e-12)))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)


@contextlib.contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch without updating its running statistics."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
