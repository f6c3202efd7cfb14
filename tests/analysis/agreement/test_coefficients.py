"""Coefficients against published examples, and against other packages."""

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from jadfer_cli.analysis.agreement import coefficients as of

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: 4 observers, 12
# units, 5 values, missing data; nominal alpha is 0.743
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
# Shrout and Fleiss 1979, table 1: six targets, four judges
SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]


def counts(ratings, values):
    """How many raters (rows) chose each value for each unit (column)."""
    return np.stack([(ratings == value).sum(0) for value in values], 1)


def test_alpha_of_krippendorffs_own_example():
    found = of.alpha(of.coincidences(counts(PUBLISHED, range(1, 6))))
    assert found == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_that_of_the_package_and_adds_up_over_parts():
    rng = np.random.default_rng(0)
    ratings = rng.integers(0, 5, (3, 300))
    ratings[1:, :200] = ratings[0, :200]  # some agreement
    ratings[rng.random(ratings.shape) < 0.2] = -1  # missing
    found = counts(ratings, range(5))
    parts = of.coincidences(found[:100]) + of.coincidences(found[100:])
    np.testing.assert_allclose(parts, of.coincidences(found))
    data = np.where(ratings < 0, np.nan, ratings)
    expected = krippendorff.alpha(data, level_of_measurement="nominal")
    assert of.alpha(parts) == pytest.approx(expected, abs=1e-12)


def test_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 4, 500)
    b = np.where(rng.random(500) < 0.6, a, rng.integers(0, 4, 500))
    table = np.bincount(a * 4 + b, minlength=16).reshape(4, 4)
    assert of.kappa(table) == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


def test_intraclass_correlations_of_shrout_and_fleiss():
    # their table 4: ICC(1,1) = .17, ICC(2,1) = .29, ICC(3,1) = .71
    found = of.icc(SHROUT_FLEISS)
    assert [round(value, 2) for value in found.values()] == [0.17, 0.29, 0.71]


def test_what_is_undefined_is_nan():
    one_class = np.array([[10, 0], [0, 0]])
    for value in (
        of.kappa(np.zeros((3, 3))), of.kappa(one_class), of.alpha(np.zeros((2, 2))),
        of.alpha(one_class), of.icc(np.ones((5, 2)))["ICC2"], of.icc(np.ones((1, 2)))["ICC2"],
    ):  # fmt: skip
        assert np.isnan(value)
    # one always says a, the other varies: chance agreement, defined
    assert of.kappa(np.array([[5, 5], [0, 0]])) == pytest.approx(0)


def test_without_the_extra_one_error_says_what_to_install(monkeypatch):
    import sys

    from jadfer_cli.errors import OutputError

    monkeypatch.setitem(sys.modules, "statsmodels.stats.inter_rater", None)
    with pytest.raises(OutputError, match="statsmodels") as caught:
        of.require_statistics()
    assert "pip install 'jadfer-cli[stats]'" in caught.value.hint
