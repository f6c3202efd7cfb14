"""Statistics of the ablation: paired tests over seeds, Holm's correction, what could be shown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FULL, SPATIAL, CONTEXT = "full", "SB only", "CB only"
MEASURES = ("log_likelihood", "accuracy", "pooled_recall")
_ALPHA, _POWER = 0.05, 0.8

Row = dict[str, Any]


def read(table: Path) -> list[Row]:
    """The results so far; a line that was cut off is ignored."""
    rows = []
    for line in table.read_text().splitlines() if table.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def paired(
    rows: Sequence[Row], first: str, second: str, measure: str, kind: str = ""
) -> np.ndarray:
    """first - second for each seed that both have; of faces occluded by `kind` if it is given."""

    def by_seed(name: str) -> dict[int, float]:
        own = [row for row in rows if row["variant"] == name]
        if kind:
            own = [row | row["occluded"][kind] for row in own if kind in row["occluded"]]
        return {row["seed"]: row[measure] for row in own}

    a, b = by_seed(first), by_seed(second)
    return np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def p_value(differences: np.ndarray) -> float:
    """Two-sided paired t-test; 1 for fewer than two pairs, or without any variation."""
    from scipy.stats import ttest_1samp

    if len(differences) < 2 or np.ptp(differences) == 0:
        return 1.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def holm(p: Sequence[float]) -> np.ndarray:
    """P-values corrected for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(p, method="holm")[1] if len(p) else np.empty(0)


def smallest_effect(differences: np.ndarray, n_tests: int) -> float:
    """The difference that this design would show with 80 % probability.

    At the strictest of Holm's levels, 0.05 / n_tests, and the SD of these differences.
    """
    from statsmodels.stats.power import TTestPower

    n = len(differences)
    if n < 3 or np.ptp(differences) == 0:
        return float("nan")
    sizes = np.geomspace(0.05, 500, 4000)  # solve_power fails where the power saturates
    powers = TTestPower().power(sizes, n, _ALPHA / n_tests)
    reached = np.flatnonzero(np.nan_to_num(powers, nan=1.0) >= _POWER)
    return float(sizes[reached[0]] * differences.std(ddof=1))


def comparisons(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Full against every other variant that has results."""
    names = dict.fromkeys(row["variant"] for row in rows)
    return [(FULL, name) for name in names if name != FULL] if FULL in names else []


def better_branch(rows: Sequence[Row]) -> str | None:
    """The single branch with the higher mean log likelihood."""
    means = {
        name: np.mean([row["log_likelihood"] for row in rows if row["variant"] == name])
        for name in (SPATIAL, CONTEXT)
        if any(row["variant"] == name for row in rows)
    }
    return max(means, key=lambda name: means[name]) if means else None


def text(rows: Sequence[Row]) -> str:
    """All tables, in words and figures."""
    lines = [*_means(rows)]
    for measure in MEASURES:
        lines += ["", f"{measure}: full minus the other, paired by seed", *_tests(rows, measure)]
    if (branch := better_branch(rows)) and any(row["variant"] == FULL for row in rows):
        found = paired(rows, FULL, branch, "log_likelihood")
        if len(found):
            lines += [
                "",
                f"full against the better single branch ({branch}), log likelihood: "
                f"{found.mean():+.4f}, p = {p_value(found):.3g} (one test), n = {len(found)}",
            ]
    kinds = dict.fromkeys(kind for row in rows for kind in row["occluded"])
    for measure in ("log_likelihood", "accuracy") if kinds else ():
        lines += ["", f"occluded faces, {measure}: full minus the other"]
        lines += _occluded(rows, measure, list(kinds))
    return "\n".join(lines)


def _means(rows: Sequence[Row]) -> list[str]:
    lines = [f"{'variant':18} {'seeds':>5} " + " ".join(f"{name:>20}" for name in MEASURES)]
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == name]
        cells = []
        for measure in MEASURES:
            values = np.array([row[measure] for row in own])
            sd = values.std(ddof=1) if len(values) > 1 else float("nan")
            cells.append(f"{f'{values.mean():.4f} (SD {sd:.4f})':>20}")
        lines.append(f"{name:18} {len(own):5} " + " ".join(cells))
    return lines


def _line(name: str, found: np.ndarray, corrected: float, n_tests: int) -> str:
    return (
        f"{name:28} {found.mean():+.4f}  p = {p_value(found):.3g}, Holm {corrected:.3g}; "
        f"n = {len(found)}; shown with 80 %: {smallest_effect(found, n_tests):.4f}"
    )


def _tests(rows: Sequence[Row], measure: str) -> list[str]:
    return _lines({b: paired(rows, a, b, measure) for a, b in comparisons(rows)})


def _lines(by_name: dict[str, np.ndarray]) -> list[str]:
    """One line per comparison that has pairs; all of them are one family for Holm."""
    found = {name: values for name, values in by_name.items() if len(values)}
    corrected = holm([p_value(values) for values in found.values()])
    return [
        _line(name, values, p, len(found))
        for (name, values), p in zip(found.items(), corrected, strict=True)
    ]


def _occluded(rows: Sequence[Row], measure: str, kinds: Sequence[str]) -> list[str]:
    means = []
    for kind in kinds:
        values: dict[str, list[float]] = {}
        for row in rows:
            if kind in row["occluded"]:
                values.setdefault(row["variant"], []).append(row["occluded"][kind][measure])
        means.append(f"{kind}: " + ", ".join(f"{k} {np.mean(v):.4f}" for k, v in values.items()))
    tests = {
        f"{kind}, {b}": paired(rows, a, b, measure, kind)
        for kind in kinds
        for a, b in comparisons(rows)
    }
    return [*means, *_lines(tests)]
