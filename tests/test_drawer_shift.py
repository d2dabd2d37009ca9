"""The drawer changed one thing at a time: nothing where nothing is changed, pictures only by what is seen, motion only by what is felt."""

from dataclasses import replace

import numpy as np
import pytest

from worldsim.envs.drawer.behaviours import expert_action
from worldsim.envs.drawer.physics import CABINET_X, DrawerPhysics, task_start
from worldsim.envs.drawer.shift import LIMITS, Shift
from worldsim.errors import InvalidInput
from worldsim.load import load_task, load_truth

SEEN = {"camera": 5, "light": 0.8, "hue": 30, "distractor": 0.02}
FELT = {"friction": 4, "damping": 16}


def played(steps: int = 12, **options) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frames and states of the expert in the truth with these options, from the first two starts."""
    truth = load_truth({"name": "drawer", **options})
    frames, states = [truth.reset(load_task("drawer").starts[:2])], [truth.states()]
    for _ in range(steps):
        rows = [{name: values[lane] for name, values in states[-1].items()} for lane in range(2)]
        frame, state = truth.step(np.stack([expert_action(row) for row in rows]).astype(np.float32))
        frames.append(frame)
        states.append(state)
    truth.close()
    return np.stack(frames), {name: np.stack([state[name] for state in states]) for name in states[0]}


@pytest.fixture(scope="module")
def known():
    return played()


def test_no_change_is_the_known_world_bit_for_bit(known):
    frames, states = played(**vars(Shift()))
    np.testing.assert_array_equal(frames, known[0])
    for name, values in states.items():
        np.testing.assert_array_equal(values, known[1][name])
    np.testing.assert_array_equal(frames[0], np.concatenate([start.frames for start in load_task("drawer").starts[:2]]))


@pytest.mark.parametrize(("axis", "amount"), SEEN.items())
def test_what_is_seen_moves_nothing(known, axis, amount):
    frames, states = played(**{axis: amount})
    for name, values in states.items():
        np.testing.assert_array_equal(values, known[1][name])
    assert np.abs(frames.astype(int) - known[0]).mean() > 0.5


@pytest.mark.parametrize(("axis", "amount"), FELT.items())
def test_what_is_felt_is_not_seen_before_it_moves(known, axis, amount):
    frames, _ = played(0, **{axis: amount})
    np.testing.assert_array_equal(frames[0], known[0][0])


def test_a_drawer_that_runs_harder_is_pushed_less_far(known):
    _, states = played(damping=100)
    begun = known[1]["opening"][0]
    assert (begun - states["opening"][-1] < begun - known[1]["opening"][-1]).all()


def test_the_cube_is_green_and_out_of_the_way():
    model = DrawerPhysics(Shift(distractor=0.03)).model
    cube = model.geom("distractor")
    assert cube.rgba[1] > max(cube.rgba[0], cube.rgba[2])
    assert not cube.contype[0]
    assert not cube.conaffinity[0]


def test_beyond_is_outside_the_range_and_nowhere_else():
    for seed in range(40):
        inside, outside = task_start(seed), task_start(seed, 0.03)
        assert CABINET_X[0] <= inside.cabinet_x <= CABINET_X[1]
        assert CABINET_X[0] - 0.03 <= outside.cabinet_x < CABINET_X[0] or CABINET_X[1] < outside.cabinet_x <= CABINET_X[1] + 0.03
        assert replace(outside, cabinet_x=inside.cabinet_x) == inside


@pytest.mark.parametrize("axis", LIMITS)
def test_amounts_that_are_another_task_are_refused(axis):
    low, high = LIMITS[axis]
    with pytest.raises(InvalidInput, match=f"{axis} of the drawer world is .*, expected {low:g} to {high:g}"):
        Shift(**{axis: high + 1})
    with pytest.raises(InvalidInput, match=f"{axis} of the drawer world is nan"):
        Shift(**{axis: float("nan")})
