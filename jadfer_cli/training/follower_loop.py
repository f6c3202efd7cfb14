"""Trains the follower, resumably, and measures it on faces held out."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import TrainingError
from jadfer_cli.faces.follower import INTEROCULAR_PX
from jadfer_cli.training.follower_faces import FaceBank
from jadfer_cli.training.follower_network import FollowerNetwork, FollowerOutput
from jadfer_cli.training.follower_views import View, ViewOptions, make_view

STATE = "state.pt"
_BATCH = 128
_LARGEST_ERROR = 0.35  # interocular; of worse landmarks the target is doubtful


@dataclass(frozen=True)
class FollowerOptions:
    """How the follower is trained.

    Attributes:
        steps: Optimiser steps, of 128 views each.
        lr: Largest learning rate; it rises in the first steps and falls as a cosine.
        weight_decay: Of AdamW.
        averaging: Decay of the running average of the weights.
        presence_weight, error_weight: Of those losses; that of the landmarks is 1.
        seed: Seeds views and weights.
        views: How views are made.
    """

    steps: int = 6000
    lr: float = 3e-3
    weight_decay: float = 0.02
    averaging: float = 0.998
    presence_weight: float = 0.5
    error_weight: float = 0.1
    seed: int = 0
    views: ViewOptions = field(default_factory=ViewOptions)


def batch_of(
    banks: Sequence[FaceBank],
    weights: Sequence[float],
    options: ViewOptions,
    seed: tuple[int, ...],
    n: int = _BATCH,
) -> list[View]:
    """Random views of random faces; each bank has a share of them by its weight."""
    rng = np.random.default_rng(seed)
    shares = np.array(weights, float) / np.sum(weights)
    views = []
    for _ in range(n):
        bank, other = (banks[i] for i in rng.choice(len(banks), 2, p=shares))
        i, j = rng.integers(len(bank)), rng.integers(len(other))
        landmarks = bank.landmarks_px[i].astype(np.float64)
        views.append(make_view(bank.pictures[i], landmarks, other.pictures[j], options, rng))
    return views


def tensors(views: list[View]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops (B, 1, S, S), landmarks (B, 5, 2) and presence (B,) of views."""
    crops = torch.from_numpy(np.stack([view.crop for view in views]))[:, None]
    landmarks = torch.from_numpy(np.stack([view.landmarks for view in views]))
    presence = torch.tensor([view.presence for view in views], dtype=torch.float32)
    return crops, landmarks, presence


def loss(
    output: FollowerOutput,
    landmarks: torch.Tensor,
    presence: torch.Tensor,
    options: FollowerOptions,
) -> torch.Tensor:
    """Error of the landmarks, in interocular distances, of presence, and of the error foretold.

    The error is foretold as the mean of an exponential distribution, by its likelihood; that
    part has no influence on the landmarks.
    """
    face = presence != 0  # also where presence may be either
    distance = (output.landmarks - landmarks).abs().sum(-1).mean(-1) / INTEROCULAR_PX  # (B,)
    n_faces = face.sum().clamp(min=1)
    placed = distance[face].clamp(max=4 * _LARGEST_ERROR).sum() / n_faces
    log_error = (output.log_error - math.log(INTEROCULAR_PX))[face]
    foretold = (log_error + distance.detach()[face] * torch.exp(-log_error)).sum() / n_faces
    known = presence.isfinite()
    there = F.binary_cross_entropy_with_logits(output.presence[known], presence[known])
    return placed + options.presence_weight * there + options.error_weight * foretold


