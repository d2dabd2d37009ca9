"""Agreement under new rollouts of the same policies, and the line between the two sides: vectors, closed forms, properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from worldsim.data.references import load_reference
from worldsim.errors import InvalidInput
from worldsim.statistics import pearson, probability_better, regression_line, trial_layer

counts = st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
panels = st.integers(2, 5).flatmap(lambda p: st.tuples(*[st.lists(counts, min_size=p, max_size=p)] * 2))


def move_near():
    reference = load_reference("simpler:google_robot/move_near")
    sides = {"simulated": reference.simulated["vm"], "real": reference.real}
    return {side: list(zip(measured.successes, measured.trials, strict=True)) for side, measured in sides.items()}


def test_move_near_vector():
    layer = trial_layer(**move_near(), draws=20_000)
    r, violation = layer["pearson"], layer["mmrv"]
    assert (r.low, r.median, r.high) == pytest.approx((0.705, 0.839, 0.925), abs=0.005)
    assert (violation.low, violation.median, violation.high) == pytest.approx((0, 0.102, 0.198), abs=0.005)


@settings(max_examples=30)
@given(panels)
def test_bands_are_ordered_in_range_and_repeatable(panel):
    sides = {"simulated": panel[0], "real": panel[1]}
    layer = trial_layer(**sides, draws=200)
    assert layer == trial_layer(**sides, draws=200)
    least = {"pearson": -1, "spearman": -1, "bias": -1}
    for name, band in layer.items():
        assert least.get(name, 0) <= band.low <= band.median <= band.high <= 1 + 1e-12


def test_two_policies_have_closed_forms():
    simulated, real = [(90, 100), (10, 100)], [(9, 10), (4, 10)]
    layer = trial_layer(simulated=simulated, real=real, draws=40_000)
    assert layer["top1_probability"].median == pytest.approx(probability_better(*real), abs=0.004)
    mean = np.mean([(1 + k) / (2 + n) for k, n in simulated]) - np.mean([(1 + k) / (2 + n) for k, n in real])
    assert layer["bias"].median == pytest.approx(mean, abs=0.005)
    assert layer["regret"].median == 0


def test_many_trials_leave_the_point_value_and_a_wider_level_a_wider_band():
    simulated, real = [0.2, 0.5, 0.7], [0.3, 0.4, 0.8]
    n = 10**6
    layer = trial_layer(simulated=[(rate * n, n) for rate in simulated], real=[(rate * n, n) for rate in real])
    assert layer["pearson"] == pytest.approx([pearson(simulated=simulated, real=real)] * 3, abs=0.005)
    narrow, wide = (trial_layer(**move_near(), level=level)["pearson"] for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("simulated", "real"), [([(1, 2)], [(1, 2)]), ([(1, 2)] * 2, [(1, 2)] * 3), ([(3, 2)] * 2, [(1, 2)] * 2), ([(0, 0)] * 2, [(1, 2)] * 2)]
)
def test_no_panel_is_refused(simulated, real):
    with pytest.raises(InvalidInput):
        trial_layer(simulated=simulated, real=real)
    with pytest.raises(InvalidInput, match="level is 95"):
        trial_layer(simulated=[(1, 2)] * 2, real=[(1, 2)] * 2, level=95)


@given(st.integers(2, 8).flatmap(lambda p: st.tuples(*[st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=p, max_size=p)] * 2)))
def test_the_line_is_scipys(sides):
    simulated, real = sides
    line = regression_line(simulated=simulated, real=real)
    if len(set(simulated)) == 1:
        assert line is None
    else:
        expected = stats.linregress(simulated, real)
        assert line == pytest.approx((expected.slope, expected.intercept), abs=1e-9)


def test_the_line_by_hand():
    assert regression_line(simulated=[0, 1], real=[0.2, 0.7]) == pytest.approx((0.5, 0.2))
    with pytest.raises(InvalidInput):
        regression_line(simulated=[0.5], real=[0.5])
