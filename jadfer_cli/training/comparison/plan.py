"""What a comparison trains: recipes, labellings and seeds, all by the same options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jadfer_cli.errors import OptionError
from jadfer_cli.training import recipes
from jadfer_cli.training.near_duplicates import SAME_PHOTOGRAPH
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import defaults, from_table
from jadfer_cli.training.run_folder import read_config, write_config

PLAN = "comparison.toml"
BASELINE = "plain"
# What may grow from one call to the next; everything else is the same for all rows.
_GROWING = ("recipes", "labellings", "seeds", "data_sets", "fer2013")
_DECIDED_BY_THE_PLAN = ("recipe", "seed", "lr", "stem_lr", "epochs", "batch_size")


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        recipes: Names of recipes.
        labellings: As of `labellings.parse`.
        seeds: Trainings of each recipe on each labelling, with the seeds 0, 1, ...
        data_sets: Folder or file of each data set, by its layout.
        fer2013: The original labels of FER2013; None to search for them beside FER+.
        start: Every recipe starts from this model's stem, and from nothing else of it.
        end_to_end: Train the stem as well; False: train on stored maps of its front part.
        views: Stored views per training image.
        epochs: Of every training.
        batch_size: Of every training.
        lrs: Learning rates, of which validation chooses one for each recipe and labelling; empty
            for the recipe's own. The stem's rate keeps its ratio to it.
        settings: Further entries of `TrainOptions`, as nested tables, for all recipes.
        detector: Finds the landmarks that faces are aligned by.
        twin_threshold: As of `data.DataOptions`.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    recipes: tuple[str, ...] = (BASELINE, recipes.DEFAULT)
    labellings: tuple[str, ...] = ("ferplus:majority",)
    seeds: int = 3
    data_sets: Mapping[str, str] = field(default_factory=dict)
    fer2013: str | None = None
    start: str = "default"
    end_to_end: bool = False
    views: int = 2
    epochs: int = 30
    batch_size: int = 64
    lrs: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    detector: str = "auto"
    twin_threshold: float = SAME_PHOTOGRAPH

    def __post_init__(self) -> None:
        for name in ("seeds", "views", "epochs"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, not {getattr(self, name)}.")
        clash = [key for key in _DECIDED_BY_THE_PLAN if key in self.settings]
        if clash:
            raise OptionError(
                f"`set` {clash[0]}: the comparison decides this itself.",
                "Every recipe gets the same epochs and batch size; see `lr` and `seeds`.",
            )
        if len(set(self.lrs)) < len(self.lrs) or any(rate <= 0 for rate in self.lrs):
            raise OptionError("`lr` must be positive, and each value given once.")
        for recipe in self.recipes:
            for rate in self.lrs or (None,):
                self.options(Job(recipe, "", 0, rate))  # checks names and values

    def options(self, job: Job) -> TrainOptions:
        """The options of one training.

        Raises:
            OptionError: There is no such recipe, or it lacks an option of `settings`.
        """
        base = defaults(job.recipe)
        rates = {}
        if job.lr is not None:
            rates = {"lr": job.lr, "stem_lr": base.stem_lr * job.lr / base.lr}
        fixed = {"epochs": self.epochs, "batch_size": self.batch_size, "seed": job.seed}
        return from_table({**self.settings, **fixed, **rates}, base)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        recipe: Its name.
        labelling: As of `labellings.parse`.
        seed: Of order, views, dropout and new weights.
        lr: Peak learning rate; None for the recipe's own.
    """

    recipe: str
    labelling: str
    seed: int
    lr: float | None = None

    def folder(self, out: Path) -> Path:
        """Its folder in that of the comparison."""
        rate = "" if self.lr is None else f"-lr-{self.lr:g}"
        place = out / "runs" / self.labelling.replace(":", "-") / self.recipe
        return place / f"seed-{self.seed}{rate}"


def merged(out: Path, given: Mapping[str, Any]) -> Plan:
    """The plan in a comparison's folder, with what is given now; checks that they agree.

    Args:
        out: The comparison's folder.
        given: Fields of `Plan`; None if not given. Recipes, labellings and seeds replace those
            of before, data sets are added; anything else must be the same as before.

    Raises:
        OptionError: A value is not valid, or rows of different options would stand in one table.
    """
    new = {name: value for name, value in given.items() if value is not None}
    if not (out / PLAN).is_file():
        return Plan(**new)
    earlier = _from_table(read_config(out / PLAN), out / PLAN)
    new["data_sets"] = {**earlier.data_sets, **new.get("data_sets", {})}
    plan = dataclasses.replace(earlier, **new)
    for entry in dataclasses.fields(Plan):
        before, now = getattr(earlier, entry.name), getattr(plan, entry.name)
        if entry.name not in _GROWING and before != now:
            raise OptionError(
                f"{out / PLAN}: {entry.name} is {before!r} in this comparison, not {now!r}.",
                "All rows of a table are trained alike: leave it out, or give another `out`.",
            )
    return plan


def write(plan: Plan, out: Path) -> None:
    """Writes the plan into the comparison's folder.

    Raises:
        OutputError: It cannot be written.
    """
    table = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(plan).items()
        if value is not None
    }
    write_config(table, out / PLAN)


def _from_table(table: dict[str, Any], file: Path) -> Plan:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    try:
        return Plan(**fields)
    except TypeError as error:
        raise OptionError(f"{file} is no plan of a comparison: {error}.") from error
