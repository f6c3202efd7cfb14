"""Give parts of tracks to people: those of the reference pictures, or groups of similar parts.

Nobody is twice in one frame: parts that share more than MAX_SHARED_FRAMES frames are never given
to the same person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.analysis.people.parts import Part, mean_vector
from jadfer_cli.errors import OptionError
from jadfer_cli.records import FloatArray

NOBODY = -1
# When two tracks swap people, the frames of their changes may differ a little.
MAX_SHARED_FRAMES = 3
MIN_FOUNDING = 4  # samples of a part that is among the first to be grouped
MAX_PARTS = 10_000  # that can be clustered: their distances take 0.4 GB
_NEVER = 1e6  # a distance that no average with other ones brings below a threshold


@dataclass(frozen=True)
class Matches:
    """Who each part shows.

    Attributes:
        person: int64 (n,), index of the person, or NOBODY.
        score: float64 (n,), cosine with that person; for NOBODY with the most similar person;
            NaN without anything to compare.
    """

    person: Ints
    score: Floats


def conflicts(parts: Sequence[Part], frames: Sequence[Ints]) -> Bools:
    """Return which parts cannot be one person, bool (n, n).

    Args:
        parts: The n parts.
        frames: For each result, int64: the frame of each of its rows.
    """
    own = [frames[part.result][part.rows] for part in parts]
    found = np.zeros((len(parts), len(parts)), bool)
    by_result: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        by_result.setdefault(part.result, []).append(i)
    for members in by_result.values():
        for n, i in enumerate(members):
            for j in members[n + 1 :]:
                if own[i][-1] < own[j][0] or own[j][-1] < own[i][0]:
                    continue
                shared = len(np.intersect1d(own[i], own[j], assume_unique=True))
                found[i, j] = found[j, i] = shared > MAX_SHARED_FRAMES
    return found


def to_people(
    vectors: FloatArray, people: FloatArray, apart: Bools, threshold: float,
    known: Ints | None = None,
) -> Matches:  # fmt: skip
    """Give each part to the most similar person, the surest first.

    Args:
        vectors: float32 (n, D), one per part.
        people: float32 (k, D).
        apart: bool (n, n), parts that cannot be one person.
        threshold: Smallest cosine of a part with its person.
        known: int64 (n,), whom each part is known to show; NOBODY where that is to be decided.
    """
    cosine = (vectors @ people.T).astype(np.float64)  # (n, k)
    person = np.full(len(vectors), NOBODY, np.int64) if known is None else known.copy()
    for pair in np.argsort(-cosine, axis=None, kind="stable").tolist():
        part, candidate = divmod(pair, len(people))
        if cosine[part, candidate] < threshold:
            break
        if person[part] == NOBODY and not (apart[part] & (person == candidate)).any():
            person[part] = candidate
    best = cosine.max(axis=1, initial=-1.0)
    score = np.where(person == NOBODY, best, cosine[np.arange(len(vectors)), person])
    return Matches(person, score)


def to_groups(parts: Sequence[Part], apart: Bools, threshold: float) -> Matches:
    """Group parts by similarity, without knowing anybody.

    Hierarchical clustering (average linkage): two groups are one person if their mean cosine
    reaches the threshold. First the parts with several clear faces are grouped; the others join
    the most similar person; those with a clear face that resemble nobody are grouped at last. So a
    short part that is wrong cannot keep the long parts of a person apart.

    Args:
        parts: The n parts, in the order in which people are numbered.
        apart: bool (n, n), parts that cannot be one person.
        threshold: Smallest mean cosine of two groups that are one person.

    Raises:
        OptionError: There are too many parts.
    """
    if len(parts) > MAX_PARTS:
        raise OptionError(
            f"{len(parts):,} parts of tracks are too many to be grouped; the limit is "
            f"{MAX_PARTS:,}.",
            "Give `references`, or fewer results at a time.",
        )
    vectors = np.stack([part.vector for part in parts])
    clear = np.array([part.clear for part in parts])
    long = clear & np.array([part.n_samples >= MIN_FOUNDING for part in parts])
    person = np.full(len(parts), NOBODY, np.int64)
    for chosen in (long, clear):
        if len(means := _means(vectors, person)):
            joined = to_people(vectors, means, apart, threshold, person)
            # whoever resembles somebody, but cannot be that person, founds nobody either
            chosen = chosen & (joined.person == NOBODY) & (joined.score < threshold)
            person = joined.person
        if chosen.any():
            groups = _clusters(vectors[chosen], apart[np.ix_(chosen, chosen)], threshold)
            person[chosen] = person.max(initial=NOBODY) + 1 + groups
    if not len(means := _means(vectors, person)):
        return Matches(person, np.full(len(parts), np.nan))
    joined = to_people(vectors, means, apart, threshold, person)
    return Matches(_in_order(joined.person), _scores(vectors, joined))


def _means(vectors: FloatArray, person: Ints) -> FloatArray:
    """Mean embedding of each person, float32 (k, D)."""
    n = int(person.max(initial=NOBODY)) + 1
    means = [mean_vector(vectors[person == k]) for k in range(n)]
    return np.stack(means) if means else np.empty((0, vectors.shape[1]), np.float32)


def _in_order(person: Ints) -> Ints:
    """Number the people in the order of their first part."""
    people, first = np.unique(person[person != NOBODY], return_index=True)
    number = dict(zip(people[np.argsort(first)].tolist(), range(len(people)), strict=True))
    return np.array([number.get(each, NOBODY) for each in person.tolist()], np.int64)


def _scores(vectors: FloatArray, matches: Matches) -> Floats:
    """Cosine of each part with the other parts of its person; NaN if there is no other."""
    score = matches.score.copy()
    for k in np.unique(matches.person[matches.person != NOBODY]):
        members = np.flatnonzero(matches.person == k)
        for i in members:
            others = members[members != i]
            score[i] = vectors[i] @ mean_vector(vectors[others]) if len(others) else np.nan
    return score


def _clusters(vectors: FloatArray, apart: Bools, threshold: float) -> Ints:
    """Number of the cluster of each vector (n, D), from 0: int64 (n,)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    distance = 1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    distance = np.where(apart, _NEVER, np.maximum(distance, 0))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    return np.asarray(fcluster(tree, 1 - threshold, "distance"), np.int64) - 1
