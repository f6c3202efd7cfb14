"""The recipe of a training run: every value with its default, once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.checkpoint import LABELS
from jadfer_cli.expression.losses import VARIETY_KINDS
from jadfer_cli.expression.networks.config import JadferConfig
from jadfer_cli.training.augment import AugmentOptions

SCHEDULES = ("cosine", "trapezoid")
OPTIMISERS = ("adamw", "sam")
TRAIN_PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class TrainOptions:
    """One training run.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    network: JadferConfig = field(default_factory=JadferConfig)
    augmentation: AugmentOptions = field(default_factory=AugmentOptions)
    epochs: int = 30
    batch_size: int = 64
    optimiser: str = "adamw"  # adamw; sam: AdamW on sharpness-aware gradients, twice the time
    lr: float = 1e-3  # of the new modules, at the peak
    stem_lr: float = 3e-4
    weight_decay: float = 0.05
    sam_rho: float = 0.05  # radius of sam
    schedule: str = "cosine"  # cosine; trapezoid: constant, then down in `cooldown` epochs
    warmup: float = 1.0  # epochs
    cooldown: float = 4.0  # epochs; of trapezoid
    variety: str = "cosine"  # one of losses.VARIETY_KINDS
    variety_weight: float = 0.1  # lambda
    label_smoothing: float = 0.05
    teacher_weight: float = 0.5  # share of the teacher's probabilities in the targets, if any
    balance: float = 0.25  # an image is drawn with weight (size of its class) ** -balance
    ema: float = 0.998  # decay of the averaged weights, a step
    frozen_blocks: int | None = None  # the stem's entry and so many blocks stay as they are
    precision: str = "fp32"  # fp32 or bf16 (autocast)
    seed: int = 0
    workers: int | None = None  # processes that prepare crops; None: by the cores

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimiser", OPTIMISERS),
            ("schedule", SCHEDULES),
            ("variety", VARIETY_KINDS),
            ("precision", TRAIN_PRECISIONS),
        ):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)}."
                )
        at_least = {
            "epochs": 1, "batch_size": 2, "lr": 0, "stem_lr": 0, "weight_decay": 0, "sam_rho": 0,
            "warmup": 0, "cooldown": 0, "variety_weight": 0, "balance": 0, "seed": 0,
            "label_smoothing": 0, "ema": 0, "teacher_weight": 0,
        }  # fmt: skip
        for name, least in at_least.items():
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


def as_table(options: TrainOptions) -> dict[str, Any]:
    """The options as nested tables for TOML; what is None is left out."""

    def clean(table: dict[str, Any]) -> dict[str, Any]:
        return {
            key: clean(value) if isinstance(value, dict) else value
            for key, value in table.items()
            if value is not None
        }

    return clean(dataclasses.asdict(options))


def from_table(table: Mapping[str, Any], base: TrainOptions | None = None) -> TrainOptions:
    """Options from nested tables; what a table does not name stays as in `base`.

    Raises:
        OptionError: An unknown name, or a value of the wrong type or range.
    """
    base = base or TrainOptions()
    changes: dict[str, Any] = {}
    for key, value in table.items():
        if key in ("network", "augmentation"):
            if not isinstance(value, Mapping):
                raise OptionError(f"{key} must be a table, not {value!r}.")
            changes[key] = _replaced(getattr(base, key), value, f"{key}.")
        else:
            changes[key] = value
    options: TrainOptions = _replaced(base, changes, "")
    return options


def _replaced(options: Any, changes: Mapping[str, Any], prefix: str) -> Any:
    types = {f.name: f for f in dataclasses.fields(options)}
    good = {}
    for key, value in changes.items():
        if key not in types:
            raise OptionError(
                f"The recipe has no {prefix}{key}.",
                f"It has: {', '.join(prefix + t for t in types)}.",
            )
        current = getattr(options, key)
        if isinstance(current, tuple) and isinstance(value, list):
            value = tuple(value)
        if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        expected = int if current is None else type(current)
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise OptionError(f"{prefix}{key} must be of type {expected.__name__}, not {value!r}.")
        good[key] = value
    try:
        return dataclasses.replace(options, **good)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{prefix.removesuffix('.') or 'recipe'}: {error}.") from error
