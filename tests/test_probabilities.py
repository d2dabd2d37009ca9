"""Calibrating a judge: a known temperature is found again, thresholds and bands come out as counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.errors import InvalidInput
from worldsim.statistics import calibration_error, centred, choose_band, choose_threshold, fit_temperature, log_loss, probability_of

SCORES = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: 0 < sum(label for _, label in pairs) < len(pairs)
)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature):
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0, 2, 200_000)
    labels = rng.random(len(true_logits)) < probability_of(true_logits, 1.0)
    assert fit_temperature(temperature * true_logits, labels) == pytest.approx(temperature, rel=0.02)
    p = probability_of(temperature * true_logits, fit_temperature(temperature * true_logits, labels))
    assert calibration_error(p, labels) < 0.005
    before = calibration_error(probability_of(temperature * true_logits, 1.0), labels)
    assert (before > 0.04) == (temperature != 1.0)


def test_logits_that_make_no_mistake_do_not_become_certainties():
    labels = np.arange(20) >= 10
    p = probability_of(np.where(labels, 50.0, -50.0), fit_temperature(np.where(labels, 50.0, -50.0), labels))
    np.testing.assert_allclose(p, np.where(labels, 11 / 12, 1 / 12), atol=1e-4)  # Platt: (n + 1) / (n + 2)


def test_calibration_error_by_hand():
    """Two bins: three at .2 with one success, one at .9 that fails."""
    assert calibration_error([0.2, 0.2, 0.2, 0.9], [True, False, False, False]) == pytest.approx((3 * (1 / 3 - 0.2) + 0.9) / 4)
    assert calibration_error([1.0, 0.0], [True, False]) == 0.0
    with pytest.raises(InvalidInput, match="at least one"):
        calibration_error([], [])


def test_log_loss_by_hand_and_least_at_the_fitted_temperature():
    assert log_loss([0.0, np.log(3)], [True, False]) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert log_loss([4.0], [True], 2.0) == pytest.approx(np.log1p(np.exp(-2)))
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, 20_000)
    labels = rng.random(len(logits)) < probability_of(logits, 2.0)
    best = fit_temperature(logits, labels)
    assert log_loss(logits, labels, best) < min(log_loss(logits, labels, best * change) for change in (0.9, 1.1))
    with pytest.raises(InvalidInput, match="at least one"):
        log_loss([], [])


@pytest.mark.parametrize(
    ("p", "labels", "threshold"),
    [
        ([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1], 0.5),  # a gap over one half
        ([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], 0.25),  # a gap below: its middle
        ([0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1], 0.75),
        ([0.1, 0.6, 0.4, 0.9], [0, 0, 1, 1], 0.25),  # (.1, .4] and (.6, .9] make one mistake, between them two
        ([0.2, 0.2, 0.2, 0.2, 0.3, 0.3], [0, 0, 0, 1, 0, 1], 0.25),  # rates of classes, not counts: half missed, a quarter false
        ([0.9, 0.2], [0, 1], 0.1),  # worse than chance: call all success, or none
    ],
)
def test_the_threshold_by_hand(p, labels, threshold):
    found = choose_threshold(np.array(p), np.array(labels))
    mistakes = [_mistakes(p, labels, at) for at in (*np.linspace(0.001, 1, 400), found)]
    assert mistakes[-1] == pytest.approx(min(mistakes))
    assert found == pytest.approx(threshold)


def _mistakes(p, labels, threshold) -> float:
    """Both rates of mistakes, added."""
    said, truth = np.array(p) >= threshold, np.array(labels, bool)
    return float((said & ~truth).sum() / (~truth).sum() + (~said & truth).sum() / truth.sum())


@given(SCORES)
@settings(deadline=None)
def test_no_threshold_is_better_than_the_chosen_one(pairs):
    p, labels = np.array([score / 20 for score, _ in pairs]), np.array([label for _, label in pairs])
    best = min(_mistakes(p, labels, at) for at in np.linspace(0.0, 1.01, 1011))
    assert _mistakes(p, labels, choose_threshold(p, labels)) == pytest.approx(best)


def test_the_band_by_hand():
    p = np.array([0.05, 0.10, 0.20, 0.40, 0.60, 0.70, 0.90, 0.95])
    labels = np.array([0, 0, 1, 0, 1, 0, 1, 1], bool)
    assert choose_band(p, labels, 0.5, 0.0) == (0.20, 0.90)  # .20 itself is not below
    assert choose_band(p, labels, 0.5, 0.25) == (0.5, 0.5)  # one of four is wrong on either side
    assert choose_band(p, labels, 0.5, 0.24) == (0.20, 0.90)
    with pytest.raises(InvalidInput, match="share of wrong answers"):
        choose_band(p, labels, 0.5, 1.0)


@given(SCORES, st.sampled_from([0.0, 0.1, 0.3]))
@settings(deadline=None)
def test_outside_the_band_answers_are_as_good_as_asked_for(pairs, most_wrong):
    p, labels = np.array([score / 20 for score, _ in pairs]), np.array([label for _, label in pairs])
    low, high = choose_band(p, labels, 0.5, most_wrong)
    assert low <= 0.5 <= high
    for said, wrong in ((p >= high, ~labels), (p < low, labels)):
        assert (said & wrong).sum() <= most_wrong * said.sum() + 1e-9
    for at in np.unique(p):  # and no narrower band would do
        if 0.5 <= at < high:
            assert (~labels[p >= at]).sum() > most_wrong * (p >= at).sum()
        if low < at <= 0.5:
            assert labels[p < at].sum() > most_wrong * (p < at).sum()


def test_labels_of_one_kind_calibrate_nothing():
    for fit in (lambda p, y: fit_temperature(p, y), choose_threshold, lambda p, y: choose_band(p, y, 0.5, 0.1)):
        with pytest.raises(InvalidInput, match="all 3 labels say the same"):
            fit(np.array([0.1, 0.2, 0.3]), np.ones(3, bool))
        with pytest.raises(InvalidInput, match="expected as many"):
            fit(np.array([0.1, 0.2, 0.3]), np.ones(2, bool))


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9, 1.0])
def test_a_centred_probability_keeps_its_order_and_has_the_threshold_at_one_half(threshold):
    p = np.linspace(0, 1, 101)
    moved = np.array([centred(each, threshold) for each in p])
    assert centred(threshold, threshold) >= 0.5
    assert ((moved >= 0.5) == (p >= threshold)).all()
    assert (np.diff(moved) >= 0).all()
    assert (moved[0], moved[-1]) == (0, 1)
    if threshold == 0.5:
        np.testing.assert_allclose(moved, p, atol=1e-12)
