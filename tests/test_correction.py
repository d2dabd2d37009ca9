"""Correction for judge error: closed forms, what is refused, and how often the interval holds the true rate, beside the raw one."""

import numpy as np
import pytest

from worldsim.errors import InvalidInput
from worldsim.statistics import Labelled, corrected_rate, corrected_rate_by_verdict, judge_rates_by_verdict, wilson_interval

RUNS = 2000
TRUE_RATES = (0.05, 0.2, 0.5, 0.8, 0.95)
HITS, ALARMS = 0.8, 0.1  # of the judge: how often it calls a true success, and a true failure, a success


def covered(intervals, rate):
    low, high = np.array(intervals).T
    return float(np.mean((low <= rate) & (rate <= high)))


def said(rng, rate, episodes, hits=HITS, alarms=ALARMS):
    """True successes `[RUNS]` and, of them and of the failures, how many the judge calls a success."""
    true = rng.binomial(episodes, rate, RUNS)
    return true, rng.binomial(true, hits), rng.binomial(episodes - true, alarms)


def test_the_value_is_rogan_and_gladens():
    found = corrected_rate(66, 100, true_positives=80, positives=100, false_positives=10, negatives=100)
    assert found.value == pytest.approx((0.66 - 0.1) / (0.8 - 0.1))
    assert found.interval.low < found.value < found.interval.high
    assert found.reason == ""


def test_the_interval_is_lang_and_reiczigels():
    """Computed by hand from the formula: 40 of 100 said yes, 45 of 50 and 5 of 50 in the check."""
    found = corrected_rate(40, 100, true_positives=45, positives=50, false_positives=5, negatives=50)
    z = 1.959963984540054
    sensitivity, specificity, q = 46 / 52, 46 / 52, (40 + z * z / 2) / (100 + z * z)
    youden = sensitivity + specificity - 1
    p = (q + specificity - 1) / youden
    noise = sensitivity * (1 - sensitivity) / 52
    shift = 2 * z * z * noise * (p - (1 - p))
    half = z / youden * (q * (1 - q) / (100 + z * z) + noise * (p * p + (1 - p) ** 2)) ** 0.5
    assert found.interval == pytest.approx((p + shift - half, p + shift + half))


def test_a_rate_outside_what_the_judge_can_say_is_cut():
    low = corrected_rate(0, 50, true_positives=40, positives=50, false_positives=10, negatives=50)
    high = corrected_rate(50, 50, true_positives=40, positives=50, false_positives=10, negatives=50)
    assert (low.value, low.interval.low) == (0, 0)
    assert (high.value, high.interval.high) == (1, 1)


def test_a_judge_that_never_errs_leaves_the_rate_and_a_larger_check_narrows_the_interval():
    widths = []
    for checked in (20, 200, 200_000):
        found = corrected_rate(30, 100, true_positives=checked, positives=checked, false_positives=0, negatives=checked)
        assert found.value == 0.3
        widths.append(found.interval.high - found.interval.low)
    assert widths == sorted(widths, reverse=True)
    raw = wilson_interval(30, 100)
    assert found.interval == pytest.approx(raw, abs=0.01)


@pytest.mark.parametrize("check", [(25, 50, 25, 50), (10, 50, 40, 50), (0, 0, 5, 50), (3, 3, 0, 0), (0, 0, 0, 0), (30, 50, 25, 50)])
def test_a_judge_that_guesses_gives_no_value_and_says_why(check):
    names = ("true_positives", "positives", "false_positives", "negatives")
    found = corrected_rate(30, 100, **dict(zip(names, check, strict=True)))
    assert found.value is None
    assert found.interval == (0, 1)
    assert "guesses" in found.reason