def train(
    banks: Sequence[FaceBank],
    weights: Sequence[float],
    out: Path,
    options: FollowerOptions,
    progress: Callable[[int, dict[str, float]], None],
    *,
    report_every: int = 400,
) -> FollowerNetwork:
    """Trains the network; a run that was stopped continues from its last report.

    Args:
        banks: Faces; those held out are for `measure` only.
        weights: Share of each bank in the views.
        out: The run's folder.
        options: All options.
        progress: Called with the number of steps and the figures on faces held out.
        report_every: Steps between reports, at which the state is kept.

    Raises:
        TrainingError: The folder holds a run with other options.
        OutputError: The state cannot be written.
    """
    torch.manual_seed(options.seed)
    training = [bank.take(~bank.held_out) for bank in banks]
    valid = [bank.take(bank.held_out) for bank in banks]
    network = FollowerNetwork()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(
        network.parameters(), options.lr, weight_decay=options.weight_decay
    )
    key = str(dataclasses.asdict(options))
    first = _resume(out / STATE, key, network, averaged, optimiser)
    for step in range(first, options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.lr * _lr_factor(step, options.steps)
        crops, landmarks, presence = tensors(
            batch_of(training, weights, options.views, (options.seed, step))
        )
        network.train()
        value = loss(network(crops), landmarks, presence, options)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        _average(averaged, network, options.averaging)
        done = step + 1
        if done % report_every == 0 or done == options.steps:
            state = {
                "key": key, "step": done, "network": network.state_dict(),
                "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict(),
            }  # fmt: skip
            with atomic_write(out / STATE) as part:
                torch.save(state, part)
            figures = measure(averaged, valid, weights)
            progress(done, {"loss": value.item(), **figures})
    return averaged.eval()


@torch.no_grad()
def _average(averaged: FollowerNetwork, network: FollowerNetwork, decay: float) -> None:
    """Moves a running average of the weights; statistics of batches are averages already."""
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, current in zip(averaged.buffers(), network.buffers(), strict=True):
        kept.copy_(current)


def _lr_factor(step: int, steps: int) -> float:
    warm = min(200, max(steps // 20, 1))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def _resume(path: Path, key: str, network: Any, averaged: Any, optimiser: Any) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state["key"] != key:
        raise TrainingError(
            f"{path.parent} holds a follower that was trained with other options.",
            "Choose another folder, or delete it.",
        )
    network.load_state_dict(state["network"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


@torch.no_grad()
def measure(
    network: FollowerNetwork,
    banks: Sequence[FaceBank],
    weights: Sequence[float],
    views: ViewOptions | None = None,
    n: int = 1024,
) -> dict[str, float]:
    """Figures on random views of faces held out, always the same ones.

    Args:
        network: The network.
        banks: Faces; banks without any are left out.
        weights: Share of each bank.
        views: How views are made; None as in training.
        n: Number of views.

    Returns:
        `error`, the mean error of landmarks in interocular distances, `error_90`, its 90th
        percentile, `correlation` of its logarithm with that foretold, `missed`, the share of faces
        called absent, and, if there are any, `false`, the share of views without a face called
        present.
    """
    network.eval()
    some = [(bank, w) for bank, w in zip(banks, weights, strict=True) if len(bank)]
    drawn = batch_of([b for b, _ in some], [w for _, w in some], views or ViewOptions(), (9, 9), n)
    distance, log_error, present, truth = [], [], [], []
    for part in _parts(drawn):
        crops, landmarks, presence = tensors(part)
        output = network(crops)
        distance.append((output.landmarks - landmarks).norm(dim=-1).mean(-1) / INTEROCULAR_PX)
        log_error.append(output.log_error)
        present.append(output.presence > 0)
        truth.append(presence)
    d, e, p, t = (torch.cat(values).numpy() for values in (distance, log_error, present, truth))
    face, none = t == 1, t == 0
    return {
        "error": float(d[face].mean()),
        "error_90": float(np.quantile(d[face], 0.9)),
        "correlation": float(np.corrcoef(np.log(d[face] + 1e-6), e[face])[0, 1]),
        "missed": float((~p[face]).mean()),
        **({"false": float(p[none].mean())} if none.any() else {}),
    }


def _parts(views: list[View]) -> Iterator[list[View]]:
    for begin in range(0, len(views), _BATCH):
        yield views[begin : begin + _BATCH]
