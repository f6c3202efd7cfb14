"""Training methods, one file each; `training.loop` runs them all.

A recipe is known by the name of its file, with hyphens, and chosen by `jadfer train --recipe
NAME`. Importing this package does not import PyTorch.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from jadfer_cli.errors import OptionError
from jadfer_cli.expression import named_files

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from jadfer_cli.expression.networks.base import Network, Output
    from jadfer_cli.training.crops import EpochSampler
    from jadfer_cli.training.faceset import FaceSet
    from jadfer_cli.training.options import TrainOptions

DEFAULT = "jadfer"
KINDS = ("published", "reconstruction", "control")
_FACTS = ("title", "source", "citation", "kind", "needs", "architecture")


class Batch(NamedTuple):
    """What a loss sees beside the network's output.

    Attributes:
        targets: (B, K), label distributions after label smoothing and relabelling.
        indices: int64 (B,), positions of the images in the training set.
        statistics: Of the training set, by name; what `Recipe.statistics` computed.
        epoch: Finished epochs.
        epochs: Epochs of the whole training.
        second: Output for the second view of the same images, if the recipe has one.
        placements: float (B, 2, 3), maps from pixels of each picture to those of its crop.
        offsets: float (B, K), what `mixture.logit_offsets` adds to logits; the output's have it
            already. None for a single data set.
    """

    targets: torch.Tensor
    indices: torch.Tensor
    statistics: Mapping[str, torch.Tensor]
    epoch: int
    epochs: int
    second: Output | None = None
    placements: torch.Tensor | None = None
    offsets: torch.Tensor | None = None

    def shifted(self, logits: torch.Tensor) -> torch.Tensor:
        """Further logits (B, K) of the same images, with the offsets of their data sets."""
        return logits if self.offsets is None else logits + self.offsets


@dataclass(frozen=True)
class NoOptions:
    """Options of a recipe that has none of its own."""


def class_weighted(classes: npt.NDArray[np.intp], options: TrainOptions) -> EpochSampler:
    """Draws images with weight (size of their class) ** -`balance`."""
    from jadfer_cli.training.crops import EpochSampler

    return EpochSampler(classes, options.balance, options.seed)


def class_counts(faces: FaceSet) -> dict[str, torch.Tensor]:
    """Counts the images per class: "class_counts", int64 (K,)."""
    import numpy as np
    import torch

    _, classes = faces.labelled()
    counts = np.bincount(classes, minlength=faces.targets.shape[1])
    return {"class_counts": torch.from_numpy(counts)}


def chosen(groups: list[dict[str, Any]], options: TrainOptions) -> torch.optim.Optimizer:
    """The optimiser that the option `optimiser` names."""
    from jadfer_cli.training.optimisation import optimiser_of

    return optimiser_of(groups, options)


def scheduled(options: TrainOptions, steps_per_epoch: int, step: int) -> float:
    """The learning rate as a fraction of its peak, by the options `schedule` and `warmup`."""
    from jadfer_cli.training.optimisation import lr_factor

    return lr_factor(options, steps_per_epoch, step)


@dataclass(frozen=True)
class Recipe:
    """A training method, put together from small parts; the record `RECIPE` of its file.

    The first six are literals there.

    Attributes:
        architecture: The network, a name of `expression.networks`.
        title: What the literature calls the method.
        source: Where this implementation comes from, as a phrase: "after the authors' public
            code, at a smaller size".
        citation: BibTeX; empty where there is nothing to cite.
        kind: One of KINDS. `published`: code or all formulas are public and were followed;
            `reconstruction`: parts had to be chosen; `control`: shows what another recipe adds.
        needs: What it needs beside labelled crops, one phrase each, such as the name of a file.
        loss: Scalar loss of an output, its batch and the recipe's own options.
        options: Dataclass of the recipe's own options. In TOML they stand beside those of
            `TrainOptions`, so their names must differ from those.
        defaults: Values of `TrainOptions` that this recipe changes.
        fine_tuning: The same, where training starts from a whole network.
        sampler: Chooses the images of each epoch, from their classes.
        statistics: Computed once from the labelled training images, for the loss.
        prepare: Gives a new network what it takes from those statistics, such as a graph.
        optimiser: Makes the optimiser for the network's parameter groups.
        lr_factor: Learning rate at a step, as a fraction of its peak.
        relabel: Replaces the targets of a batch, without gradients, before the loss sees them;
            validation and test images are never relabelled. It may update buffers of the network
            that the output holds, which are saved with the run.
        second_view: Makes a second view of the crops, float (B, 3, S, S) in [0, 1], for which
            the network is run a second time.
        published: Values of `TrainOptions` that the authors trained with. They are not defaults:
            recipes are compared at equal ones.
    """

    architecture: str
    loss: Callable[[Output, Batch, Any], torch.Tensor]
    title: str = ""
    source: str = ""
    citation: str = ""
    kind: str = "reconstruction"
    needs: tuple[str, ...] = ()
    options: type = NoOptions
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fine_tuning: Mapping[str, Any] = field(
        default_factory=lambda: {"epochs": 10, "lr": 2e-4, "stem_lr": 5e-5}
    )
    sampler: Callable[[npt.NDArray[np.intp], TrainOptions], EpochSampler] = class_weighted
    statistics: Callable[[FaceSet], Mapping[str, torch.Tensor]] = class_counts
    prepare: Callable[[Network, Mapping[str, torch.Tensor]], None] | None = None
    optimiser: Callable[[list[dict[str, Any]], TrainOptions], torch.optim.Optimizer] = chosen
    lr_factor: Callable[[TrainOptions, int, int], float] = scheduled
    relabel: Callable[[Output, Batch, Any], torch.Tensor] | None = None
    second_view: Callable[[torch.Tensor], torch.Tensor] | None = None
    published: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")


def names() -> list[str]:
    """The recipes that `--recipe` takes."""
    return named_files.names(__path__)


def load(name: str) -> Recipe:
    """Imports a recipe's file, and PyTorch with it.

    Raises:
        OptionError: There is no such recipe.
    """
    _check(name)
    module = importlib.import_module(named_files.module_of(__name__, name))
    recipe: Recipe = module.RECIPE
    return recipe


def facts(name: str) -> dict[str, Any]:
    """What a list and a methods section need to know about a recipe, read without PyTorch.

    Returns:
        "name", and "title", "source", "citation", "kind", "needs" and "architecture" as in
        `Recipe`.

    Raises:
        OptionError: There is no such recipe.
    """
    _check(name)
    known = {f.name: f.default for f in dataclasses.fields(Recipe) if f.name in _FACTS[:-1]}
    return {"name": name} | known | named_files.literals(__name__, name, "RECIPE", _FACTS)


def _check(name: str) -> None:
    if name not in names():
        raise OptionError(f"`recipe` must be one of {', '.join(names())}, not {name}.")