@pytest.mark.parametrize(
    "change", [{"trials": 0}, {"successes": 31}, {"successes": -1}, {"true_positives": 21}, {"false_positives": -1}, {"level": 1.0}]
)
def test_counts_out_of_range_are_refused(change):
    given = {"successes": 10, "trials": 30, "true_positives": 18, "positives": 20, "false_positives": 2, "negatives": 20} | change
    with pytest.raises(InvalidInput):
        corrected_rate(given.pop("successes"), given.pop("trials"), **given)


@pytest.mark.parametrize("episodes", [50, 200])
@pytest.mark.parametrize("checked", [60, 100])
def test_corrected_intervals_hold_the_true_rate_and_raw_ones_do_not(episodes, checked):
    """2,000 evaluations at every true rate, each with a check of its own; half of the check are true successes."""
    rng, raw_coverage = np.random.default_rng(episodes + checked), {}
    half = checked // 2
    for rate in TRUE_RATES:
        _, hits, alarms = said(rng, rate, episodes)
        right, wrong = rng.binomial(half, HITS, RUNS), rng.binomial(half, ALARMS, RUNS)
        counts = list(zip((hits + alarms).tolist(), right.tolist(), wrong.tolist(), strict=True))
        corrected = [
            corrected_rate(k, episodes, true_positives=t, positives=half, false_positives=f, negatives=half).interval for k, t, f in counts
        ]
        raw_coverage[rate] = covered([wilson_interval(k, episodes) for k, _, _ in counts], rate)
        assert covered(corrected, rate) >= 0.93, f"at a true rate of {rate}"
    print(f"raw Wilson intervals, {episodes} episodes: {raw_coverage}")
    assert raw_coverage[0.8] < (0.45 if episodes == 50 else 0.01)
    assert np.mean(list(raw_coverage.values())) < (0.75 if episodes == 50 else 0.45)


