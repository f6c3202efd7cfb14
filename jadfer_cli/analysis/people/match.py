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

    Hierarchical clustering (average linkage) of the parts with clear faces; two groups are one
    person if their mean cosine reaches the threshold. The other parts join the most similar
    person, or nobody.

    Args:
        parts: The n parts, in the order in which people are numbered.
        apart: bool (n, n), parts that cannot be one person.
        threshold: Smallest mean cosine of two groups that are one person.

    Raises:
        OptionError: There are too many parts.
    """
    clear = np.flatnonzero([part.clear for part in parts])
    if len(clear) > MAX_PARTS:
        raise OptionError(
            f"{len(clear):,} parts of tracks are too many to be grouped; the limit is "
            f"{MAX_PARTS:,}.",
            "Give `references`, or fewer results at a time.",
        )
    vectors = np.stack([part.vector for part in parts])
    person = np.full(len(parts), NOBODY, np.int64)
    score = np.full(len(parts), np.nan)
    if not len(clear):
        return Matches(person, score)
    groups = _clusters(vectors[clear], apart[np.ix_(clear, clear)], threshold)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    person[clear] = np.argsort(np.argsort(first))[group]  # in the order of their first part
    means = []
    for k in range(len(first)):
        members = np.flatnonzero(person == k)
        means.append(mean_vector(vectors[members]))
        for i in members if len(members) > 1 else ():
            score[i] = vectors[i] @ mean_vector(vectors[members[members != i]])
    joined = to_people(vectors, np.stack(means), apart, threshold, person)
    others = person == NOBODY
    return Matches(joined.person, np.where(others, joined.score, score))


def _clusters(vectors: FloatArray, apart: Bools, threshold: float) -> Ints:
    """Number of the cluster of each vector (n, D): int64 (n,)."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    distance = 1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    distance = np.where(apart, _NEVER, np.maximum(distance, 0))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    return np.asarray(fcluster(tree, 1 - threshold, "distance"), np.int64)
