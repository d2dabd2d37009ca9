"""Signals against imagined rollouts in worlds whose doubt is known, and limits whose promise can be worked out by hand."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import tiny
from toy import SPEC, PixelShift, PixelState, noise, picture

import worldsim
from worldsim import statistics
from worldsim.errors import InvalidInput
from worldsim.simulator import reconstructed
from worldsim.trust import Measuring, apart, measure, reseeded, rollout_values
from worldsim.trust.signals import histories
from worldsim.types import Trajectory


class Foggy:
    """A world in which nothing moves and every frame is grey: 100, and up to `doubt[step]` levels above it as the seed has it."""

    spec = SPEC

    def __init__(self, doubt=(0, 10, 20, 40)):
        self.doubt = np.array(doubt)

    def start(self, frames, seeds):
        return PixelState(frames[:, -1], np.asarray(seeds, np.uint64), np.full(len(frames), frames.shape[1] - 1))

    def step(self, state, actions):
        level = 100 + self.doubt[state.index] * (state.seeds % np.uint64(2)).astype(int)
        frames = np.broadcast_to(level[:, None, None, None], state.frames.shape).astype(np.uint8)
        return PixelState(frames, state.seeds, state.index + 1), frames


def flat(levels, seed=0):
    """An episode whose frames are of one grey each."""
    frames = np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels])
    return Trajectory("fog", frames, np.zeros((len(levels) - 1, 2), np.float32), seed)


def values(model, episodes, how, name, over="mean", batch=50):
    return rollout_values(model, episodes, how, [name], over, batch)[name]


def test_another_draw_has_other_seeds_and_the_same_pictures():
    state = PixelShift().start(np.stack([picture(1)] * 2)[:, None], np.array([3, 4]))
    once, again, other = reseeded(state), reseeded(state), reseeded(state, 2)
    np.testing.assert_array_equal(once.seeds, again.seeds)
    assert len({*state.seeds.tolist(), *once.seeds.tolist(), *other.seeds.tolist()}) == 6
    assert once.frames is state.frames


def test_a_state_without_seeds_has_no_other_noise():
    with pytest.raises(InvalidInput, match="have no seeds"):
        reseeded(object())


def test_frames_are_apart_by_the_mean_of_absolute_grey_levels():
    black, white = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 255, np.uint8)
    assert apart(black, white).tolist() == apart(white, black).tolist() == [255.0, 255.0]
    assert apart(black, black + np.uint8(3)).tolist() == [3.0, 3.0]


def test_seed_disagreement_is_what_the_noise_of_a_known_world_makes_it():
    """The toy's noise is a grey level up or down: draws with other seeds differ from the frame by what can be worked out."""
    model, still = PixelShift(), np.zeros((3, 2), np.float32)
    state, frames = model.start(picture(2)[None, None], np.array([7])), [picture(2)]
    for action in still:
        state, frame = model.step(state, action[None])
        frames.append(frame[0])
    episode = Trajectory("shift", np.stack(frames), still, seed=7)
    (found,) = measure(model, [episode], Measuring(every=1, draws=2), ["seeds"])
    others = [int(reseeded(state, draw).seeds[0]) for draw in (1, 2)]
    # a model that is started anew with the frames up to a step counts from there: the step's noise is that of frame 1
    expected = [
        np.mean([np.abs((frames[step].astype(int) + noise(other, 1)) - frames[step + 1].astype(int)).mean() for other in others])
        for step in range(3)
    ]
    assert found["seeds"] == pytest.approx(expected)


def test_a_world_whose_doubt_grows_is_seen_to_doubt():
    model, even = Foggy(), flat([100, 100, 100, 100, 100], seed=2)
    odd = int(reseeded(model.start(even.frames[None, :1], np.array([2]))).seeds[0]) % 2  # the other draw is odd or as even as the first
    (found,) = measure(model, [even], Measuring(every=1, draws=1), ["seeds"])
    assert odd == 1
    assert found["seeds"].tolist() == [0, 10, 20, 40]
    assert values(model, [even], Measuring(every=1, draws=1), "seeds").tolist() == [17.5]
    assert values(model, [even], Measuring(every=1, draws=1), "seeds", "max").tolist() == [40]
    assert values(model, [even], Measuring(every=2, draws=1), "seeds").tolist() == [25]  # the second and the last
    assert values(model, [even], Measuring(every=9, draws=1), "seeds").tolist() == [40]


