"""Whether a changed model agrees better with coders, on people whom it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.agreement import coefficients, resampling
from jadfer_cli.analysis.agreement.coded_faces import CodedFaces
from jadfer_cli.analysis.frame_times import Ints

MIN_PEOPLE = 6  # with fewer, resampling people says little
# Landis and Koch 1977 call less "slight". Codes that have nothing to do with the faces also give a
# gain by chance at times, but not an agreement above this.
MIN_KAPPA = 0.2
ALL = "all"


@dataclass(frozen=True)
class Change:
    """Kappa with the coders before and after; intervals are over people.

    Attributes:
        cls: The class, or ALL.
        before: Kappa of the present model.
        after: Kappa of the changed one.
        interval: 95 % interval of the difference; NaN if there are too few people.
        n: Judgements of coders that it is based on; for a class, those of that class.
    """

    cls: str
    before: float
    after: float
    interval: tuple[float, float]
    n: int

    @property
    def difference(self) -> float:
        """How much kappa rose."""
        return self.after - self.before


@dataclass(frozen=True)
class Gain:
    """What a changed model gains on held-out people.

    Attributes:
        changes: Over all classes first, then by class that was coded.
        n_people: Number of people.
        n_better: People whose share of agreement rose.
        n_worse: People whose share of agreement fell.
    """

    changes: tuple[Change, ...]
    n_people: int
    n_better: int
    n_worse: int

    @property
    def overall(self) -> Change:
        """The change over all classes."""
        return self.changes[0]

    @property
    def is_shown(self) -> bool:
        """Whether a gain is shown: kappa rose beyond chance, and for most people.

        The interval over people must lie above 0. With few people it is too narrow, so at least
        MIN_PEOPLE are needed, and more of them must have gained than by chance (sign test). The
        agreement must reach MIN_KAPPA.
        """
        from scipy.stats import binomtest

        if self.n_people < MIN_PEOPLE or not self.n_better or self.overall.after < MIN_KAPPA:
            return False
        moved = self.n_better + self.n_worse
        sign = binomtest(self.n_better, moved, 0.5, alternative="greater").pvalue
        return bool(self.overall.interval[0] > 0 and sign < 0.05)


def gain(faces: CodedFaces, before: Ints, after: Ints, *, draws: int = resampling.DRAWS) -> Gain:
    """Compare two sets of predictions with the coders.

    Args:
        faces: n coded faces.
        before: int64 (n,), the present model's label of each.
        after: int64 (n,), the changed model's, which has not learned from the person seen.
        draws: Number of resamples of people.
    """
    k = len(faces.labels)
    people = np.searchsorted(faces.people, faces.person)
    tables = np.stack(
        [_tables(faces, guesses, people, k) for guesses in (before, after)], 1
    )  # (P, 2, K, K)
    persons = np.arange(len(tables))

    def change(cls: str, parts: npt.NDArray[np.float64], n: int) -> Change:
        def measure(both: npt.NDArray[np.float64]) -> dict[str, float]:
            old, new = (coefficients.kappa(table) for table in both)
            return {"difference": new - old}

        old, new = (coefficients.kappa(table) for table in parts.sum(0))
        ends = resampling.intervals(parts, persons, measure, draws=draws)["difference"]
        return Change(cls, old, new, ends, n)

    changes = [change(ALL, tables, int(tables[:, 0].sum()))]
    for index, label in enumerate(faces.labels):
        if coded := int(tables[:, 0, index].sum()):
            changes.append(change(label, coefficients.one_against_rest(tables, index), coded))
    hits = np.trace(tables, axis1=2, axis2=3) / np.maximum(tables.sum((2, 3)), 1)  # (P, 2)
    better, worse = (
        int(found.sum()) for found in (hits[:, 1] > hits[:, 0], hits[:, 1] < hits[:, 0])
    )
    return Gain(tuple(changes), len(tables), better, worse)


def _tables(
    faces: CodedFaces, guesses: Ints, people: npt.NDArray[np.intp], k: int
) -> npt.NDArray[np.float64]:
    """Counts (P, K, K) by person: row the coders' label, column the model's."""
    n = len(faces.people)
    found = np.zeros(n * k * k)
    for ratings in faces.ratings.T:
        judged = ratings >= 0
        cell = (people[judged] * k + ratings[judged]) * k + guesses[judged]
        found += np.bincount(cell, minlength=n * k * k)
    return found.reshape(n, k, k)
