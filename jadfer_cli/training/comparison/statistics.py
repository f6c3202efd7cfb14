"""Estimates of a comparison: figures with intervals, differences, and what could be found at all.

A figure varies with the test images and with the seed. The variance over images is that of the
mean over draws, in which twins and pictures of one person stay together; the variance over seeds
is pooled over the recipes of a labelling, as each has few. A recipe whose variance is an outlier
keeps its own (Cochran's test as in ISO 5725-2). They are added, with Satterthwaite's degrees of
freedom (1946, doi 10.2307/3002019). The first contains a part of the second, so the
intervals are somewhat wide. A difference is taken on the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL, POWER = 0.05, 0.8
_OUTLIER_LEVEL = 0.01  # of Cochran's test
_FEWEST_RECIPES = 3  # with two seeds or more, to tell an outlier from the others
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What one trained network did on the m test images.

    Attributes:
        right: bool (m,), whether its top expression is the label's.
        log_likelihood: (m,), log probability of the label, after temperature scaling.
        classes: (m,), the labels; of tied ones the network's choice.
        clean: bool (m,), images without a twin in training.
        draws: (m,), images with equal numbers are drawn together.
    """

    right: npt.NDArray[np.bool_]
    log_likelihood: Floats
    classes: npt.NDArray[np.intp]
    clean: npt.NDArray[np.bool_]
    draws: npt.NDArray[np.intp]


class Influence(NamedTuple):
    """A figure that is a mean over images, and how much each image moves it.

    Attributes:
        value: The figure.
        moves: (m,), mean 0; the figure's variance is that of their mean.
    """

    value: float
    moves: Floats


def accuracy(scores: Scores) -> Influence:
    """The share of images whose top expression is right."""
    return _mean(scores.right.astype(float))


def clean_accuracy(scores: Scores) -> Influence:
    """The same of the images without a twin in training; NaN if there are none."""
    n = scores.clean.sum()
    if not n:
        return Influence(math.nan, np.zeros(len(scores.right)))
    value = float(scores.right[scores.clean].mean())
    moves = np.where(scores.clean, scores.right - value, 0.0) * len(scores.right) / n
    return Influence(value, moves)


def mean_recall(scores: Scores) -> Influence:
    """The mean over the classes that occur of recall, for the class sizes of this test set."""
    present, position, sizes = np.unique(scores.classes, return_inverse=True, return_counts=True)
    recalls = np.bincount(position, scores.right) / sizes
    weights = len(scores.right) / (len(present) * sizes)
    return Influence(float(recalls.mean()), weights[position] * (scores.right - recalls[position]))


def log_likelihood(scores: Scores) -> Influence:
    """The mean log probability of the label."""
    return _mean(scores.log_likelihood)


FIGURES: dict[str, Callable[[Scores], Influence]] = {
    "accuracy": accuracy,
    "clean_accuracy": clean_accuracy,
    "mean_recall": mean_recall,
    "log_likelihood": log_likelihood,
}


def _mean(values: Floats) -> Influence:
    value = float(values.mean())
    return Influence(value, values - value)


class Estimate(NamedTuple):
    """A figure or a difference.

    Attributes:
        value: Its mean over seeds.
        se: Standard error.
        df: Degrees of freedom of the standard error.
        seeds_known: Whether the standard error contains the variation between seeds.
    """

    value: float
    se: float
    df: float
    seeds_known: bool

    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        half = _t_quantile(1 - LEVEL / 2, self.df) * self.se
        return self.value - half, self.value + half

    def p_value(self) -> float:
        """Two-sided, of no difference; 1 if nothing varies and nothing differs."""
        from scipy import stats

        if not self.se:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.value) / self.se, self.df))

    def smallest(self, n_tests: int) -> float:
        """The true difference that would be found four times in five, at the strictest of Holm.

        Args:
            n_tests: Differences that are tested together.
        """
        strict = _t_quantile(1 - LEVEL / (2 * n_tests), self.df)
        return (strict + _t_quantile(POWER, self.df)) * self.se


def _t_quantile(share: float, df: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(share, df))


class SeedVariance(NamedTuple):
    """Variance of a figure between trainings with different seeds, of one or more recipes.

    Attributes:
        value: The variance; NaN if no recipe has two seeds.
        df: Its degrees of freedom.
    """

    value: float
    df: int


