"""Twins: pictures of a data set's splits that are equal or show the same photograph.

A twin in training of a test picture makes the test easier than new faces are. Training drops such
pictures; evaluation gives the figures without them, and counts twins as one draw of the bootstrap.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.common import atomic_write
from jadfer_cli.text import encodable, spreadsheet_safe
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.near_duplicates import LOWEST, Pairs, search, thumbnails, work
from jadfer_cli.training.reporting import Reporter

ONLY_EQUAL = 1.0  # threshold that compares files only
_ORDER = ("valid", "test", "train")  # twins of two training pictures do no harm
_VERSION = 1  # of the search; part of the cache's name


@dataclass(frozen=True)
class Twins:
    """The pairs of twins of some splits.

    Attributes:
        names: Picture names by split, in the order of the pairs' indices.
        pairs: Indices into all splits' pictures, one after another.
        threshold: The correlation above which two pictures are twins.
        people: Who each picture shows, by split; splits without names are missing.
    """

    names: Mapping[str, Sequence[str]]
    pairs: Pairs
    threshold: float
    people: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def _positions(self, split: str) -> slice:
        sizes = [len(names) for names in self.names.values()]
        i = list(self.names).index(split)
        return slice(sum(sizes[:i]), sum(sizes[: i + 1]))

    def having(self, split: str, others: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Whether each picture of a split has a twin in one of the other splits, (n,).

        Args:
            split: One of `names`.
            others: Splits; those that the data set lacks have no twins.
        """
        own = self._positions(split)
        found = np.zeros(sum(map(len, self.names.values())), bool)
        for other in others:
            if other in self.names:
                theirs = self._positions(other)
                for a, b in ((self.pairs.first, self.pairs.second), self.pairs[1::-1]):
                    inside = (a >= own.start) & (a < own.stop) & (b >= theirs.start)
                    found[a[inside & (b < theirs.stop)]] = True
        return found[own]

    def clusters(self, split: str) -> npt.NDArray[np.intp]:
        """A number for each picture of a split, (n,); linked twins share it.

        Twins of one picture of another split are linked as well.
        """
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        n = sum(map(len, self.names.values()))
        links = (np.ones(len(self.pairs.first)), (self.pairs.first, self.pairs.second))
        _, labels = connected_components(coo_matrix(links, (n, n)), directed=False)
        _, found = np.unique(labels[self._positions(split)], return_inverse=True)
        return np.asarray(found, np.intp)

    def draws(self, split: str) -> npt.NDArray[np.intp]:
        """A number for each picture of a split, (n,); twins and pictures of one person share it.

        Such pictures depend on each other, so a bootstrap draws them together.
        """
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        clusters = self.clusters(split)
        people = self.people.get(split)
        if people is None:
            return clusters
        alone = [name or f"\n{i}" for i, name in enumerate(people)]
        _, person = np.unique(alone, return_inverse=True)
        # a graph of clusters and people, linked by pictures
        n = int(clusters.max(initial=-1)) + 1 + int(person.max(initial=-1)) + 1
        first_person = int(clusters.max(initial=-1)) + 1
        links = (np.ones(len(person)), (clusters, first_person + person))
        _, labels = connected_components(coo_matrix(links, (n, n)), directed=False)
        _, found = np.unique(labels[clusters], return_inverse=True)
        return np.asarray(found, np.intp)

    def write(self, path: Path) -> None:
        """Writes all pairs as CSV, the most similar first.

        Raises:
            OutputError: It cannot be written.
        """
        entries = [
            (split, spreadsheet_safe(encodable(name)))
            for split, names in self.names.items()
            for name in names
        ]
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["split", "image", "twin_split", "twin_image", "correlation", "mirrored"])
            for i in np.argsort(-self.pairs.correlation, kind="stable"):
                first, second = self.pairs.first[i], self.pairs.second[i]
                correlation = f"{self.pairs.correlation[i]:.3f}"
                mirrored = int(self.pairs.mirrored[i])
                out.writerow([*entries[first], *entries[second], correlation, mirrored])


def find(
    sets: Mapping[str, FaceSet],
    threshold: float,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    report: Reporter | None = None,
) -> Twins:
    """Finds the twins among the splits of a data set, except those within training.

    Args:
        sets: The splits by name.
        threshold: The correlation above which two pictures are twins; ONLY_EQUAL compares files
            only.
        device: Where correlations are computed.
        cache: Folder that caches the search; None for no cache.
        report: Receives progress.

    Raises:
        TrainingError: A picture cannot be read.
    """
    ordered = {split: sets[split] for split in _ORDER if split in sets}
    n_queries = sum(len(faces) for split, faces in ordered.items() if split != "train")
    found = _equal(ordered, n_queries)
    if threshold < ONLY_EQUAL:
        similar = _cached_search(ordered, n_queries, device, cache, report or Reporter())
        found |= {
            (int(i), int(j)): (float(c), bool(m))
            for i, j, c, m in zip(*similar, strict=True)
            if c > threshold and (int(i), int(j)) not in found
        }
    keys = sorted(found)
    pairs = Pairs(
        np.array([i for i, _ in keys], np.intp),
        np.array([j for _, j in keys], np.intp),
        np.array([found[key][0] for key in keys], np.float32),
        np.array([found[key][1] for key in keys], bool),
    )
    names = {split: faces.image_names for split, faces in ordered.items()}
    people = {split: faces.people for split, faces in ordered.items() if faces.people}
    return Twins(names, pairs, threshold, people)


def _equal(
    ordered: Mapping[str, FaceSet], n_queries: int
) -> dict[tuple[int, int], tuple[float, bool]]:
    """Pairs of equal files or pixels, with correlation 1, not mirrored."""
    same: dict[bytes, list[int]] = defaultdict(list)
    digests = (faces.digest(i) for faces in ordered.values() for i in range(len(faces)))
    for number, digest in enumerate(digests):
        same[digest].append(number)
    return {
        (i, j): (1.0, False)
        for group in same.values()
        for k, i in enumerate(group)
        if i < n_queries
        for j in group[k + 1 :]
    }


def _cached_search(
    ordered: Mapping[str, FaceSet],
    n_queries: int,
    device: str,
    cache: Path | None,
    report: Reporter,
) -> Pairs:
    """`near_duplicates.search` over all splits, from the cache if nothing has changed."""
    keys = [f"{split} {faces.content_key('')}" for split, faces in ordered.items()]
    digest = hashlib.sha256(f"{_VERSION} {LOWEST} {keys}".encode()).hexdigest()[:16]
    file = None if cache is None else cache / f"near-duplicates-{digest}.npz"
    if file is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            with np.load(file, allow_pickle=False) as kept:
                return Pairs(**{name: kept[name] for name in Pairs._fields})
    pictures = []
    for faces in ordered.values():
        with report.counting(f"reading {faces.name}", len(faces)) as progress:
            pictures.append(thumbnails(faces, progress))
    together = np.concatenate(pictures)
    task = "searching for near-duplicates of validation and test images"
    with report.counting(task, work(len(together), n_queries)) as progress:
        found = search(together, n_queries, device=device, progress=progress)
    if file is not None:
        _cache(file, found._asdict())
    return found


def _cache(file: Path, arrays: dict[str, Any]) -> None:
    """Writes the cache; a folder that cannot be written only costs time."""
    part = file.with_suffix(f".{os.getpid()}.part.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, **arrays)
        part.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