def test_episodes_of_any_length_in_any_company_have_values_of_their_own():
    model, how = PixelShift(), Measuring(every=1, draws=2)
    rng = np.random.default_rng(0)
    episodes = [
        Trajectory(
            "shift", np.stack([picture(int(c)) for c in rng.integers(8, size=n + 1)]), rng.uniform(-1, 1, (n, 2)).astype(np.float32), seed
        )
        for seed, n in enumerate((3, 5, 3, 0, 5, 5))
    ]
    together = values(model, episodes, how, "seeds", batch=2)
    alone = [values(model, [each], how, "seeds")[0] for each in episodes]
    assert together.tolist() == alone
    assert together[3] == 0
    assert together.tolist() == values(model, episodes, how, "seeds").tolist()
    turned = values(model, episodes[::-1], how, "seeds", batch=4)
    assert turned[::-1].tolist() == alone


@pytest.fixture(scope="module")
def tiny_world(tmp_path_factory):
    return tiny.world_model(tmp_path_factory.mktemp("tiny") / "world")


def recorded(count=3, steps=4):
    rng = np.random.default_rng(1)
    frames = [np.stack([tiny.picture(10 * row + step) for step in range(steps + 1)]) for row in range(count)]
    return [Trajectory("tiny", each, rng.uniform(-1, 1, (steps, 3)).astype(np.float32), seed=row) for row, each in enumerate(frames)]


@pytest.mark.parametrize("history", ["stream", "window", "block", "recompute"])
def test_watching_frames_go_by_is_starting_with_them(tiny_world, history):
    model, episodes = worldsim.load_world_model(str(tiny_world), history=history, precision="fp32"), recorded()
    frames, actions = (np.stack([getattr(each, name) for each in episodes]) for name in ("frames", "actions"))
    seeds = np.array([each.seed for each in episodes], np.uint64)
    for step, state in enumerate(histories(model, frames, actions, seeds)):
        given = model.start(frames[:, : step + 1], seeds, actions[:, :step])
        expected, seen = (model.step(each, actions[:, step])[1].astype(int) for each in (given, state))
        assert np.abs(expected - seen).max() <= 1
    with pytest.raises(InvalidInput, match="frames have shape"):
        model.observed(state, actions[:, 0], frames[:, 0, 1:])


def test_a_reconstruction_sees_the_frame_through_some_noise_and_nothing_of_it_through_nothing_but_noise(tiny_world):
    model, episodes = worldsim.load_world_model(str(tiny_world), precision="fp32", steps=1), recorded()
    frames, actions = (np.stack([getattr(each, name) for each in episodes]) for name in ("frames", "actions"))
    state = model.start(frames[:, :1], np.arange(3))
    guess = reconstructed(model, state, actions[:, 0], frames[:, 1], 1.0)
    other = reconstructed(model, state, actions[:, 0], frames[:, 2], 1.0)
    np.testing.assert_array_equal(guess, other)  # under nothing but noise the frame itself is not seen
    some = reconstructed(model, state, actions[:, 0], frames[:, 1], 0.3)
    assert np.abs(some.astype(int) - reconstructed(model, state, actions[:, 0], frames[:, 2], 0.3)).max() > 0
    np.testing.assert_array_equal(some, reconstructed(model, state, actions[:, 0], frames[:, 1], 0.3))
    for level in (0.0, 1.5, float("nan")):
        with pytest.raises(InvalidInput, match="noise level above 0"):
            reconstructed(model, state, actions[:, 0], frames[:, 1], level)


def test_signals_of_a_network_are_the_same_again_and_alone(tiny_world):
    model, episodes, how = worldsim.load_world_model(str(tiny_world), precision="fp32"), recorded(), Measuring(every=1, draws=1, level=0.5)
    for name in ("seeds", "denoising"):
        together = values(model, episodes, how, name)
        assert together.tolist() == values(model, episodes, how, name).tolist()
        assert together == pytest.approx([values(model, [each], how, name)[0] for each in episodes], abs=0.05)
        assert together.min() > 0
    reseed = [replace(each, seed=each.seed + 100) for each in episodes]
    assert values(model, reseed, how, "seeds").tolist() != values(model, episodes, how, "seeds").tolist()


@dataclass
class Reader:
    """Reads every action as nought."""

    def apart(self, rollout):
        return np.abs(rollout.actions) / 2


def test_the_residual_of_inverse_dynamics_is_the_mean_over_what_can_be_read():
    episode = replace(flat([1, 2, 3]), actions=np.array([[1.0, 0.0], [0.5, -0.5]], np.float32))
    (found,) = measure(PixelShift(), [episode], Measuring(every=1, reader=Reader()), ["inverse_dynamics"])
    assert found["inverse_dynamics"].tolist() == [0.25, 0.25]


