"""The sequential comparison: the recomputed vectors, its guarantee by exact enumeration, and what it advises."""

import itertools
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldsim.errors import InvalidInput
from worldsim.statistics import SequentialComparison
from worldsim.statistics.sequential import log_e_process

LESS, MORE = [int(c) for c in "0100101000"], [int(c) for c in "1110111101"]
outcomes = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=40)


def run(first, second, level=0.95):
    states = [SequentialComparison(level)]
    for pair in zip(first, second, strict=True):
        states.append(states[-1].after(*pair))
    return states[1:]


def test_e_value_vectors():
    assert [state.e_second for state in run([0] * 4, [1] * 4)] == pytest.approx([1.7778, 4, 10.24, 28.444], abs=6e-4)
    expected = [1.7778, 1.3333, 2.6667, 1.7067, 1.3932, 2.6537, 2.2291, 4.4582, 3.0822, 6.2076]
    assert [state.e_second for state in run(LESS, MORE)] == pytest.approx(expected, abs=6e-5)
    assert [state.e_first for state in run(MORE, LESS)] == pytest.approx(expected, abs=6e-5)


def test_one_direction_fixed_beforehand_rejects_at_the_fourth_pair():
    e = [state.e_second for state in run([0] * 4, [1] * 4)]
    assert [value >= 1 / 0.05 for value in e] == [False, False, False, True]


@given(outcomes)
def test_pair_by_pair_is_all_at_once(pairs):
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    states = run(first, second)
    for state, log_first, log_second in zip(
        states,
        log_e_process(np.array(second, dtype=float), np.array(first, dtype=float)),
        log_e_process(np.array(first, dtype=float), np.array(second, dtype=float)),
        strict=True,
    ):
        assert (state.log_first, state.log_second) == pytest.approx((log_first, log_second))
    if states:
        assert SequentialComparison().after_all(first, second) == states[-1]


@given(outcomes)
def test_exchanging_the_policies_exchanges_the_answer(pairs):
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    names = {"continue": "continue", "first better": "second better", "second better": "first better"}
    for one, other in zip(run(first, second), run(second, first), strict=True):
        assert (one.e_first, one.e_second) == (other.e_second, other.e_first)
        assert one.decision == names[other.decision]


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (0.1, 0.1), (0.9, 0.9), (0.7, 0.4), (0.95, 0.05)])
def test_the_mean_of_the_e_value_never_exceeds_one_where_its_claim_is_false(first, second):
    """All 4^6 sequences of six pairs: E[e] for "the second is better" is at most 1 after each, and so is each step given its past."""
    paths = np.array(list(itertools.product((0.0, 1.0), repeat=12))).reshape(-1, 2, 6)
    ones = paths.sum(axis=2)  # successes of each side
    chances = np.prod(np.array([first, second]) ** ones * (1 - np.array([first, second])) ** (6 - ones), axis=1)
    e = np.exp(log_e_process(paths[:, 0], paths[:, 1]))
    means = chances @ e
    assert (means <= 1 + 1e-12).all()
    assert (np.diff(means) <= 1e-12).all()
    if first == second:
        assert (np.diff(np.concatenate([[1], means])) <= 1e-12).all()
    else:
        assert means[-1] < 1


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.3, 0.3), (0.9, 0.9), (0.6, 0.5)])
def test_false_alarms_stay_below_alpha_exactly_however_long_one_looks(rates):
    """All paths of 6 pairs: the probability of ever deciding against the truth. At level 0.8, to see some."""
    alive = {(0, 0, 0.0, 0.0): 1.0}
    state = SequentialComparison(0.8)
    wrong = 0.0
    for n in range(6):
        following = {}
        for (a, b, log_first, log_second), chance in alive.items():
            now = SequentialComparison(0.8, n, a, b, log_first, log_second)
            for x, y in itertools.product((0, 1), repeat=2):
                then = now.after(x, y)
                p = chance * (rates[0] if x else 1 - rates[0]) * (rates[1] if y else 1 - rates[1])
                if then.decision == "continue":
                    key = (then.first_successes, then.second_successes, then.log_first, then.log_second)
                    following[key] = following.get(key, 0) + p
                else:
                    wrong += p * (rates[0] == rates[1] or then.decision == "second better")
        alive = following
    assert state.limit == pytest.approx(10)
    assert 0 < wrong <= (0.2 if rates[0] == rates[1] else 0.1)


def test_a_decision_stands():
    state = SequentialComparison().after_all([0] * 6, [1] * 6)
    assert state.decision == "second better"
    for _ in range(20):
        state = state.after(1, 0)
    assert state.e_second < state.limit
    assert state.decision == "second better"
    assert state.advice().more_pairs == 0
    assert state.advice().text == "stop: second better after 26 pairs, at level 0.95"


def test_advice_names_the_pairs_that_steady_rates_would_need():
    """At 8 of 10 against 5 of 10 repeated for ever, the forecast made half way is near what it then took."""
    first, second = [1, 1, 0, 1, 1, 1, 0, 1, 1, 1], [1, 0, 0, 1, 0, 1, 0, 1, 0, 1]
    states = run(first * 20, second * 20)
    needed = next(state.pairs for state in states if state.decision != "continue")
    forecast = states[needed // 2 - 1].advice()
    assert forecast.decision == "continue"
    assert forecast.more_pairs == pytest.approx(needed - needed // 2, rel=0.5)
    assert f"about {forecast.more_pairs:g} more pairs" in forecast.text
    assert states[needed].decision == "first better"


def test_nobody_ahead_is_never_decided():
    assert SequentialComparison().advice().more_pairs == inf
    assert "neither leads" in SequentialComparison().after(1, 1).advice().text


def test_unscored_pairs_are_left_out_and_bad_outcomes_refused():
    state = SequentialComparison().after_all([1, np.nan, 0], [0, 1, np.nan])
    assert (state.pairs, state.first_successes, state.second_successes) == (1, 1, 0)
    assert SequentialComparison().after_all([], []) == SequentialComparison()
    with pytest.raises(InvalidInput, match="must be 0 or 1"):
        SequentialComparison().after(0.5, 1)
    with pytest.raises(InvalidInput):
        SequentialComparison().after_all([1], [1, 0])
    with pytest.raises(InvalidInput, match="level is 95"):
        SequentialComparison(95)
