"""Figures, intervals and tests of a comparison, against SciPy, scikit-learn and statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats

from jadfer_cli.training.comparison import statistics as st
from jadfer_cli.training.comparison.statistics import Influence, Scores, SeedVariance

ONE_SEED = SeedVariance(math.nan, 0)


def scores(rng, m=200, share=0.8, draws=None, clean=None) -> Scores:
    right = rng.random(m) < share
    return Scores(
        right, np.log(rng.random(m)), rng.integers(0, 4, m),
        np.ones(m, bool) if clean is None else clean, np.arange(m) if draws is None else draws,
    )  # fmt: skip


def test_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    one = scores(rng, clean=rng.random(200) < 0.7)
    guesses = np.where(one.right, one.classes, (one.classes + 1) % 4)
    expected = {
        "accuracy": metrics.accuracy_score(one.classes, guesses),
        "clean_accuracy": metrics.accuracy_score(one.classes[one.clean], guesses[one.clean]),
        "mean_recall": metrics.balanced_accuracy_score(one.classes, guesses),
        "log_likelihood": one.log_likelihood.mean(),
    }
    for name, figure in st.FIGURES.items():
        found = figure(one)
        assert found.value == pytest.approx(expected[name]), name
        assert found.moves.mean() == pytest.approx(0, abs=1e-12), name


def test_without_seeds_a_difference_is_the_paired_t_test_of_the_images():
    rng = np.random.default_rng(1)
    a, b = scores(rng), scores(rng, share=0.7)
    found = st.difference([st.accuracy(a)], [st.accuracy(b)], a.draws, ONE_SEED)
    paired = stats.ttest_rel(a.right.astype(float), b.right.astype(float))
    assert found.value == pytest.approx(a.right.mean() - b.right.mean())
    assert found.p_value() == pytest.approx(paired.pvalue)
    assert found.interval() == pytest.approx(tuple(paired.confidence_interval(0.95)))
    assert not found.seeds_known


@pytest.mark.parametrize("name", ["mean_recall", "clean_accuracy"])
def test_the_standard_error_is_that_of_a_bootstrap(name):
    rng = np.random.default_rng(2)
    one, figure = scores(rng, m=800, clean=rng.random(800) < 0.6), st.FIGURES[name]
    found = st.estimate([figure(one)], one.draws, ONE_SEED)
    values = []
    for _ in range(800):
        i = rng.integers(0, 800, 800)
        resampled = Scores(*(getattr(one, field)[i] for field in vars(one)))
        values.append(figure(resampled).value)
    assert found.se == pytest.approx(np.std(values), rel=0.12)


def test_pictures_that_are_drawn_together_count_once():
    rng = np.random.default_rng(3)
    one = scores(rng, m=50)
    twice = Scores(
        *(np.repeat(getattr(one, field), 2) for field in ("right", "log_likelihood", "classes")),
        np.ones(100, bool), np.repeat(np.arange(50), 2),
    )  # fmt: skip
    alone = st.estimate([st.accuracy(one)], one.draws, ONE_SEED)
    copied = st.estimate([st.accuracy(twice)], twice.draws, ONE_SEED)
    assert copied == pytest.approx(alone)


def test_variances_by_hand():
    # squares (1 + 1) and (4 + 0 + 4) over 1 + 2 degrees of freedom; a single seed adds nothing
    pooled = st.seed_variance([[1.0, 3.0], [2.0, 4.0, 6.0], [9.0]])
    assert pooled == pytest.approx((10 / 3, 3))
    assert math.isnan(st.seed_variance([[1.0], [2.0]]).value)
    # images (1 + 1) / 2^2 x 2/1 = 1, seeds 4 / 4 = 1: SE sqrt(2), df 2^2 / (1/1 + 1/3) = 3
    flat = [Influence(5.0, np.array([1.0, -1.0]))] * 4
    found = st.estimate(flat, np.arange(2), SeedVariance(4.0, 3))
    assert (found.value, found.se, found.df) == pytest.approx((5, math.sqrt(2), 3))
    other = [Influence(3.0, np.array([1.0, -1.0]))]  # the same images are right: no variance
    found = st.difference(flat, other, np.arange(2), SeedVariance(4.0, 3))
    assert (found.value, found.se**2) == pytest.approx((2, 4 * (1 / 4 + 1)))


def test_a_recipe_that_varies_much_more_keeps_its_own_variance():
    # variances 1, 1, 4 and 10,000, of three seeds each; the first three are pooled to 2
    values = {
        "a": [1.0, 2, 3], "b": [4.0, 5, 6], "c": [2.0, 4, 6], "wild": [0.0, 100, 200], "one": [7.0]
    }  # fmt: skip
    found = st.seed_variances(values)
    assert found.of("wild") == pytest.approx((10_000, 2))
    for name in ("a", "b", "c", "one"):
        assert found.of(name) == found.pooled == pytest.approx((2, 6))
    # 4 among 1 and 1 is no outlier: Cochran's C = 4/6, and its table has 0.94 for 3 x 3 at 1 %
    assert st.seed_variances({k: values[k] for k in "abc"}) == ((2, 6), {})
    # two recipes cannot tell which of them is the outlier
    two = st.seed_variances({"a": values["a"], "wild": values["wild"]})
    assert two == (pytest.approx((5000.5, 4)), {})
    assert math.isnan(st.seed_variances({"a": [1.0], "b": [2.0]}).pooled.value)
    for same in (1.0, math.nan):  # nothing varies, or nothing was measured
        assert not st.seed_variances({name: [same] * 3 for name in "abcd"}).own


def test_two_variances_are_added_in_a_difference():
    flat = [Influence(5.0, np.array([1.0, -1.0]))] * 2
    found = st.difference(flat, flat[:1], np.arange(2), SeedVariance(6.0, 4), SeedVariance(2.0, 8))
    # 6/2 + 2/1 = 5, df 5^2 / (3^2/4 + 2^2/8)
    assert (found.se**2, found.df) == pytest.approx((5, 25 / 2.75))


def test_the_table_of_outlying_variances():
    """Cochran's critical value for four recipes of three seeds at 1 % is 0.864 (ISO 5725-2)."""
    for largest, apart in ((0.87, True), (0.85, False)):
        rest = (1 - largest) / 3
        values = {
            str(i): [-math.sqrt(v), 0.0, math.sqrt(v)]
            for i, v in enumerate((largest, rest, rest, rest))
        }
        found = st.seed_variances(values)
        assert list(found.own) == (["0"] if apart else [])


@pytest.mark.slow
def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(4)
    for n in (1, 2, 9):
        p = rng.random(n) ** 3
        assert st.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])
    assert st.holm([]) == []


def test_the_smallest_difference_is_found_four_times_in_five():
    """200 comparisons of two recipes with three seeds, at Holm's strictest level for 9 tests."""
    rng = np.random.default_rng(5)
    m, seed_sd, found, truth = 1000, 0.01, 0, None
    between = SeedVariance(seed_sd**2, 60)
    for _ in range(200):
        ease = rng.random(m)  # images are hard for both alike
        sides = []
        for mean in (0.75, 0.75 + (truth or 0.0)):
            shares = mean + seed_sd * rng.standard_normal(3)
            rights = [ease + 0.05 * rng.standard_normal(m) < share for share in shares]
            sides.append([Influence(r.mean(), r - r.mean()) for r in rights])
        one = st.difference(sides[1], sides[0], np.arange(m), between)
        if truth is None:
            truth = one.smallest(9)
        else:
            found += one.p_value() < 0.05 / 9
    assert 0.7 < found / 199 < 0.92  # the intervals are somewhat wide, so a little above 0.8