def test_area_under_the_curve_counts_pairs():
    told = statistics.area_under_curve([1, 2, 3, 4], [False, True, False, True])
    assert told.value == 0.75
    assert told.low <= told.value <= told.high
    assert statistics.area_under_curve([1, 1, 1, 1], [False, True, False, True]).value == 0.5
    assert statistics.area_under_curve(np.arange(40), np.arange(40) >= 30)[:3] == (1.0, 1.0, 1.0)
    with pytest.raises(InvalidInput, match="0 of 3 are wrong"):
        statistics.area_under_curve([1, 2, 3], [False] * 3)


def test_rank_correlation_is_spearmans():
    values = np.arange(30.0)
    assert statistics.rank_correlation(values, values**3)[:3] == pytest.approx((1, 1, 1))
    assert statistics.rank_correlation(values, -values).value == pytest.approx(-1)
    assert statistics.rank_correlation(values, np.ones(30)).value == 0
    with pytest.raises(InvalidInput, match="finite numbers"):
        statistics.rank_correlation([1, 2, np.nan], [1, 2, 3])


@pytest.mark.parametrize(
    ("wrong", "trials", "level", "expected"), [(0, 59, 0.95, 1 - 0.05 ** (1 / 59)), (0, 1, 0.95, 0.95), (5, 5, 0.9, 1.0)]
)
def test_the_bound_has_its_closed_form_where_nothing_or_everything_is_wrong(wrong, trials, level, expected):
    assert statistics.upper_bound(wrong, trials, level) == pytest.approx(expected)


def test_the_bound_is_one_side_of_clopper_and_pearsons_interval():
    assert statistics.upper_bound(3, 40, 0.975) == pytest.approx(statistics.clopper_pearson_interval(3, 40, 0.95).high)


def test_the_limit_keeps_what_can_be_promised_and_no_more():
    """Of 1000 the upper 300 are wrong: limits at 10, ... 70 % keep none of them, the next keeps an eighth."""
    curve = statistics.coverage_curve(np.arange(1000), np.arange(1000) >= 700)
    assert [each.kept for each in curve] == list(range(100, 1001, 100))
    assert [each.wrong for each in curve] == [0] * 7 + [100, 200, 300]
    assert curve[0].bound == pytest.approx(1 - 0.005 ** (1 / 100))  # a tenth of the doubt for each of ten limits
    kept = statistics.choose_limit(curve, 0.05)
    assert (kept.limit, kept.coverage, kept.wrong) == (699.0, 0.7, 0)
    assert statistics.choose_limit(curve, 0.2).coverage == 0.8
    assert statistics.choose_limit(curve, 0.9).coverage == 1.0
    assert statistics.choose_limit(curve, 0.005) is None
    with pytest.raises(InvalidInput, match="target is 1"):
        statistics.choose_limit(curve, 1)


def test_a_signal_that_never_varies_has_one_limit():
    (only,) = statistics.coverage_curve([3.0] * 50, [False] * 50)
    assert (only.kept, only.bound) == (50, pytest.approx(1 - 0.05 ** (1 / 50)))


def test_the_promise_is_kept_as_often_as_it_says():
    """Over many calibrations with a signal that says little, the true risk of what is let through is above the target in at most 5 %."""
    rng, target, broken = np.random.default_rng(0), 0.1, 0

    def risk_below(limit):  # P(wrong | value) = 0.05 + 0.1 value on [0, 1]
        return 0.05 + 0.05 * limit

    for _ in range(400):
        values = rng.uniform(size=300)
        kept = statistics.choose_limit(statistics.coverage_curve(values, rng.uniform(size=300) < 0.05 + 0.1 * values), target)
        broken += kept is not None and risk_below(kept.limit) > target - 1e-12
    assert broken <= 0.05 * 400


def test_differences_of_a_reading_with_itself_are_nothing():
    rng = np.random.default_rng(0)
    simulated, real = (rng.integers(0, 2, (4, 30)).astype(float) for _ in range(2))
    assert all(tuple(each) == (0, 0) for each in statistics.agreement_differences(simulated, simulated, real).values())
    assert statistics.agreement_values(real, real) == pytest.approx(
        {"pearson": 1, "mmrv": 0, "bias": 0, "mean_absolute_error": 0, "phi": 1}
    )
    better = np.where(simulated != real, np.nan, simulated)
    low, high = statistics.agreement_differences(simulated, better, real)["phi"]
    assert low > 0
    assert high <= 2
