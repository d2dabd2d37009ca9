"""The shipped tables give the published agreement, to the printed digit; and printed numbers that cannot be are found."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from worldsim.data.references import Reference, load_reference, reference_names
from worldsim.data.references.reference import parse_reference
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.statistics import (
    drop_one,
    fisher_z_interval,
    kendall,
    kruskal_wallis,
    lattice_count,
    mmrv,
    mmrv_bound,
    pearson,
    permutation_test,
    spearman,
)

GOOGLE, WIDOWX = "simpler:google_robot/", "simpler:widowx/"
MEASURES = {"mmrv": mmrv, "swapped": lambda **s: mmrv(**s, gap="sim"), "pearson": pearson, "spearman": spearman, "kendall": kendall}
METRICS = {
    (GOOGLE + "pick_coke_can", "vm"): {"mmrv": 0.0313, "swapped": 0.0618, "pearson": 0.9754, "spearman": 0.7714, "kendall": 0.6},
    (GOOGLE + "pick_coke_can", "va"): {"mmrv": 0.0847, "swapped": 0.0462, "pearson": 0.9598},
    (GOOGLE + "coke_horizontal", "vm"): {"mmrv": 0.0267, "swapped": 0.06, "pearson": 0.9815},
    (GOOGLE + "coke_horizontal", "va"): {"mmrv": 0.0933, "swapped": 0.022, "pearson": 0.947},
    (GOOGLE + "coke_vertical", "vm"): {"mmrv": 0.0267, "swapped": 0.0367, "pearson": 0.9637},
    (GOOGLE + "coke_vertical", "va"): {"mmrv": 0.1333, "swapped": 0.0313, "pearson": 0.9367},
    (GOOGLE + "coke_standing", "vm"): {"mmrv": 0.0533, "swapped": 0.1033, "pearson": 0.9421},
    (GOOGLE + "coke_standing", "va"): {"mmrv": 0.14, "swapped": 0.1317, "pearson": 0.9328},
    (GOOGLE + "move_near", "vm"): {"mmrv": 0.111, "swapped": 0.0027, "pearson": 0.8561, "spearman": 0.9429, "kendall": 0.8667},
    (GOOGLE + "move_near", "va"): {"mmrv": 0.111, "swapped": 0.003, "pearson": 0.8862},
    (GOOGLE + "open_drawer", "vm"): {"mmrv": 0, "swapped": 0, "pearson": 0.9832},
    (GOOGLE + "open_drawer", "va"): {"mmrv": 0.3028, "swapped": 0.1203, "pearson": 0.63},
    (GOOGLE + "close_drawer", "vm"): {"mmrv": 0.1233, "swapped": 0.1133, "pearson": 0.7712},
    (GOOGLE + "close_drawer", "va"): {"mmrv": 0.321, "swapped": 0.1343, "pearson": 0.613},
    (GOOGLE + "drawer", "vm"): {"mmrv": 0.0553, "swapped": 0.0107, "pearson": 0.9153},
    (GOOGLE + "drawer", "va"): {"mmrv": 0.3208, "swapped": 0.0628, "pearson": 0.7363},
    (GOOGLE + "place_apple_in_closed_top_drawer", "vm"): {"mmrv": 0, "swapped": 0.0108, "pearson": 0.9692},
    (GOOGLE + "place_apple_in_closed_top_drawer", "va"): {"mmrv": 0.148, "swapped": 0.1092, "pearson": 0.2374},
    (GOOGLE + "mean_of_5_tasks", "vm"): {"mmrv": 0, "pearson": 0.9736},
    (WIDOWX + "spoon_on_towel", "vm"): {"mmrv": 0, "pearson": 0.8269},
    (WIDOWX + "spoon_on_towel/grasp", "vm"): {"mmrv": 0, "pearson": 0.7771},
    (WIDOWX + "carrot_on_plate", "vm"): {"mmrv": 0.1113, "swapped": 0.0093, "pearson": 0.5714},
    (WIDOWX + "carrot_on_plate/grasp", "vm"): {"mmrv": 0, "pearson": 0.9954},
    (WIDOWX + "stack_cube", "vm"): {"mmrv": 0, "pearson": 1.0},
    (WIDOWX + "stack_cube/grasp", "vm"): {"mmrv": 0, "pearson": 0.9647},
    (WIDOWX + "eggplant_in_basket", "vm"): {"mmrv": 0, "pearson": 0.9894},
    (WIDOWX + "eggplant_in_basket/grasp", "vm"): {"mmrv": 0, "pearson": 0.9946},
    ("worldgym:bridge", "world_model"): {"mmrv": 0, "pearson": 0.9924},
}
FIVE = ("pick_coke_can", "move_near", "open_drawer", "close_drawer", "place_apple_in_closed_top_drawer")
some_rates = st.integers(2, 6).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 10).map(lambda k: k / 10), min_size=n, max_size=n)] * 2)
)


def sides(name: str, setting: str) -> dict[str, tuple[float, ...]]:
    reference = load_reference(name)
    return {"simulated": reference.simulated[setting].rates, "real": reference.real.rates}


@pytest.mark.parametrize("key", METRICS, ids=lambda key: f"{key[0]} {key[1]}")
def test_a_table_gives_the_published_agreement(key):
    found = {name: MEASURES[name](**sides(*key)) for name in METRICS[key]}
    assert found == pytest.approx(METRICS[key], abs=6e-5)


def test_every_shipped_table_is_checked():
    shipped = {(name, setting) for name in reference_names() for setting in load_reference(name).simulated}
    assert shipped - set(METRICS) == {(GOOGLE + "mean_of_5_tasks", "va")}
    assert set(METRICS) <= shipped


@pytest.mark.parametrize(("task", "violation", "correlation"), [("pick_coke_can", 0.031111, 0.975549), ("move_near", 0.111111, 0.855853)])
def test_exact_counts_give_the_exact_agreement(task, violation, correlation):
    reference = load_reference(GOOGLE + task)
    exact = {
        side: np.array(measured.successes) / np.array(measured.trials)
        for side, measured in (("simulated", reference.simulated["vm"]), ("real", reference.real))
    }
    assert (mmrv(**exact), pearson(**exact)) == pytest.approx((violation, correlation), abs=6e-7)


def test_thirty_cells_pooled_mix_the_difficulty_of_tasks_into_r():
    tables = [sides(GOOGLE + task, "vm") for task in FIVE]
    pooled = {side: np.concatenate([table[side] for table in tables]) for side in ("simulated", "real")}
    assert len(pooled["real"]) == 30
    assert (mmrv(**pooled), pearson(**pooled)) == pytest.approx((0.155867, 0.915814), abs=6e-7)


def test_the_mean_of_five_tasks_is_computed_from_its_parts():
    mean = load_reference(GOOGLE + "mean_of_5_tasks")
    assert mean.real.rates == pytest.approx([0.5354, 0.6824, 0.6562, 0.5754, 0.03, 0.262])
    assert mean.simulated["vm"].rates == pytest.approx([0.4206, 0.5652, 0.4648, 0.4568, 0.071, 0.133])
    assert set(mean.real.trials) == set(mean.real.successes) == {None}


def test_averages_that_are_printed_are_those_of_their_parts():
    orientations = [load_reference(GOOGLE + name) for name in ("coke_horizontal", "coke_vertical", "coke_standing")]
    coke, drawer = load_reference(GOOGLE + "pick_coke_can"), load_reference(GOOGLE + "drawer")
    assert coke.real.successes == tuple(map(sum, zip(*(part.real.successes for part in orientations), strict=True)))
    assert coke.simulated["vm"].successes == tuple(map(sum, zip(*(part.simulated["vm"].successes for part in orientations), strict=True)))
    tasks = [load_reference(GOOGLE + name) for name in ("open_drawer", "close_drawer")]
    assert drawer.real.successes == tuple(map(sum, zip(*(part.real.successes for part in tasks), strict=True)))


def test_quirks_are_kept_and_flagged():
    close, drawer = load_reference(GOOGLE + "close_drawer"), load_reference(GOOGLE + "drawer")
    place = close.policies.index("rt-1-x")
    assert (close.simulated["vm"].rates[place], close.simulated["vm"].successes[place]) == (0.891, None)
    assert lattice_count(0.891, 108) is None
    assert any(".891" in note for note in close.notes)
    assert (drawer.simulated["vm"].rates[place], drawer.simulated["vm"].successes[place]) == (0.597, 32 + 97)
    mended = [0.898 if policy == "rt-1-x" else rate for policy, rate in zip(close.policies, close.simulated["vm"].rates, strict=True)]
    assert pearson(simulated=mended, real=close.real.rates) == pytest.approx(0.7684, abs=6e-5)
    assert mmrv(simulated=mended, real=close.real.rates) == mmrv(**sides(GOOGLE + "close_drawer", "vm"))
    for name in ("eggplant_in_basket", "eggplant_in_basket/grasp"):
        eggplant = load_reference(WIDOWX + name)
        assert None in [lattice_count(rate, 24) for rate in eggplant.real.rates]
        assert None not in eggplant.real.successes
        assert set(eggplant.real.trials) == {20}


def test_policies_without_a_real_rate_stay_out_of_every_column_of_rates():
    names = set()
    for reference in map(load_reference, reference_names()):
        alone = {name for rates in reference.simulated_only.values() for name in rates}
        assert not alone & set(reference.policies)
        assert {len(measured.rates) for measured in (reference.real, *reference.simulated.values())} == {len(reference.policies)}
        names |= alone
    assert names == {"openvla-7b", "robovlm"}
    assert load_reference(GOOGLE + "drawer").simulated_only == {"vm": {"openvla-7b": 0.356, "robovlm": 0.268}, "va": {"openvla-7b": 0.177}}
    assert load_reference(WIDOWX + "carrot_on_plate/grasp").simulated_only == {"vm": {"openvla-7b": 0.333}}


def test_a_reference_says_what_it_is():
    for name in reference_names():
        reference = load_reference(name)
        assert isinstance(reference, Reference)
        assert reference.name == name
        assert reference.recipe
        assert "arXiv" in reference.source
        assert reference.settings.keys() == reference.simulated.keys()
    assert load_reference(WIDOWX + "eggplant_in_basket").protocol == {"rate_hz": 5, "horizon": 120}
    assert load_reference("worldgym:bridge").real.successes == (31.5, 34, 120)


def test_unknown_references_are_refused_with_a_suggestion():
    with pytest.raises(UnknownName, match='did you mean "simpler:google_robot/close_drawer"'):
        load_reference("simpler:google_robot/close_drawr")
    with pytest.raises(UnknownName, match="known: simpler:google_robot/close_drawer, "):
        load_reference("zzz")


@pytest.mark.parametrize(
    "real",
    [
        {"rates": [0.5], "trials": 10},
        {"rates": [0.5, 0.55], "trials": 10},
        {"rates": [0.5, 0.6], "trials": 10, "off_grid": ["b"]},
        {"rates": [0.5, 0.6], "successes": [5, 7], "trials": 10},
        {"rates": [0.5, 0.6], "successes": [5], "trials": 10},
    ],
    ids=["too few", "no such count", "marked for nothing", "another count", "too few counts"],
)
def test_a_table_that_contradicts_itself_is_refused(real):
    family = {"policies": ["a", "b"], "settings": {}, "source": "by hand"}
    with pytest.raises(DamagedFile, match="toy"):
        parse_reference("toy", family, {"real": real, "simulated": {}, "recipe": "one task", "protocol": {}})


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_rate_printed_to_three_digits_gives_its_count_back(counts):
    k, n = counts
    assert lattice_count(round(k / n, 3), n) == k
    with pytest.raises(InvalidInput):
        lattice_count(1.5, n)


@given(some_rates)
def test_no_mmrv_exceeds_its_bound_and_a_reversed_order_reaches_it(rates):
    simulated, real = rates
    bound = mmrv_bound(real=real)
    for rule in ("strict_gt", "strict_lt", "sign_product", "any_difference"):
        assert mmrv(simulated=simulated, real=real, tie_rule=rule) <= bound + 1e-12
    assert bound == pytest.approx(mmrv(simulated=[-rate for rate in real], real=real))
    assert bound <= np.ptp(real) + 1e-12


def test_bounds_of_nonsense_are_refused():
    for real in ([0.5], [0.5, float("nan")], [[0.5, 0.5]]):
        with pytest.raises(InvalidInput):
            mmrv_bound(real=real)


KRUSKAL = [(53, 69, 75, 11.1663, 0.000833), (2, 10, 75, 5.7585, 0.01641), (43, 57, 75, 5.8408, 0.01566)]
KRUSKAL += [(27, 38, 60, 4.0277, 0.04476), (3, 21, 60, 16.7344, 4.30e-5)]


@pytest.mark.parametrize(("simulated", "real", "n", "statistic", "p"), KRUSKAL)
def test_kruskal_vectors(simulated, real, n, statistic, p):
    found = kruskal_wallis(simulated=(simulated, n), real=(real, n))
    assert found.statistic == pytest.approx(statistic, abs=6e-5)
    assert found.p_value == pytest.approx(p, rel=6e-4)


def test_kruskal_vectors_are_the_shipped_counts_on_as_many_trials_as_were_real():
    coke, near = load_reference(GOOGLE + "pick_coke_can"), load_reference(GOOGLE + "move_near")
    rebuilt = [
        (round(rate * n), k, n)
        for reference in (coke, near)
        for rate, k, n in zip(reference.simulated["vm"].rates, reference.real.successes, reference.real.trials, strict=True)
    ]
    assert {row[:3] for row in KRUSKAL} <= set(rebuilt)


@example(((1, 33), (1, 33)))  # scipy's own p value is NaN here
@given(st.tuples(*[st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))] * 2))
def test_kruskal_of_two_counts_is_a_chi_square(counts):
    (a, n), (b, m) = counts
    statistic, p = kruskal_wallis(simulated=(a, n), real=(b, m))
    if a + b in (0, n + m):
        assert (statistic, p) == (0, 1)
        return
    chi_square = stats.chi2_contingency([[a, n - a], [b, m - b]], correction=False).statistic
    assert statistic == pytest.approx((n + m - 1) / (n + m) * chi_square, rel=1e-6, abs=1e-9)
    assert p == pytest.approx(stats.chi2.sf(chi_square * (n + m - 1) / (n + m), 1), abs=1e-6)


@pytest.mark.parametrize("counts", [(3, 2), (-1, 2), (0, 0), (0.5, 2)])
def test_kruskal_refuses_what_are_no_counts(counts):
    with pytest.raises(InvalidInput):
        kruskal_wallis(simulated=counts, real=(1, 2))


def test_move_near_over_other_policies():
    near = sides(GOOGLE + "move_near", "vm")
    assert fisher_z_interval(pearson(**near), 6) == pytest.approx((0.146, 0.984), abs=6e-4)
    assert permutation_test(**near)[1:] == (2, 720, True)
    left = drop_one(**near)
    assert (min(left), max(left)) == pytest.approx((0.854, 0.942), abs=6e-4)


@given(some_rates)
def test_orders_are_counted_as_by_hand(rates):
    simulated, real = rates
    observed = pearson(simulated=simulated, real=real)
    test = permutation_test(simulated=simulated, real=real)
    constant = len(set(simulated)) == 1 or len(set(real)) == 1
    reached = [constant or pearson(simulated=order, real=real) >= observed - 1e-9 for order in permutations(simulated)]
    assert (test.hits, test.orders) == (sum(reached), factorial(len(real)))
    assert test.p_value == test.hits / test.orders >= 1 / factorial(len(real)) - 1e-12


def test_many_policies_are_tested_by_random_orders_close_to_all_of_them():
    generator = np.random.default_rng(0)
    real = generator.random(9)
    simulated = real + generator.normal(0, 0.5, 9)
    test = permutation_test(simulated=simulated, real=real)
    assert not test.exact
    assert test == permutation_test(simulated=simulated, real=real, seed=0)
    every = np.array(list(permutations(simulated))) @ (real - real.mean())
    exact = np.mean(every >= simulated @ (real - real.mean()) - 1e-12)
    assert 0.005 < exact < 0.5
    assert test.p_value == pytest.approx(exact, abs=5 * (exact / 99_999) ** 0.5)


@given(st.floats(-0.99, 0.99), st.integers(4, 40), st.floats(0.5, 0.99))
def test_fisher_z_holds_r_and_mirrors(r, policies, level):
    low, high = fisher_z_interval(r, policies, level)
    assert -1 <= low < r < high <= 1
    assert fisher_z_interval(-r, policies, level) == pytest.approx((-high, -low))


def test_fisher_z_matches_scipy_and_is_undefined_for_few_or_perfect_policies():
    near = sides(GOOGLE + "move_near", "vm")
    expected = stats.pearsonr(near["simulated"], near["real"]).confidence_interval(0.9)
    assert fisher_z_interval(pearson(**near), 6, 0.9) == pytest.approx(tuple(expected), abs=1e-6)
    assert fisher_z_interval(0.5, 3) is fisher_z_interval(1.0, 6) is None
    for r, level in ((1.5, 0.95), (float("nan"), 0.95), (0.5, 95)):
        with pytest.raises(InvalidInput):
            fisher_z_interval(r, 6, level)


def test_leaving_one_out_by_hand():
    rates = {"simulated": [0.1, 0.2, 0.9], "real": [0.2, 0.1, 0.8]}
    assert drop_one(**rates, measure=mmrv) == pytest.approx((0, 0, 0.1))
    assert drop_one(simulated=[0.1, 0.2], real=[0.1, 0.2]) is None
    with pytest.raises(InvalidInput):
        drop_one(simulated=[0.1], real=[0.1])


@given(some_rates)
def test_kendall_is_scipys_and_zero_for_a_constant_side(rates):
    simulated, real = rates
    value = kendall(simulated=simulated, real=real)
    if len(set(simulated)) == 1 or len(set(real)) == 1:
        assert value == 0
    else:
        assert value == pytest.approx(stats.kendalltau(simulated, real).statistic)