def check_by_verdict(rng, episodes, labels, hits=HITS, alarms=ALARMS):
    """Policies of all true rates, judged; then half of the labels drawn among the judge's successes, half among its failures.

    Returns what it said `[RUNS, policies]`, and the two label counts as arrays (true, labelled, judged) `[RUNS]`.
    """
    parts = [said(rng, rate, episodes, hits, alarms) for rate in TRUE_RATES]
    successes = np.array([found + wrong for _, found, wrong in parts]).T
    yes, yes_true = successes.sum(1), sum(found for _, found, _ in parts)
    no, no_true = episodes * len(TRUE_RATES) - yes, sum(true - found for true, found, _ in parts)
    some, others = np.minimum(labels // 2, yes), np.minimum(labels // 2, no)
    found = [rng.hypergeometric(true, of - true, drawn) for true, of, drawn in ((yes_true, yes, some), (no_true, no, others))]
    return successes, (found[0], some, yes), (found[1], others, no)


@pytest.mark.slow
@pytest.mark.parametrize(("episodes", "hits", "alarms", "labels"), [(50, 0.8, 0.1, 60), (200, 0.8, 0.1, 100), (100, 0.97, 0.02, 100)])
def test_intervals_from_a_sample_drawn_by_verdict_hold_the_true_rate(episodes, hits, alarms, labels):
    rng = np.random.default_rng(episodes)
    successes, yes, no = check_by_verdict(rng, episodes, labels, hits, alarms)
    for place, rate in ((0, 0.05), (2, 0.5), (3, 0.8)):
        intervals = []
        for run in range(RUNS):
            sides = [Labelled(*(int(count[run]) for count in side)) for side in (yes, no)]
            found = corrected_rate_by_verdict(
                int(successes[run, place]), episodes, said_success=sides[0], said_failure=sides[1], draws=60, seed=run
            )
            intervals.append(found.interval)
        assert covered(intervals, rate) >= 0.93, f"at a true rate of {rate}"


def test_error_rates_from_a_sample_drawn_by_verdict_hold_the_true_ones_and_plain_shares_do_not():
    """Of rare successes a balanced sample shows far too many: taken at face value it gives the judge other error rates than it has."""
    rng = np.random.default_rng(0)
    true = rng.binomial(1000, 0.1, RUNS)
    found, wrong = rng.binomial(true, HITS), rng.binomial(1000 - true, ALARMS)
    yes, no = found + wrong, 1000 - found - wrong
    known = rng.hypergeometric(found, wrong, 50), rng.hypergeometric(true - found, no - (true - found), 50)
    rates = [
        judge_rates_by_verdict(said_success=Labelled(int(a), 50, int(m)), said_failure=Labelled(int(b), 50, int(n)), draws=1000, seed=run)
        for run, (a, b, m, n) in enumerate(zip(*known, yes, no, strict=True))
    ]
    assert covered([each.true_positive_interval for each in rates], HITS) >= 0.93
    assert covered([each.false_positive_interval for each in rates], ALARMS) >= 0.93
    plain = [wilson_interval(50 - int(a), 100 - int(a) - int(b)) for a, b in zip(*known, strict=True)]
    assert covered(plain, ALARMS) < 0.05


def test_everybody_together_gives_the_rate_of_the_labels():
    """Corrected over all judged episodes the rate is the labels' own, weighted by verdict: g Q + h (1 - Q)."""
    yes, no = Labelled(40, 50, 300), Labelled(5, 50, 700)
    found = corrected_rate_by_verdict(300, 1000, said_success=yes, said_failure=no)
    assert found.value == pytest.approx(0.8 * 0.3 + 0.1 * 0.7)
    rates = judge_rates_by_verdict(said_success=yes, said_failure=no)
    assert rates.true_positive_rate == pytest.approx(0.8 * 0.3 / (0.8 * 0.3 + 0.1 * 0.7))
    assert rates.false_positive_rate == pytest.approx(0.2 * 0.3 / (0.2 * 0.3 + 0.9 * 0.7))
    assert rates.true_positive_interval.low < rates.true_positive_rate < rates.true_positive_interval.high


def test_the_interval_keeps_its_width_where_a_policy_does_not_fit_the_error_rates():
    """No success of 100 although the judge calls 7 % of failures a success: the rate is low, but not known to the last digit."""
    yes, no = Labelled(42, 45, 500), Labelled(4, 48, 500)
    found = corrected_rate_by_verdict(0, 100, said_success=yes, said_failure=no)
    assert (found.value, found.interval.low) == (0, 0)
    assert 0.005 < found.interval.high < 0.1


def test_a_sample_of_everything_is_the_plain_check():
    """All 100 episodes labelled: the error rates are plain shares again."""
    rates = judge_rates_by_verdict(said_success=Labelled(45, 50, 50), said_failure=Labelled(5, 50, 50))
    assert (rates.true_positive_rate, rates.false_positive_rate) == (pytest.approx(45 / 50), pytest.approx(5 / 50))


@pytest.mark.parametrize(
    ("yes", "no"), [((25, 50, 100), (25, 50, 100)), ((0, 0, 10), (5, 50, 90)), ((9, 10, 10), (0, 0, 90)), ((0, 0, 0), (1, 9, 9))]
)
def test_labels_that_cannot_tell_the_judge_from_a_guess_give_no_value(yes, no):
    found = corrected_rate_by_verdict(30, 100, said_success=Labelled(*yes), said_failure=Labelled(*no))
    assert found.value is None
    assert found.interval == (0, 1)
    assert "guesses" in found.reason


def test_impossible_labels_are_refused():
    for counts in ((2, 1, 3), (1, 4, 3), (-1, 1, 1)):
        with pytest.raises(InvalidInput):
            Labelled(*counts)
    nobody = Labelled(0, 0, 0)
    with pytest.raises(InvalidInput):
        judge_rates_by_verdict(said_success=nobody, said_failure=nobody)
    with pytest.raises(InvalidInput):
        corrected_rate_by_verdict(3, 2, said_success=Labelled(1, 1, 1), said_failure=nobody)
