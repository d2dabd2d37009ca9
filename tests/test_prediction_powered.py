"""Real rates made surer by simulation: vectors, ppi-python, closed forms, and coverage by simulation."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.errors import InvalidInput
from worldsim.experiments.coverage import main, paired_outcomes, prediction_powered
from worldsim.statistics import (
    control_variate_rate,
    phi,
    prediction_powered_bounds,
    prediction_powered_rate,
    prediction_powered_wilson,
    real_trials_saved,
    student_interval,
    wilson_interval,
)

with warnings.catch_warnings():  # numba and its caches warn on import
    warnings.simplefilter("ignore")
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

REAL, PAIRED = [int(c) for c in "1011001101"], [int(c) for c in "1010001111"]
EXTRA = [1] * 33 + [0] * 27
REALS = (0.1, 0.3, 0.5, 0.7, 0.9)
pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)
extras = st.lists(st.integers(0, 1), min_size=1, max_size=60)


def columns(pairs):
    return np.array(pairs, dtype=float).T


def test_vectors():
    plain = prediction_powered_rate(REAL, PAIRED, EXTRA, power_tuning=False)
    assert plain == pytest.approx((0.55, 0.24557, 0.85443, 1), abs=6e-6)
    tuned = prediction_powered_rate(REAL, PAIRED, EXTRA)
    assert tuned == pytest.approx((0.576030, 0.32018, 0.83188, 0.479404), abs=6e-6)


def test_without_correlation_it_is_the_normal_interval_of_the_real_trials():
    ignored = prediction_powered_rate(REAL, [0, 1] * 5, EXTRA)
    flat = prediction_powered_rate(REAL, [1] * 10, [1] * 60)
    assert flat == pytest.approx((0.6, 0.29636, 0.90364, 0), abs=6e-6)
    assert ignored.weight == 0
    assert ignored[:3] == pytest.approx(flat[:3])


@pytest.mark.filterwarnings("ignore::RuntimeWarning:ppi_py")
@settings(max_examples=60)
@given(pairs, extras, st.floats(0.5, 0.99))
def test_ppi_python_agrees(pairs, extra, level):
    y, f = columns(pairs)
    extra = np.array(extra, dtype=float)
    if np.ptp(np.concatenate([f, extra])) == 0:
        return  # ppi-python divides by 0
    for tuning, weight in ((False, 1), (True, None)):
        found = prediction_powered_rate(y, f, extra, level, tuning)
        low, high = ppi_mean_ci(y, f, extra, alpha=1 - level, lam=weight)
        assert found[:3] == pytest.approx((float(np.squeeze(ppi_mean_pointestimate(y, f, extra, lam=weight))), low[0], high[0]), abs=1e-9)


@given(pairs, extras)
def test_wilsons_form_stays_in_range_and_mirrors(pairs, extra):
    y, f = columns(pairs)
    extra = np.array(extra, dtype=float)
    found = prediction_powered_wilson(y, f, extra)
    assert 0 <= found.low <= found.value <= found.high <= 1 + 1e-12
    assert 0 <= found.weight <= 1
    mirrored = prediction_powered_wilson(1 - y, 1 - f, 1 - extra)
    assert (1 - mirrored.value, 1 - mirrored.high, 1 - mirrored.low) == pytest.approx(found[:3], abs=1e-9)
    real_only = wilson_interval(y.sum(), len(y))
    if found.weight == 0:
        assert found[1:3] == pytest.approx(real_only)


def test_wilsons_form_by_hand():
    """phi of the vectors is 0.583333 (35/60), shrunk by 10/11.5; the spread of real scores and of all simulated ones is known."""
    r = phi(REAL, PAIRED) * 10 / 11.5
    scale = np.std(PAIRED + EXTRA) / np.std(REAL)
    weight = r / scale / (1 + 10 / 60)
    value = 0.6 + weight * (0.55 - 0.6)
    trials = 10 / (1 - r**2 * 60 / 70)
    expected = (value, *wilson_interval(value * trials, trials), weight)
    assert prediction_powered_wilson(REAL, PAIRED, EXTRA) == pytest.approx(expected)


def test_the_forms_meet_for_many_episodes():
    generator = np.random.default_rng(0)
    y, f = paired_outcomes((0.4, 0.5), 0.6, (20_000,), generator)
    extra = (generator.random(100_000) < 0.5).astype(float)
    normal, wilson = prediction_powered_rate(y, f, extra), prediction_powered_wilson(y, f, extra)
    assert wilson == pytest.approx(normal, abs=2e-4)
    known = control_variate_rate(y, f, float(extra.mean()))
    assert known.value == pytest.approx(normal.value, abs=2e-3)
    assert known.high - known.low < normal.high - normal.low


def test_control_variates_by_hand():
    """Cells 5, 1, 1, 3: cov = 0.5 - 0.36 = 0.14, var 0.24, b = 7/12; residual variance 0.24 (1 - (7/12)^2) times 10/8."""
    found = control_variate_rate(REAL, PAIRED, 0.55)
    assert found.weight == pytest.approx(7 / 12)
    assert found.value == pytest.approx(0.6 - 7 / 12 * 0.05)
    assert (found.high - found.low) / 2 == pytest.approx(2.306004 * (0.24 * (1 - 49 / 144) / 8) ** 0.5, abs=1e-6)


def test_a_control_variate_that_never_varies_is_ignored():
    found = control_variate_rate(REAL, [1] * 10, 0.9)
    assert (found.value, found.weight) == (0.6, 0)
    low, high = student_interval(REAL)  # with n - 1 degrees of freedom, t 2.262157
    assert found.high - found.low == pytest.approx((high - low) * 2.306004 / 2.262157 * (9 / 8) ** 0.5, abs=1e-6)
    for real, simulated, mean in ((REAL[:2], PAIRED[:2], 0.5), (REAL, PAIRED, 1.5)):
        with pytest.raises(InvalidInput, match="expected at least 3 and a mean from 0 to 1"):
            control_variate_rate(real, simulated, mean)


def test_a_third_explained_spares_a_third():
    assert real_trials_saved(0.34**0.5, 100) == pytest.approx(34)
    assert real_trials_saved(-0.5, 100) == real_trials_saved(0, 100, 50) == real_trials_saved(0.9, 100, 0) == pytest.approx(0)
    assert real_trials_saved(1, 100) == 100


@given(st.floats(0, 1), st.integers(1, 500), st.integers(0, 2000))
def test_trials_spared_leave_the_same_variance(correlation, trials, extra):
    left = trials - real_trials_saved(correlation, trials, extra)
    assert -1e-9 <= trials - left <= trials
    if left > 1e-6:
        assert (1 - correlation**2 * extra / (left + extra)) / left == pytest.approx(1 / trials)
    assert trials - left <= real_trials_saved(correlation, trials) + 1e-9


@settings(max_examples=25)
@given(pairs, extras)
def test_bounds_hold_the_estimate_inside_the_range(pairs, extra):
    y, f = columns(pairs)
    found = prediction_powered_bounds(y, f, extra)
    assert found.value == pytest.approx(np.mean(extra) + y.mean() - f.mean())
    assert 0 <= found.low <= max(found.value, 0) + 1e-9
    assert min(found.value, 1) - 1e-9 <= found.high <= 1


def test_bounds_narrow_where_the_simulator_is_right():
    generator = np.random.default_rng(0)
    extra = generator.random(2000) < 0.5
    alike, unlike = (prediction_powered_bounds(*paired_outcomes((0.5, 0.5), rho, (200,), generator), extra) for rho in (1.0, 0.0))
    assert alike.high - alike.low < 0.2 < unlike.high - unlike.low


@pytest.mark.parametrize("rate", [prediction_powered_rate, prediction_powered_wilson, prediction_powered_bounds])
def test_unscored_episodes_are_left_out_and_nonsense_refused(rate):
    nan = float("nan")
    assert rate([*REAL, 1, nan], [*PAIRED, nan, 0], [*EXTRA, nan]) == rate(REAL, PAIRED, EXTRA)
    for bad in ((REAL, PAIRED[1:], EXTRA), (REAL, PAIRED, []), ([], [], EXTRA), ([2], [1], [1]), (REAL, PAIRED, [nan])):
        with pytest.raises(InvalidInput):
            rate(*bad)
    with pytest.raises(InvalidInput, match="level is 95"):
        rate(REAL, PAIRED, EXTRA, 95)


def test_wilsons_form_covers_a_little_study():
    found = prediction_powered(prediction_powered_wilson, REALS, 0.5, 20, 200, 60, 0)
    assert found.coverage > 0.9
    assert found.width < found.wilson_width


def test_made_pairs_have_the_rates_and_the_correlation_asked_for():
    y, f = paired_outcomes((0.3, 0.4), 0.5, (100_000,), np.random.default_rng(0))
    assert (y.mean(), f.mean(), phi(y, f)) == pytest.approx((0.3, 0.4, 0.5), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("trials", [20, 50])
def test_wilsons_form_covers(correlation, trials):
    """400 panels of five policies: 93 to 97 % less and plus three standard errors of the simulation; the whole study has 2,000."""
    found = prediction_powered(prediction_powered_wilson, (0.14, 0.35, 0.5, 0.65, 0.86), correlation, trials, 200, 400, 1)
    assert 0.93 - 0.015 <= found.coverage <= 0.97 + 0.012
    assert found.width < found.wilson_width * (1 - 0.3 * correlation**2)


@pytest.mark.slow
def test_the_normal_form_falls_short_for_few_pairs():
    found = prediction_powered(prediction_powered_rate, REALS, 0.5, 20, 200, 400, 1)
    assert found.coverage < 0.93


@pytest.mark.slow
def test_the_study_prints_its_tables(capsys):
    main(["--panels", "4", "--extra", "30"])
    printed = capsys.readouterr().out
    assert [printed.count(form) for form in ("\nnormal ", "\nwilson ", "\nbounds ")] == [18, 18, 18]
    for words in ("Clopper-Pearson", "anytime", "betting", "false alarms", "the e-process decides in"):
        assert words in printed
    with pytest.raises(SystemExit):
        main(["--panels", "0"])
    with pytest.raises(SystemExit) as helped:
        main(["--help"])
    assert helped.value.code == 0
