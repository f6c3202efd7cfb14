"""Coefficients of agreement: kappa by statsmodels, and alpha and ICC from tables.

The package `krippendorff` takes one row per rated unit, without weights, and needs n x K x K
numbers of memory; here a unit is a moment of video, and alpha is computed for a thousand
resamples. So alpha is computed from the sums that it consists of. No package among the
dependencies has the ICC. Both are tested: against `krippendorff` and its author's example, and
against Shrout and Fleiss's table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.errors import OutputError


def require_statistics() -> None:
    """Check early that the packages of the extra [stats] are installed.

    Raises:
        OutputError: One is missing.
    """
    try:
        import statsmodels.stats.inter_rater  # noqa: F401
    except ImportError as error:
        raise OutputError(
            f"Agreement needs the package statsmodels, which is not installed ({error}).",
            "Install it with: pip install 'jadfer-cli[stats]'",
        ) from error


def kappa(table: npt.NDArray[Any]) -> float:
    """Return Cohen's kappa (Cohen 1960) of a table (K, K) of two raters.

    NaN if it is undefined: nothing was rated, or both used one and the same class only.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    total = table.sum()
    if not total or (table.sum(0) * table.sum(1)).sum() >= total**2:
        return float("nan")
    return float(cohens_kappa(table, return_results=False))


def one_against_rest(tables: npt.NDArray[np.float64], index: int) -> npt.NDArray[np.float64]:
    """Return tables (..., 2, 2) of one class, first, against all others, from (..., K, K)."""
    both = tables[..., index, index]
    a, b = tables[..., index, :].sum(-1), tables[..., :, index].sum(-1)
    rest = tables.sum((-2, -1)) - a - b + both
    return np.stack([np.stack([both, a - both], -1), np.stack([b - both, rest], -1)], -2)


def coincidences(counts: npt.NDArray[Any]) -> Floats:
    """Return Krippendorff's coincidence matrix.

    A unit that m raters judged adds 1 / (m - 1) for each ordered pair of its judgements
    (Krippendorff 2004, Content Analysis, section 11.3). Matrices of parts of the data add up.

    Args:
        counts: (n, K), how many raters chose each class for each of n units; missing judgements
            are not counted.

    Returns:
        float64 (K, K), symmetric.
    """
    paired = np.asarray(counts, np.float64)
    m = paired.sum(1)
    paired, m = paired[m > 1], m[m > 1]
    weighted = paired / (m - 1)[:, None]
    found: Floats = weighted.T @ paired - np.diag(weighted.sum(0))
    return found


def alpha(coincidence: npt.NDArray[Any]) -> float:
    """Return Krippendorff's alpha for nominal data, of a coincidence matrix (K, K).

    With n pairable judgements, alpha = 1 - (1 - k) (n - 1) / n, where k is Cohen's kappa of the
    coincidence matrix: both compare the disagreement seen with that expected from the same
    margins, drawn without replacement for alpha. NaN if only one class was used.
    """
    n = float(coincidence.sum())
    return float("nan") if not n else 1 - (1 - kappa(coincidence)) * (n - 1) / n


def icc(ratings: npt.NDArray[Any]) -> dict[str, float]:
    """Return intraclass correlations of single ratings (Shrout and Fleiss 1979, table 2).

    Args:
        ratings: (n, k), k raters' values of the same n targets, without gaps.

    Returns:
        "ICC1": raters differ by target; "ICC2": absolute agreement of raters drawn at random;
        "ICC3": consistency of these raters. NaN with fewer than two targets or raters, or if all
        values are equal.
    """
    x = np.asarray(ratings, np.float64)
    n, k = x.shape if x.ndim == 2 else (0, 0)
    if n < 2 or k < 2 or not np.ptp(x):
        return dict.fromkeys(("ICC1", "ICC2", "ICC3"), float("nan"))
    total = ((x - x.mean()) ** 2).sum()
    targets, raters = n * k * x.mean(1).var(), n * k * x.mean(0).var()
    between = targets / (n - 1)  # BMS
    within = (total - targets) / (n * (k - 1))  # WMS
    judges = raters / (k - 1)  # JMS
    error = (total - targets - raters) / ((n - 1) * (k - 1))  # EMS
    return {
        "ICC1": _ratio(between - within, between + (k - 1) * within),
        "ICC2": _ratio(between - error, between + (k - 1) * error + k * (judges - error) / n),
        "ICC3": _ratio(between - error, between + (k - 1) * error),
    }


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
