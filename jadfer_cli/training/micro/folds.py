"""Folds without shared subjects, and the two measures of the field.

Both measures weigh every class equally, as micro-expression sets are small and unbalanced. They
are taken of the predictions of all folds together (See et al. 2019, MEGC 2019, doi
10.1109/FG.2019.8756611): a mean over folds would depend on folds that lack a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import TrainingError
from jadfer_cli.training.evaluate import confusion


def subject_folds(
    subjects: Sequence[str], n_folds: int | None = None, seed: int = 0
) -> list[npt.NDArray[np.intp]]:
    """Test clips of each fold; no subject is in two of them.

    Args:
        subjects: Of each clip.
        n_folds: Folds of about equal size; None for one fold per subject.
        seed: Decides which subjects share a fold.

    Returns:
        For each fold the indices of its test clips, ascending; all others are for training.

    Raises:
        TrainingError: There are fewer subjects than folds, or than two.
    """
    names = np.array(subjects)
    unique, counts = np.unique(names, return_counts=True)
    wanted = len(unique) if n_folds is None else n_folds
    if not 2 <= wanted <= len(unique):
        raise TrainingError(
            f"{wanted} folds need as many subjects, and at least two; there are {len(unique)}."
        )
    if n_folds is None:
        return [np.flatnonzero(names == subject) for subject in unique]
    shuffled = np.random.default_rng(seed).permutation(len(unique))
    largest_first = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    sizes, fold_of = np.zeros(n_folds, int), {}
    for i in largest_first:  # each to the smallest fold so far
        fold = int(sizes.argmin())
        fold_of[str(unique[i])] = fold
        sizes[fold] += counts[i]
    folds = np.array([fold_of[str(name)] for name in names])
    return [np.flatnonzero(folds == k) for k in range(n_folds)]


def unweighted_f1(classes: npt.ArrayLike, guesses: npt.ArrayLike, k: int) -> float:
    """UF1: the mean over classes of F1; classes that occur in neither do not count.

    Args:
        classes: (n,), true classes below k.
        guesses: (n,).
        k: Number of classes.
    """
    counts = confusion(np.asarray(classes, np.intp), np.asarray(guesses, np.intp), k)
    both = counts.sum(0) + counts.sum(1)  # true positives twice, and all errors
    return float((2 * np.diag(counts)[both > 0] / both[both > 0]).mean())


def unweighted_recall(classes: npt.ArrayLike, guesses: npt.ArrayLike, k: int) -> float:
    """UAR: the mean over the classes that occur of recall. Arguments as of `unweighted_f1`."""
    counts = confusion(np.asarray(classes, np.intp), np.asarray(guesses, np.intp), k)
    sizes = counts.sum(1)
    return float((np.diag(counts)[sizes > 0] / sizes[sizes > 0]).mean())
