"""Intervals that need no plan or no shape: vectors, exact coverage at every look, and properties for any data."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from worldsim.errors import InvalidInput
from worldsim.statistics import anytime_interval, betting_interval, clopper_pearson_interval, posterior_interval

counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
some_scores = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(7, 10, 0.2667, 0.9634), (21, 30, 0.4263, 0.8996), (0, 20, 0, 0.2607), (64, 75, 0.6915, 0.9520)]
)
def test_anytime_vectors(k, n, low, high):
    assert anytime_interval(k, n) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("k", "n", "low", "high"), [(0, 10, 0.0023, 0.2849), (7, 10, 0.3903, 0.8907), (10, 10, 0.7151, 0.9977)])
def test_posterior_vectors(k, n, low, high):
    assert posterior_interval(k, n) == pytest.approx((low, high), abs=6e-5)


@given(counts, st.floats(0.5, 0.999))
def test_an_anytime_interval_holds_the_rate_mirrors_and_contains_clopper_pearson(case, level):
    k, n = case
    low, high = anytime_interval(k, n, level)
    exact = clopper_pearson_interval(k, n, level)
    assert 0 <= low <= exact.low + 1e-12
    assert exact.low <= k / n <= exact.high
    assert exact.high - 1e-12 <= high <= 1
    assert (1 - high, 1 - low) == pytest.approx(anytime_interval(n - k, n, level), abs=1e-9)


@given(counts)
def test_the_ends_of_an_anytime_interval_are_where_the_wealth_is_the_limit(case):
    k, n = case
    for end in anytime_interval(k, n):
        if 0 < end < 1:
            wealth = betaln(k + 1, n - k + 1) - k * np.log(end) - (n - k) * np.log1p(-end)
            assert wealth == pytest.approx(np.log(20), abs=1e-6)


def test_more_trials_at_the_same_rate_narrow_the_anytime_interval():
    widths = [np.ptp(anytime_interval(7 * n, 10 * n)) for n in (1, 3, 10, 100, 10_000)]
    assert all(later < before for before, later in itertools.pairwise(widths))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.83])
def test_looking_after_every_trial_errs_at_most_one_time_in_twenty_exactly(rate):
    """The probability of ever leaving, by dynamic programming over all paths of 60 trials; Clopper and Pearson's fails the same look."""
    failed = {}
    for interval in (anytime_interval, clopper_pearson_interval):
        alive = np.array([1.0])
        for n in range(1, 61):
            alive = np.append(alive * (1 - rate), 0) + np.insert(alive * rate, 0, 0)
            ends = [interval(k, n) for k in range(n + 1)]
            alive = alive * [low <= rate <= high for low, high in ends]
        failed[interval] = 1 - alive.sum()
    assert failed[anytime_interval] <= 0.05 < failed[clopper_pearson_interval]


def test_betting_vector():
    assert betting_interval((1, 0, 1, 1, 0, 1, 1, 1, 0, 1) * 3) == pytest.approx((0.459, 0.885), abs=5e-4)


def test_betting_by_its_definition():
    """A grid of means, tried one by one as the formula is written, holds the same means."""
    x = np.random.default_rng(0).random(25) ** 2
    mean, variance = 0.5, 0.25
    grid = np.linspace(0.0005, 0.9995, 1000)
    up, down, kept = np.full(1000, 0.5), np.full(1000, 0.5), np.ones(1000, dtype=bool)
    total, squares = 0.5, 0.25
    for t, value in enumerate(x, start=1):
        stake = np.sqrt(2 * np.log(40) / (25 * variance))
        up *= 1 + np.minimum(stake, 0.5 / grid) * (value - grid)
        down *= 1 - np.minimum(stake, 0.5 / (1 - grid)) * (value - grid)
        kept &= np.maximum(up, down) < 20
        total += value
        mean = total / (t + 1)
        squares += (value - mean) ** 2
        variance = squares / (t + 1)
    assert betting_interval(x) == pytest.approx((grid[kept].min(), grid[kept].max()), abs=1.1e-3)


@given(some_scores, st.booleans())
def test_a_betting_interval_holds_the_mean_and_mirrors(values, sequence):
    low, high = betting_interval(values, sequence=sequence)
    assert 0 <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= 1
    mirrored = betting_interval([1 - value for value in values], sequence=sequence)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-9)


@given(some_scores)
def test_a_betting_interval_of_another_range_is_the_same_one_stretched(values):
    low, high = betting_interval(values)
    stretched = betting_interval([5 * value - 2 for value in values], low=-2.0, high=3.0)
    assert stretched == pytest.approx((5 * low - 2, 5 * high - 2), abs=1e-6)


def test_betting_narrows_with_values_and_with_a_small_spread():
    credit = np.random.default_rng(0).choice([0.4, 0.5, 0.6], size=400)
    coins = np.random.default_rng(0).choice([0.0, 1.0], size=400)
    assert np.ptp(betting_interval(credit)) < np.ptp(betting_interval(credit[:50])) / 2
    assert np.ptp(betting_interval(credit)) < np.ptp(betting_interval(coins)) / 2
    assert np.ptp(betting_interval(coins)) < np.ptp(betting_interval(coins, sequence=True))
    assert betting_interval([*credit, np.nan]) == betting_interval(credit)


@pytest.mark.parametrize(("rate", "sequence"), [(0.1, False), (0.5, False), (0.3, True)])
def test_betting_coverage_by_exact_enumeration(rate, sequence):
    """All sequences of 9 trials: the interval holds the rate with a probability of at least its level."""
    paths = np.array(list(itertools.product((0.0, 1.0), repeat=9)))
    chances = rate ** paths.sum(axis=1) * (1 - rate) ** (9 - paths.sum(axis=1))
    held = [low <= rate <= high for low, high in (betting_interval(path, 0.8, sequence=sequence) for path in paths)]
    assert chances @ held >= 0.8


def test_values_that_drift_give_the_whole_range_between_the_ends():
    low, high = betting_interval([0.0] * 100 + [1.0] * 100)
    assert low <= 0.5 <= high
    assert high - low > 0.01


@pytest.mark.parametrize("arguments", [([],), ([np.nan],), ([0.5, 1.5],), ([[0.5]],), ([0.5], 95)])
def test_what_is_no_score_is_refused(arguments):
    with pytest.raises(InvalidInput):
        betting_interval(*arguments)


def test_an_empty_range_is_refused():
    with pytest.raises(InvalidInput, match="give low below high"):
        betting_interval([1.0], low=1.0, high=1.0)
    with pytest.raises(InvalidInput, match="expected at least one, each from -1 to 0"):
        betting_interval([1.0], low=-1.0, high=0.0)
    for bad in ((3, 2, 0.95), (0, 0, 0.95), (1, 2, 1.0)):
        with pytest.raises(InvalidInput):
            anytime_interval(*bad)
        with pytest.raises(InvalidInput):
            posterior_interval(*bad)