def seed_variance(values: Sequence[Sequence[float]]) -> SeedVariance:
    """Pools the variances within recipes.

    Args:
        values: Of each recipe, the figure of each seed.
    """
    df = sum(len(own) - 1 for own in values)
    squares = sum(float(((np.array(own) - np.mean(own)) ** 2).sum()) for own in values)
    return SeedVariance(squares / df if df else math.nan, df)


class SeedVariances(NamedTuple):
    """Variances between seeds of several recipes.

    Attributes:
        pooled: That of all recipes that vary alike.
        own: Of each outlier, its own.
    """

    pooled: SeedVariance
    own: dict[str, SeedVariance]

    def of(self, recipe: str) -> SeedVariance:
        """The variance that holds for a recipe."""
        return self.own.get(recipe, self.pooled)


def seed_variances(values: Mapping[str, Sequence[float]]) -> SeedVariances:
    """Pools the variances of recipes, but for outliers.

    The recipe with the greatest variance is tested against the others together, at 0.01 divided by
    their number, until none is an outlier. For equally many seeds this is Cochran's test.

    Args:
        values: Of each recipe, the figure of each seed.
    """
    from scipy import stats

    alike, apart = dict(values), dict[str, SeedVariance]()
    while True:
        own = {name: seed_variance([seeds]) for name, seeds in alike.items() if len(seeds) > 1}
        if len(own) < _FEWEST_RECIPES:
            break
        name = max(own, key=lambda one: own[one].value)
        others = seed_variance([seeds for other, seeds in alike.items() if other != name])
        if not own[name].value > others.value:  # equal, or not a number
            break
        ratio = own[name].value / others.value if others.value else math.inf
        if stats.f.sf(ratio, own[name].df, others.df) >= _OUTLIER_LEVEL / len(own):
            break
        apart[name] = own[name]
        del alike[name]
    return SeedVariances(seed_variance(list(alike.values())), apart)


def estimate(
    seeds: Sequence[Influence], draws: npt.NDArray[np.intp], between: SeedVariance
) -> Estimate:
    """A figure of a recipe.

    Args:
        seeds: Of each seed, on the same images.
        draws: (m,), as of `Scores`.
        between: Variance between seeds.
    """
    value = float(np.mean([one.value for one in seeds]))
    moves = np.mean([one.moves for one in seeds], axis=0)
    return _combined(value, moves, draws, [(between, 1 / len(seeds))])


def difference(
    seeds: Sequence[Influence],
    others: Sequence[Influence],
    draws: npt.NDArray[np.intp],
    between: SeedVariance,
    of_others: SeedVariance | None = None,
) -> Estimate:
    """How much a recipe exceeds another on the same images.

    Args:
        seeds: As of `estimate`.
        others: Those of the other recipe.
        draws: As of `estimate`.
        between: As of `estimate`.
        of_others: Its variance between seeds; None if both share one.
    """
    value = float(np.mean([one.value for one in seeds]) - np.mean([one.value for one in others]))
    moves = np.mean([one.moves for one in seeds], 0) - np.mean([one.moves for one in others], 0)
    if of_others is None or of_others == between:
        parts = [(between, 1 / len(seeds) + 1 / len(others))]
    else:
        parts = [(between, 1 / len(seeds)), (of_others, 1 / len(others))]
    return _combined(value, moves, draws, parts)


def _combined(
    value: float,
    moves: Floats,
    draws: npt.NDArray[np.intp],
    between: Sequence[tuple[SeedVariance, float]],
) -> Estimate:
    """Adds the variance over images and those over seeds, each times its factor."""
    _, draw = np.unique(draws, return_inverse=True)
    sums = np.bincount(draw, moves)
    n_draws = len(sums)
    images = float((sums**2).sum()) / len(moves) ** 2 * n_draws / max(n_draws - 1, 1)
    df_images = max(n_draws - 1, 1)
    if any(math.isnan(one.value) for one, _ in between):
        return Estimate(value, math.sqrt(images), df_images, seeds_known=False)
    seeds = [(one.value * factor, one.df) for one, factor in between]
    total = images + sum(variance for variance, _ in seeds)
    parts = images**2 / df_images + sum(variance**2 / df for variance, df in seeds)
    df = total**2 / parts if parts else float(df_images)
    return Estimate(value, math.sqrt(total), df, seeds_known=True)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979)."""
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min((len(p_values) - rank) * p_values[i], 1.0))
        corrected[i] = highest
    return corrected
