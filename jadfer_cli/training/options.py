"""The options of a training, each with its default, and their form as a TOML table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jadfer_cli.errors import OptionError
from jadfer_cli.expression import networks
from jadfer_cli.expression.checkpoint import LABELS
from jadfer_cli.expression.networks.base import NetworkConfig
from jadfer_cli.training import recipes
from jadfer_cli.training.augment import AugmentOptions

SCHEDULES = ("cosine", "trapezoid")
OPTIMISERS = ("adamw", "sam")
TRAIN_PRECISIONS = ("fp32", "bf16")
_CHOICES = {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "precision": TRAIN_PRECISIONS}
_MINIMA = {
    "epochs": 1, "batch_size": 2, "lr": 0, "stem_lr": 0, "weight_decay": 0, "sam_rho": 0,
    "warmup": 0, "cooldown": 0, "balance": 0, "seed": 0, "label_smoothing": 0, "ema": 0,
    "teacher_weight": 0,
}  # fmt: skip
_TABLES = ("network", "augmentation")


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides a training apart from data and start weights; see `defaults`.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    recipe: str  # a name of `training.recipes`
    network: NetworkConfig
    own: Any  # the recipe's own options, of the class `Recipe.options`
    augmentation: AugmentOptions = field(default_factory=AugmentOptions)
    epochs: int = 30
    batch_size: int = 64
    optimiser: str = "adamw"  # adamw; sam: AdamW on sharpness-aware gradients, at twice the time
    lr: float = 1e-3  # of the new modules, at its peak
    stem_lr: float = 3e-4
    weight_decay: float = 0.05
    sam_rho: float = 0.05  # radius of sam
    schedule: str = "cosine"  # cosine; trapezoid: constant, then linear to 0 in `cooldown` epochs
    warmup: float = 1.0  # epochs
    cooldown: float = 4.0  # epochs; of trapezoid
    label_smoothing: float = 0.05
    teacher_weight: float = 0.5  # weight of the teachers' probabilities in the targets, if any
    balance: float = 0.25  # an image is drawn with weight (size of its class) ** -balance
    ema: float = 0.998  # decay of the averaged weights per step
    frozen_blocks: int | None = None  # freeze the stem's entry and so many of its blocks
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


def defaults(recipe: str = recipes.DEFAULT, *, fine_tuning: bool = False) -> TrainOptions:
    """The options of a recipe where nothing else is given.

    Args:
        recipe: A name of `training.recipes`.
        fine_tuning: Whether training starts from a whole network.

    Raises:
        OptionError: There is no such recipe.
    """
    parts = recipes.load(recipe)
    changed = {**parts.defaults, **(parts.fine_tuning if fine_tuning else {})}
    network = networks.load(parts.architecture).config()
    return TrainOptions(recipe=recipe, network=network, own=parts.options(), **changed)


def as_table(options: TrainOptions) -> dict[str, Any]:
    """The options as nested tables for TOML, without those that are None."""

    def clean(table: dict[str, Any]) -> dict[str, Any]:
        return {
            key: clean(value) if isinstance(value, dict) else value
            for key, value in table.items()
            if value is not None
        }

    return clean(flat(options))


def flat(options: TrainOptions) -> dict[str, Any]:
    """The options by name, the recipe's own beside the others."""
    table = dataclasses.asdict(options)
    own: dict[str, Any] = table.pop("own")
    return table | own


def from_table(table: Mapping[str, Any], base: TrainOptions | None = None) -> TrainOptions:
    """Options from nested tables, over those of `base`, or over the recipe's defaults.

    Raises:
        OptionError: An unknown name, or a value of the wrong type or range.
    """
    base = base or defaults(table.get("recipe", recipes.DEFAULT))
    own_names = {f.name for f in dataclasses.fields(base.own)}
    shared: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in table.items():
        if key not in flat(base):
            raise _unknown(base.recipe, key, flat(base))
        if key in _TABLES:
            if not isinstance(value, Mapping):
                raise OptionError(f"{key} must be a table, not {value!r}.")
            shared[key] = _replaced(getattr(base, key), value, base.recipe, f"{key}.")
        else:
            (own if key in own_names else shared)[key] = value
    shared["own"] = _replaced(base.own, own, base.recipe)
    options: TrainOptions = _replaced(base, shared, base.recipe)
    return options


def _unknown(recipe: str, key: str, known: Mapping[str, Any], prefix: str = "") -> OptionError:
    names = ", ".join(prefix + name for name in known)
    return OptionError(f"The recipe {recipe} has no {prefix}{key}.", f"It has: {names}.")


def _replaced(options: Any, changes: Mapping[str, Any], recipe: str, prefix: str = "") -> Any:
    """A dataclass with some values replaced, each of the type of the present one."""
    known = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    good = {}
    for key, value in changes.items():
        if key not in known:
            raise _unknown(recipe, key, known, prefix)
        current = known[key]
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
