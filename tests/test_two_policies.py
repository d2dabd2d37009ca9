"""Two policies set side by side: published and recomputed vectors, scipy and statsmodels, enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from worldsim.errors import InvalidInput
from worldsim.statistics import (
    barnard,
    boschloo,
    clopper_pearson_interval,
    holm,
    jeffreys_interval,
    mcnemar_exact,
    newcombe_interval,
    paired_bootstrap,
    probability_better,
    wilson_interval,
)
from worldsim.statistics.exact_region import enumerated_p_value, rejected

PAIRS = [
    ((64, 75), (53, 75), 0.03398, 0.03474, 0.04769),
    ((12, 20), (5, 20), 0.02958, 0.02958, 0.05355),
    ((9, 10), (4, 10), 0.02278, 0.02278, 0.05728),
    ((45, 50), (37, 50), 0.03932, 0.04446, 0.06643),
    ((8, 15), (1, 12), 0.01776, 0.01719, 0.01918),
]
counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
few = st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
binary = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


@pytest.mark.parametrize(("first", "second", "by_barnard", "by_boschloo", "by_fisher"), PAIRS)
def test_exact_test_vectors(first, second, by_barnard, by_boschloo, by_fisher):
    assert barnard(first, second) == pytest.approx(by_barnard, abs=6e-6)
    assert boschloo(first, second) == pytest.approx(by_boschloo, abs=6e-6)
    fisher = stats.fisher_exact([[first[0], second[0]], [first[1] - first[0], second[1] - second[0]]]).pvalue
    assert fisher == pytest.approx(by_fisher, abs=6e-6)
    assert max(by_barnard, by_boschloo) < by_fisher


def test_scipys_documented_example_one_sided():
    assert barnard((7, 15), (12, 15), "less") == pytest.approx(0.0340767, abs=5e-8)
    assert barnard((7, 15), (12, 15), "greater") > 0.5
    assert barnard((12, 15), (7, 15), "greater") == pytest.approx(0.0340767, abs=5e-8)
    assert stats.barnard_exact([[7, 12], [8, 3]], alternative="less").statistic == pytest.approx(-1.89434, abs=5e-6)
    with pytest.raises(InvalidInput, match='did you mean "greater"'):
        boschloo((1, 2), (1, 2), "greatr")


@settings(max_examples=15)
@given(few, few)
def test_exact_tests_are_symmetric_probabilities(first, second):
    for test in (barnard, boschloo):
        assert 0 < test(first, second) <= 1
        assert test(first, second) == pytest.approx(test(second, first), abs=1e-4)


def test_trials_that_all_end_alike_tell_nothing():
    for k in (0, 5):
        assert barnard((k, 5), (k, 5)) == boschloo((k, 5), (k, 5)) == 1
    assert barnard((0, 5), (7, 7)) < 0.01


@pytest.mark.parametrize(("first", "second"), [(9, 9), (7, 11)])
def test_the_region_of_all_tables_is_that_of_the_test(first, second):
    """Of every table: rejected exactly where the p value is at most 0.05 (no table here lies within the grid's error of it)."""
    region = rejected(first, second, 0.05)
    p = [[barnard((k, first), (m, second)) for m in range(second + 1)] for k in range(first + 1)]
    assert (region == (np.array(p) <= 0.05)).all()


@settings(max_examples=15)
@given(few, few)
def test_enumeration_is_scipys_search_but_for_the_ties_that_it_overlooks(first, second):
    p = barnard(first, second)
    assert p - 1e-6 <= enumerated_p_value(first, second) <= 2 * p + 1e-6


@pytest.mark.parametrize(("first", "second", "p"), [pair[:3] for pair in PAIRS])
def test_enumeration_gives_the_vectors(first, second, p):
    assert enumerated_p_value(first, second) == pytest.approx(p, abs=2e-5)


def test_tables_tied_but_for_rounding_are_tied():
    """1 of 1 beside 1 of 3: at a rate of 1/2 the tables as extreme, (1, 1), (0, 2), (1, 0) and (0, 3), have probability 8/16."""
    assert enumerated_p_value((1, 1), (1, 3)) == pytest.approx(0.5)


def test_many_trials_change_the_method_and_not_the_answer():
    assert barnard((500, 1000), (540, 1000)) == pytest.approx(barnard((500, 1000), (540, 1001)), rel=0.1)
    assert barnard((500, 2000), (500, 2000)) == barnard((0, 2000), (0, 2000)) == barnard((0, 200), (0, 200)) == pytest.approx(1)
    assert 0 < barnard((101, 101), (0, 101)) < 1e-20


def test_a_large_region_is_the_z_test():
    region = rejected(300, 300, 0.05)
    assert not region[150, 173]
    assert region[150, 174]
    assert not region[0, 0]


@pytest.mark.parametrize(("first", "second", "ends"), [((64, 75), (53, 75), (0.0136, 0.2742)), ((12, 20), (5, 20), (0.0444, 0.5778))])
def test_newcombe_vectors(first, second, ends):
    assert newcombe_interval(first, second) == pytest.approx(ends, abs=6e-5)


@given(counts, counts, st.floats(0.5, 0.999))
def test_newcombe_is_statsmodels_holds_the_difference_and_mirrors(first, second, level):
    low, high = newcombe_interval(first, second, level)
    assert confint_proportions_2indep(*first, *second, method="newcomb", alpha=1 - level) == pytest.approx((low, high), abs=1e-9)
    assert -1 - 1e-12 <= low <= first[0] / first[1] - second[0] / second[1] <= high <= 1 + 1e-12
    assert newcombe_interval(second, first, level) == pytest.approx((-high, -low), abs=1e-12)


@given(counts, st.floats(0.5, 0.999))
def test_intervals_for_one_policy_are_those_of_statsmodels(case, level):
    for interval, method in ((wilson_interval, "wilson"), (clopper_pearson_interval, "beta")):
        assert proportion_confint(*case, 1 - level, method) == pytest.approx(interval(*case, level), abs=1e-9)
    k, n = case
    if 0 < k < n:  # statsmodels keeps the beta quantiles at the ends
        assert proportion_confint(k, n, 1 - level, "jeffreys") == pytest.approx(jeffreys_interval(k, n, level), abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [((64, 75), (53, 75), 0.98434), ((12, 20), (5, 20), 0.986109), ((9, 10), (4, 10), 0.988132), ((7, 10), (5, 10), 0.806502)],
)
def test_probability_better_vectors(first, second, expected):
    assert probability_better(first, second) == pytest.approx(expected, abs=6e-6)


@given(counts, counts)
def test_one_of_two_is_better(first, second):
    assert probability_better(first, second) + probability_better(second, first) == pytest.approx(1)
    assert probability_better(first, first) == pytest.approx(0.5)


def test_probability_better_is_the_share_of_draws():
    draws = np.random.default_rng(0).beta([[9], [4]], [[3], [8]], size=(2, 200_000))
    assert probability_better((8, 10), (3, 10)) == pytest.approx(np.mean(draws[0] > draws[1]), abs=0.003)


@pytest.mark.parametrize("function", [barnard, boschloo, newcombe_interval, probability_better])
@pytest.mark.parametrize("bad", [(3, 2), (-1, 2), (0, 0)])
def test_impossible_counts_are_refused(function, bad):
    for pair in ((bad, (1, 2)), ((1, 2), bad)):
        with pytest.raises(InvalidInput, match="is no rate"):
            function(*pair)


@given(binary)
def test_mcnemar_is_statsmodels(pairs):
    a, b = np.array(pairs).T
    table = [[np.sum((a == i) & (b == j)) for j in (1, 0)] for i in (1, 0)]
    if table[0][1] + table[1][0]:
        assert mcnemar_exact(a, b) == pytest.approx(mcnemar(table, exact=True).pvalue)


@settings(max_examples=10)  # statsmodels takes a fifth of a second
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@settings(max_examples=20)
@given(binary)
def test_paired_bootstrap_holds_the_difference_and_is_repeatable(pairs):
    a, b = np.array(pairs, dtype=float).T
    found = paired_bootstrap(a, b, draws=300)
    assert found == paired_bootstrap(a, b, draws=300)
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert -1 <= found.low <= found.high <= 1
    assert found.starts == len(pairs)


def test_paired_bootstrap_follows_the_exact_distribution_of_resamples():
    """Differences 1, 0, 0, -1: all 256 resamples are equally likely."""
    difference = np.array([1, 0, 0, -1.0])
    means = [difference[list(chosen)].mean() for chosen in itertools.product(range(4), repeat=4)]
    found = paired_bootstrap([1, 1, 0, 0], [0, 1, 0, 1], level=0.8, draws=20_000)
    assert found[1:3] == pytest.approx(np.quantile(means, (0.1, 0.9)), abs=1e-12)


def test_pairing_narrows_the_difference_of_policies_that_fail_at_the_same_starts():
    hard = np.random.default_rng(0).random(200) < 0.5
    first, second = (hard | (np.random.default_rng(seed).random(200) < 0.1) for seed in (1, 2))
    found = paired_bootstrap(first, second)
    apart = newcombe_interval((int(first.sum()), 200), (int(second.sum()), 200))
    assert found.high - found.low < 0.6 * (apart.high - apart.low)


def test_unscored_starts_are_left_out_of_a_pair():
    assert paired_bootstrap([1, 0, np.nan, 1], [0, np.nan, 1, 1]) == paired_bootstrap([1, 1], [0, 1])
    for bad in (([1, np.nan], [np.nan, 1]), ([1], [1, 0]), ([2], [1])):
        with pytest.raises(InvalidInput):
            paired_bootstrap(*bad)
