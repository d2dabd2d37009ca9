"""Statistics against published or recomputed vectors, closed forms, and properties that hold for any data."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import worldsim
from worldsim.errors import InvalidInput
from worldsim.statistics import (
    agreement_intervals,
    alike_by_chance,
    bias,
    clopper_pearson_interval,
    compact_letters,
    holm,
    jeffreys_interval,
    mcnemar_exact,
    mean_absolute_error,
    mmrv,
    noise_ceiling,
    pearson,
    phi,
    phi_within,
    regret,
    spearman,
    student_interval,
    top1_correct,
    wilson_interval,
)

RULES = ("strict_gt", "strict_lt", "sign_product", "any_difference")

# k, n, then low and high of Wilson, Clopper-Pearson and, where known, Jeffreys
INTERVALS = [
    (0, 10, 0, 0.2775, 0, 0.3085, 0, 0.2172),
    (7, 10, 0.3968, 0.8922, 0.3475, 0.9333, 0.3942, 0.9073),
    (10, 10, 0.7225, 1, 0.6915, 1, 0.7828, 1),
    (64, 75, 0.7562, 0.9161, 0.7527, 0.9244, 0.7605, 0.9195),
    (2, 75, 0.0073, 0.0921, 0.0032, 0.0930, 0.0056, 0.0828),
    (0, 20, 0, 0.1611, 0, 0.1684, 0, 0.1166),
    (81, 263, 0.2553, 0.3662, 0.2527, 0.3676),
    (15, 148, 0.0624, 0.1605, 0.0578, 0.1617),
    (1, 29, 0.0061, 0.1718, 0.0009, 0.1776),
]

rates = st.integers(2, 7).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=n, max_size=n)] * 2))


@pytest.mark.parametrize("row", INTERVALS, ids=lambda row: f"{row[0]}/{row[1]}")
def test_interval_vectors(row):
    k, n, *ends = row
    intervals = (wilson_interval, clopper_pearson_interval, jeffreys_interval)
    got = [end for interval in intervals for end in interval(k, n)][: len(ends)]
    assert got == pytest.approx(ends, abs=6e-5)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_intervals_hold_the_rate_mirror_and_match_scipy(counts, level):
    k, n = counts
    for interval, method in ((wilson_interval, "wilson"), (clopper_pearson_interval, "exact"), (jeffreys_interval, None)):
        low, high = interval(k, n, level)
        assert 0 <= low <= k / n <= high <= 1
        assert (1 - high, 1 - low) == pytest.approx(interval(n - k, n, level), abs=1e-9)
        if method:
            expected = stats.binomtest(k, n).proportion_ci(level, method)
            assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 5, 1.0), (1, 5, 95)])
def test_impossible_counts_are_refused(k, n, level):
    for interval in (wilson_interval, clopper_pearson_interval, jeffreys_interval):
        with pytest.raises(InvalidInput):
            interval(k, n, level)


def test_tie_rules():
    real = [0.9, 0.3, 0.1]
    one_tie = [mmrv(simulated=[0.5, 0.5, 0.2], real=real, tie_rule=rule) for rule in RULES]
    all_tied = [mmrv(simulated=[0.5, 0.5, 0.5], real=real, tie_rule=rule) for rule in RULES]
    assert one_tie == pytest.approx([0.2, 0.2, 0.0, 0.4])
    assert all_tied == pytest.approx([1 / 3, 1.4 / 3, 0, 2.2 / 3])
    assert pearson(simulated=[0.5, 0.5, 0.5], real=real) == 0


def test_pearson_of_constant_sides_follows_simpler():
    assert pearson(simulated=[0.1, 0.1, 0.1], real=[0.7, 0.7, 0.7]) == 1
    assert pearson(simulated=[0.1, 0.2, 0.4], real=[0.1, 0.2, 0.4]) == 1
    assert pearson(simulated=[0.1, 0.2, 0.4], real=[0.2, 0.4, 0.8]) == pytest.approx(1, abs=1e-6)


@given(rates)
def test_agreement_properties(sides):
    simulated, real = map(np.array, sides)
    given_sides = {"simulated": simulated, "real": real}
    violations = {rule: mmrv(**given_sides, tie_rule=rule) for rule in RULES}
    steps = [0, violations["sign_product"], violations["strict_gt"], violations["any_difference"], np.ptp(real)]
    assert all(before <= after + 1e-12 for before, after in itertools.pairwise(steps))
    assert violations["strict_lt"] == mmrv(simulated=-simulated, real=-real)
    assert abs(pearson(**given_sides)) <= 1 + 1e-12
    if np.ptp(simulated) and np.ptp(real):
        assert pearson(**given_sides) == pytest.approx(np.corrcoef(simulated, real)[0, 1], abs=1e-4)
        assert spearman(**given_sides) == pytest.approx(stats.spearmanr(simulated, real).statistic, abs=1e-6)
    assert abs(bias(**given_sides)) <= mean_absolute_error(**given_sides) + 1e-12
    assert 0 <= regret(**given_sides) <= np.ptp(real) + 1e-12
    assert top1_correct(**given_sides) == (regret(**given_sides) == 0)
    assert mmrv(simulated=real, real=real) == regret(simulated=real, real=real) == 0


def test_decision_by_hand():
    sides = {"simulated": [0.5, 0.5, 0.1], "real": [0.8, 0.6, 0.9]}
    assert regret(**sides) == pytest.approx(0.2)
    assert not top1_correct(**sides)
    assert bias(**sides) == pytest.approx(-1.2 / 3)
    assert mean_absolute_error(**sides) == pytest.approx(1.2 / 3)


@pytest.mark.parametrize(
    "options", [{"simulated": [1], "real": [1]}, {"simulated": [0, 1], "real": [1]}, {"simulated": [0, float("nan")], "real": [0, 1]}]
)
def test_bad_rates_are_refused(options):
    for measure in (pearson, spearman, mmrv):
        with pytest.raises(InvalidInput):
            measure(**options)


def test_unknown_conventions_are_refused_with_a_suggestion():
    with pytest.raises(InvalidInput, match='did you mean "strict_gt"'):
        mmrv(simulated=[0, 1], real=[0, 1], tie_rule="strict_g")
    with pytest.raises(InvalidInput, match="real"):
        mmrv(simulated=[0, 1], real=[0, 1], gap="rael")


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=20))
def test_phi_is_the_correlation_of_outcomes(pairs):
    simulated, real = ([pair[side] for pair in pairs] for side in (0, 1))
    value = phi(simulated, real)
    if len(set(simulated)) < 2 or len(set(real)) < 2:
        assert value is None
    else:
        assert value == pytest.approx(np.corrcoef(simulated, real)[0, 1])


def test_phi_by_hand_and_without_unscored_pairs():
    assert phi(simulated=[1, 1, 0, 0], real=[1, 0, 0, 0]) == pytest.approx(2 / 12**0.5)
    assert phi([1, 1, 0, 0, 1], [1, 0, 0, 0, np.nan]) == phi([1, 1, 0, 0], [1, 0, 0, 0])
    with pytest.raises(InvalidInput):
        phi([0.5, 1], [1, 0])


def test_phi_within_policies_leaves_their_strength_out():
    rng = np.random.default_rng(4)
    groups = [(rng.random(400) < rate, rng.random(400) < rate) for rate in (0.1, 0.9)]  # nothing in common but the policy
    pooled = phi(*(np.concatenate([group[side] for group in groups]) for side in (0, 1)))
    assert pooled > 0.5
    assert abs(phi_within(groups)) < 0.1
    one = [([1, 1, 0, 0, 1], [1, 0, 0, 0, np.nan])]
    assert phi_within(one) == pytest.approx(phi(*one[0]))
    assert phi_within([([1, 1], [1, 1]), ([0, 0], [0, 1])]) is None


def test_episodes_that_end_alike_by_chance():
    alike, opposite = alike_by_chance([1, 1, 1, 0, 0, 0, np.nan], [1, 1, 1, 0, 0, 0, 1]), alike_by_chance([1, 1, 0, 0], [0, 0, 1, 1])
    assert alike == pytest.approx(1 / 20)  # one of the 20 ways to place three successes
    assert opposite == pytest.approx(1)


def test_noise_ceiling_approaches_perfection_and_is_repeatable():
    true_rates = [0.1, 0.4, 0.6, 0.9]
    few, many = (noise_ceiling(true_rates, trials, trials, seed=3) for trials in (10, 100_000))
    assert many.pearson.median > 0.9999
    assert many.mmrv == (0, 0, 0)
    assert few.pearson.low < few.pearson.median < few.pearson.high < many.pearson.median
    assert few.mmrv.high > 0
    assert few == noise_ceiling(true_rates, [10] * 4, [10] * 4, seed=3)


def test_noise_ceiling_of_single_trials_matches_the_exact_distribution():
    # two policies at one half: every outcome of four coins is equally likely
    coins = [np.array(outcome) for outcome in itertools.product((0, 1), repeat=4)]
    exact = {
        "pearson": [pearson(simulated=c[:2], real=c[2:]) for c in coins],
        "mmrv": [mmrv(simulated=c[:2], real=c[2:]) for c in coins],
    }
    ceiling = noise_ceiling([0.5, 0.5], 1, 1)
    for name, values in exact.items():
        low, median, high = np.percentile(values, (5, 50, 95))
        assert getattr(ceiling, name) == pytest.approx((median, low, high), abs=1e-6)


def test_noise_ceiling_refuses_nonsense():
    with pytest.raises(InvalidInput):
        noise_ceiling([0.5, 1.5], 10, 10)
    with pytest.raises(InvalidInput):
        noise_ceiling([0.5, 0.5], 0, 10)


def outcomes_of(rate, starts, seed):
    return (np.random.default_rng(seed).random((len(rate), starts)) < np.array(rate)[:, None]).astype(float)


def test_agreement_intervals_hold_the_estimate_and_shrink():
    widths = []
    for starts in (20, 500):
        simulated, real = outcomes_of([0.2, 0.5, 0.8], starts, 0), outcomes_of([0.3, 0.5, 0.7], starts, 1)
        intervals = agreement_intervals(simulated, real, draws=500)
        s, r = simulated.mean(axis=1), real.mean(axis=1)
        assert intervals["bias"].low <= bias(simulated=s, real=r) <= intervals["bias"].high
        assert intervals["pearson"].low <= pearson(simulated=s, real=r) <= intervals["pearson"].high
        assert intervals["phi"].low <= phi(simulated.ravel(), real.ravel()) <= intervals["phi"].high
        widths.append(intervals["bias"].high - intervals["bias"].low)
    assert widths[1] < widths[0] / 3


def test_agreement_intervals_of_a_copy_are_exact():
    real = outcomes_of([0.2, 0.5, 0.8], 30, 0)
    intervals = agreement_intervals(real, real)
    assert intervals["pearson"] == intervals["phi"] == pytest.approx((1, 1))
    assert intervals["mmrv"] == intervals["bias"] == intervals["mean_absolute_error"] == (0, 0)


def test_bias_interval_matches_the_normal_theory_of_paired_differences():
    simulated, real = outcomes_of([0.5], 400, 0), outcomes_of([0.4], 400, 1)
    difference = (simulated - real)[0]
    half = 1.96 * difference.std() / 20
    expected = (difference.mean() - half, difference.mean() + half)
    assert agreement_intervals(simulated, real, draws=4000)["bias"] == pytest.approx(expected, abs=0.01)


def test_agreement_intervals_without_enough_data():
    one = agreement_intervals(np.array([[1.0, 0, 1]]), np.array([[1.0, 0, 0]]))
    assert one["pearson"] is None
    assert one["mmrv"] is None
    assert one["bias"] is not None
    unscored = agreement_intervals(np.full((2, 3), np.nan), np.ones((2, 3)))
    assert set(unscored.values()) == {None}
    for shapes in (((2, 3), (3, 2)), ((2, 0), (2, 0))):
        with pytest.raises(InvalidInput):
            agreement_intervals(np.zeros(shapes[0]), np.zeros(shapes[1]))
    with pytest.raises(InvalidInput):
        agreement_intervals(np.zeros((2, 3)), np.zeros((2, 3)), level=95)


def test_unscored_starts_are_left_out_of_one_rate_only():
    simulated, real = outcomes_of([0.2, 0.8], 40, 0), outcomes_of([0.3, 0.7], 40, 1)
    simulated[0, :10] = np.nan
    intervals = agreement_intervals(simulated, real, draws=300)
    estimate = np.nanmean(simulated, axis=1).mean() - real.mean(axis=1).mean()
    assert intervals["bias"].low < estimate < intervals["bias"].high


def test_mcnemar_by_hand():
    a, b = [1] * 8 + [0] * 2 + [1, 0], [0] * 8 + [1] * 2 + [1, 0]
    assert mcnemar_exact(a, b) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar_exact([1, 0, 1], [1, 0, 1]) == 1
    assert mcnemar_exact([1, np.nan, 1], [0, 0, np.nan]) == mcnemar_exact([1], [0]) == 1
    with pytest.raises(InvalidInput):
        mcnemar_exact([1, 0], [1])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_mcnemar_is_a_symmetric_probability(pairs):
    a, b = zip(*pairs, strict=True)
    assert 0 < mcnemar_exact(a, b) <= 1
    assert mcnemar_exact(a, b) == pytest.approx(mcnemar_exact(b, a))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1, 1]
    with pytest.raises(InvalidInput):
        holm([0.5, 1.2])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_order(p):
    adjusted = holm(p)
    assert all(raw <= value <= min(1, raw * len(p)) for raw, value in zip(p, adjusted, strict=True))
    assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)


def test_letters_vector():
    assert compact_letters("wxyz", [("w", "y"), ("w", "z"), ("x", "z")]) == {"w": "a", "x": "ab", "y": "bc", "z": "c"}
    assert compact_letters(["one"], []) == {"one": "a"}
    assert compact_letters([], []) == {}
    with pytest.raises(InvalidInput):
        compact_letters(["one", "two"], [("one", "three")])


@settings(max_examples=60)
@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.sampled_from([*itertools.combinations(range(n), 2), None])))))
def test_letters_are_shared_exactly_where_not_significant(case):
    n, pairs = case
    names = [f"p{i}" for i in range(n)]
    significant = {(names[pair[0]], names[pair[1]]) for pair in pairs if pair}
    letters = compact_letters(names, sorted(significant))
    for a, b in itertools.combinations(names, 2):
        assert bool(set(letters[a]) & set(letters[b])) == ((a, b) not in significant)
    assert all(letters.values())


def test_public_names_answer_from_the_package():
    assert worldsim.statistics.wilson_interval(7, 10, level=0.95) == wilson_interval(7, 10)
    assert worldsim.statistics.mmrv(simulated=[0, 1], real=[1, 0], tie_rule="strict_gt", gap="real") == 1


def test_students_interval_by_hand():
    """Mean 2, sd 1, n 3: t with two degrees of freedom is 4.3027 at 95 %."""
    low, high = student_interval([1.0, 2.0, 3.0])
    assert low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    for bad in ([1.0], []):
        with pytest.raises(InvalidInput, match="at least 2 values"):
            student_interval(bad)
    with pytest.raises(InvalidInput, match="level is 1"):
        student_interval([1.0, 2.0], level=1)
