"""Planning: closed forms, brute enumeration, and Monte Carlo of the same question."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from worldsim.errors import InvalidInput
from worldsim.statistics import (
    barnard,
    power_of_difference,
    trials_for_difference,
    trials_for_width,
    what_more_trials_buy,
    width_after,
    wilson_interval,
)


def width(k, n):
    return float(np.ptp(wilson_interval(k, n)))


@given(st.floats(0, 1), st.floats(0.02, 0.9))
def test_so_many_trials_are_enough_and_one_fewer_is_not(rate, wanted):
    trials = trials_for_width(rate, wanted)
    assert width(rate * trials, trials) <= wanted
    assert trials == 1 or width(rate * (trials - 1), trials - 1) > wanted


def test_a_rate_of_one_half_needs_about_the_textbook_number():
    assert trials_for_width(0.5, 0.2) == pytest.approx(1.96**2 * 0.25 / 0.01, abs=5)


def test_power_by_brute_enumeration():
    k = range(13)
    chances = [(binom.pmf(i, 12, 0.85) * binom.pmf(j, 12, 0.3), barnard((i, 12), (j, 12))) for i, j in itertools.product(k, k)]
    assert power_of_difference(0.85, 0.3, 12) == pytest.approx(sum(chance for chance, p in chances if p <= 0.05))


@settings(max_examples=15)
@given(st.floats(0, 1), st.integers(1, 60))
@example(2.2250738585072014e-308, 4)
def test_the_size_of_the_test_stays_below_alpha(rate, trials):
    assert power_of_difference(rate, rate, trials) <= 0.05 + 1e-4  # the grid of common rates is not endless


def test_exact_power_and_its_normal_approximation_meet():
    assert power_of_difference(0.6, 0.5, 201) == pytest.approx(power_of_difference(0.6, 0.5, 200), abs=0.02)
    assert power_of_difference(0.9, 0.7, 500) > 0.999


@pytest.mark.parametrize(("first", "second"), [(0.9, 0.4), (0.85, 0.7), (0.05, 0.25), (0.55, 0.5)])
def test_trials_for_a_difference_have_the_power_and_one_fewer_have_not(first, second):
    trials = trials_for_difference(first, second)
    assert power_of_difference(first, second, trials) >= 0.8 > power_of_difference(first, second, trials - 1)
    assert trials_for_difference(second, first) == trials


def test_what_is_asked_more_of_costs_more():
    assert trials_for_difference(0.8, 0.5) < trials_for_difference(0.8, 0.5, power=0.9) < trials_for_difference(0.8, 0.5, 0.9, 0.99)
    assert trials_for_difference(0.8, 0.5) < trials_for_difference(0.8, 0.6) < trials_for_difference(0.8, 0.7)


def test_widths_after_more_trials():
    assert width_after(64, 75, 0) == pytest.approx(width(64, 75))
    assert width_after(0, 0, 1) == pytest.approx(width(1, 1))
    later = [width_after(7, 10, more) for more in (0, 5, 20, 100)]
    assert later == sorted(later, reverse=True)


def test_what_more_trials_buy_is_what_draws_of_them_show():
    generator = np.random.default_rng(0)
    bought = what_more_trials_buy([9, 5, 5], [12, 12, 15], 10)
    draws = generator.binomial(10, generator.beta([10, 6, 6], [4, 8, 11], size=(1500, 3)))
    shown = np.array([9, 5, 5]) + draws
    trials = np.array([22, 22, 25])
    assert bought.widths[0] == pytest.approx(np.mean([width(k, 22) for k in shown[:, 0]]), abs=0.01)
    tests = {key: barnard((key[0], 22), (key[1], 22)) <= 0.05 for key in {(int(a), int(b)) for a, b, _ in shown}}
    assert bought.separated[0, 1] == pytest.approx(np.mean([tests[int(a), int(b)] for a, b, _ in shown]), abs=0.045)
    assert set(bought.separated) == {(0, 1), (0, 2), (1, 2)}
    assert trials[2] == 25


def test_nothing_more_buys_what_is_known():
    assert what_more_trials_buy([64, 53], [75, 75], 0).separated == {(0, 1): 1}
    assert what_more_trials_buy([60, 53], [75, 75], 0).separated == {(0, 1): 0}
    assert what_more_trials_buy([0, 3], [0, 5], 4).separated[0, 1] < 0.2


@pytest.mark.parametrize(
    "ask",
    [
        lambda: trials_for_width(0.5, 0),
        lambda: trials_for_width(1.5, 0.1),
        lambda: trials_for_width(0.5, 1e-5),
        lambda: trials_for_difference(0.5, 0.5),
        lambda: trials_for_difference(0.5, 0.7, power=80),
        lambda: power_of_difference(0.5, 0.7, 0),
        lambda: power_of_difference(-1, 0.7, 10),
        lambda: width_after(3, 2, 1),
        lambda: width_after(0, 0, 0),
        lambda: what_more_trials_buy([1], [2, 3], 1),
        lambda: what_more_trials_buy([1, 1], [2, 3], -1),
    ],
)
def test_nonsense_is_refused(ask):
    with pytest.raises(InvalidInput):
        ask()
