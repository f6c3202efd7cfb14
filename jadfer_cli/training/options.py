"""The options of a training that all recipes share, each with its default."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.networks.base import NetworkConfig
from jadfer_cli.labels import LABELS
from jadfer_cli.training.augment import AugmentOptions

SCHEDULES = ("cosine", "trapezoid", "step", "exponential")
OPTIMISERS = ("adamw", "sam", "sgd", "adam")
TRAIN_PRECISIONS = ("fp32", "bf16")
_CHOICES = {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "precision": TRAIN_PRECISIONS}
_MINIMA = {
    "epochs": 1, "batch_size": 2, "lr": 0, "stem_lr": 0, "weight_decay": 0, "sam_rho": 0,
    "warmup": 0, "cooldown": 0, "balance": 0, "seed": 0, "label_smoothing": 0, "ema": 0,
    "teacher_weight": 0,
}  # fmt: skip


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides a training apart from data and start weights.

    `recipe_options.defaults` makes them for a recipe.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    recipe: str  # a name of `training.recipes`
    network: NetworkConfig
    own: Any  # the recipe's own options, of the class `Recipe.options`
    augmentation: AugmentOptions = field(default_factory=AugmentOptions)
    epochs: int = 30
    batch_size: int = 64
    # adamw; sam: AdamW on sharpness-aware gradients, at twice the time; sgd: momentum 0.9; adam
    optimiser: str = "adamw"
    lr: float = 1e-3  # of the new modules, at its peak
    stem_lr: float = 3e-4
    weight_decay: float = 0.05
    sam_rho: float = 0.05  # radius of sam
    # cosine; trapezoid: constant, then linear to 0 in `cooldown` epochs; step: x 0.1 every ten
    # epochs; exponential: x 0.9 every epoch
    schedule: str = "cosine"
    warmup: float = 1.0  # epochs
    cooldown: float = 4.0  # epochs; of trapezoid
    label_smoothing: float = 0.05
    teacher_weight: float = 0.5  # weight of the teachers' probabilities in the targets, if any
    balance: float = 0.25  # an image is drawn with weight (size of its class) ** -balance
    ema: float = 0.998  # decay of the averaged weights per step
    frozen_blocks: int | None = None  # freeze the stem's entry and this many of its blocks
    precision: str = "fp32"  # fp32 or bf16 (autocast)
    seed: int = 0
    workers: int | None = None  # processes that prepare crops; None: depends on the cores

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)}."
                )
        for name, least in _MINIMA.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise OptionError(f"{name} must be at least {least}, not {value}.")
        for name in ("label_smoothing", "ema"):
            if getattr(self, name) >= 1:
                raise OptionError(f"{name} must be below 1, not {getattr(self, name)}.")
        if self.teacher_weight > 1:
            raise OptionError(f"teacher_weight must be at most 1, not {self.teacher_weight}.")
        if self.network.n_classes != len(LABELS):
            raise OptionError(
                f"network.n_classes must be {len(LABELS)}, not {self.network.n_classes}."
            )
        for name in ("frozen_blocks", "workers"):
            if (getattr(self, name) or 0) < 0:
                raise OptionError(f"{name} must be zero or more, not {getattr(self, name)}.")
