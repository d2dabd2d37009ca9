"""Any Gymnasium environment as a truth: seen, driven and judged as told, the same from the same seed, or refused in one line."""

import re
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from hypothesis import given
from hypothesis import strategies as st
from tiny_gym import GOAL

from worldsim.envs.gym_truth.actions import code_of
from worldsim.envs.gym_truth.behaviours import MIXES, choose_behaviour
from worldsim.envs.gym_truth.lane import observed
from worldsim.envs.gym_truth.making import unwrapped_state
from worldsim.envs.gym_truth.options import GymOptions
from worldsim.errors import InvalidInput, MissingDependency, UnknownName
from worldsim.experiments import cli
from worldsim.load import load_policy, load_task, load_truth, load_verifier, part_facts
from worldsim.registry import TRUTHS
from worldsim.types import ActionSpec, Start, Trajectory

SIZE = "([0-9]{1,5}(x[0-9]{1,5})?|none)(:pad)?"
DOT = {"name": "gym", "id": "tests/Dot-v0", "size": "none"}
RIGHT, LEFT = np.ones((1, 1), np.float32), -np.ones((1, 1), np.float32)


@pytest.fixture
def opened():
    """Opens truths, and closes them."""
    truths = []

    def open_truth(**options):
        truths.append(load_truth(DOT | options))
        return truths[-1]

    yield open_truth
    for truth in truths:
        truth.close()


def test_a_seed_says_all_and_lanes_do_not_mix(opened):
    truth, actions = opened(), np.random.default_rng(0).uniform(-1, 1, (5, 3, 1)).astype(np.float32)
    first = truth.place([7, 8, 9])
    together = [truth.step(action) for action in actions]
    for lane, seed in enumerate((7, 8, 9)):
        np.testing.assert_array_equal(truth.reset([Start("a", first[:1], seed)])[0], first[lane])
        for action, (frames, states) in zip(actions, together, strict=True):
            frame, state = truth.step(action[lane : lane + 1])
            np.testing.assert_array_equal(frame[0], frames[lane])
            assert {name: values[0].tolist() for name, values in state.items()} == {
                name: values[lane].tolist() for name, values in states.items()
            }


def test_a_seed_is_that_of_the_environment(opened):
    frame = opened().place([5])
    env = gymnasium.make("tests/Dot-v0", render_mode="rgb_array")
    env.reset(seed=5)
    np.testing.assert_array_equal(frame[0], env.render())


def test_frames_skipped_add_their_rewards_and_divide_the_rate_and_the_horizon(opened):
    one, two = opened(), opened(frame_skip=2)
    assert (one.action.rate_hz, two.action.rate_hz, one.horizon, two.horizon) == (10, 5, 8, 4)
    one.place([3]), two.place([3])
    rewards = [one.step(RIGHT)[1]["reward"][0] for _ in range(2)]
    frame, state = two.step(RIGHT)
    assert state["reward"][0] == state["return"][0] == sum(rewards)
    np.testing.assert_array_equal(frame, one.step(0 * RIGHT)[0])


@pytest.mark.parametrize("options", [{}, {"success": "return", "threshold": 3.0}, {"frame_skip": 2}], ids=str)
def test_an_episode_may_begin_some_actions_later(opened, options):
    """What is played before its first frame is not part of it: a world stepped as often goes on alike, with no reward added up so far."""
    later, whole = opened(before=2, before_action=[0.5], **options), opened(**options)
    assert later.horizon == whole.horizon - 2
    first = later.place([3])
    whole.place([3])
    frames, early = [whole.step(0.5 * RIGHT) for _ in range(2)][-1]
    np.testing.assert_array_equal(first, frames)
    known = later.states()
    assert known["reward"].tolist() == known["return"].tolist() == known["ended"].tolist() == [0]
    np.testing.assert_array_equal(known["state"], early["state"])
    frame, state = later.step(RIGHT)
    np.testing.assert_array_equal(frame, whole.step(RIGHT)[0])
    assert state["return"].tolist() == state["reward"].tolist()
    np.testing.assert_array_equal(later.place([3]), first)


def test_what_is_played_before_is_the_action_nearest_to_zero_unless_said(opened):
    np.testing.assert_array_equal(opened(before=3).place([3]), opened().place([3]))
    nothing = opened(before=1, make={"discrete": True})
    nothing.place([3])
    chosen = opened(make={"discrete": True})
    chosen.place([3])
    chosen.step(np.eye(3, dtype=np.float32)[[0]])
    assert nothing.states()["state"].tolist() == chosen.states()["state"].tolist()


def test_success_is_what_info_says_a_reward_or_the_return(opened):
    for options in ({}, {"success": "reward", "threshold": GOAL + 1e-9}):
        truth = opened(**options)
        truth.place([1])
        assert truth.states()["success"].tolist() == [0]
        told = [truth.step(RIGHT)[1] for _ in range(8)]
        assert [state["success"][0] for state in told] == [state["state"][0, 0] > GOAL for state in told]
    total = opened(success="return", threshold=3.0)
    total.place([1])
    told = [total.step(RIGHT)[1] for _ in range(8)]
    assert [state["success"][0] for state in told] == [sum(each["reward"][0] for each in told[: i + 1]) >= 3 for i in range(8)]
    silent = opened(success="none")
    silent.place([1])
    assert "success" not in silent.states()


def test_what_ends_stands_still_and_keeps_what_it_said(opened):
    truth = opened(make={"lasts": 3})
    truth.place([1])
    told = [truth.step(RIGHT) for _ in range(3)]
    frame, state = truth.step(LEFT)
    np.testing.assert_array_equal(frame, told[-1][0])
    assert [s["ended"][0] for _, s in told] == [0, 0, 1]
    assert (state["ended"][0], state["reward"][0], state["success"][0]) == (1, 0, told[-1][1]["success"][0])


def test_a_discrete_action_is_one_hot_and_the_largest_counts(opened):
    truth = opened(make={"discrete": True})
    assert truth.action.choice
    assert truth.action.names == ("choice0", "choice1", "choice2")
    truth.place([1])
    start = truth.states()["state"][0, 0]
    for choice, move in ((2, 0.25), (1, 0.0), (0, -0.25)):
        truth.place([1])
        assert truth.step(np.eye(3, dtype=np.float32)[[choice]])[1]["state"][0, 0] == pytest.approx(max(start + move, -1))
    truth.place([1])
    soft = truth.step(np.array([[0.2, 0.1, 0.3]], np.float32))[1]["state"]
    truth.place([1])
    np.testing.assert_array_equal(soft, truth.step(np.eye(3, dtype=np.float32)[[2]])[1]["state"])


@given(st.integers(2, 6), st.integers(-3, 3), st.data())
def test_every_choice_comes_back_from_its_vector(count, first, data):
    code = code_of(Discrete(count, start=first), 10.0, "x")
    index = data.draw(st.integers(0, count - 1))
    hot = code.spec.check([np.eye(count)[index] * data.draw(st.floats(0.1, 1.0))])
    np.testing.assert_array_equal(hot, np.eye(count)[[index]])
    assert code.decode(hot[0]) == first + index


@given(st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple), st.data())
def test_every_vector_is_an_action_of_its_box(shape, data):
    space = Box(-2.0, 3.0, shape, np.float64)
    code = code_of(space, 10.0, "x")
    vector = np.array(data.draw(st.lists(st.floats(-2, 3, width=32), min_size=code.spec.size, max_size=code.spec.size)), np.float32)
    told = code.decode(vector)
    assert space.contains(told)
    np.testing.assert_allclose(told.ravel(), vector)


@given(st.text("0189x:padnoe \n", max_size=10) | st.from_regex(SIZE, fullmatch=True))
def test_a_size_is_one_of_the_forms_or_refused(text):
    options, sound = GymOptions("x", size=text), re.fullmatch(SIZE, text) and not re.search("(^|x)0+(x|:|$)", text)
    if sound:
        assert callable(options.resizing())
    else:
        pytest.raises(InvalidInput, options.resizing)


@pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ("8x12", (8, 12)), ("24x48:pad", (24, 48)), ("none", (16, 16))])
def test_frames_have_the_size_asked_for(opened, size, shape):
    assert opened(size=size).place([1]).shape == (1, *shape, 3)


REFUSED = [
    ({"id": "tests/Dor-v0"}, UnknownName, r'unknown environment "tests/Dor-v0".*did you mean "tests/Dot-v0"'),
    ({"id": "Zzzz-v0"}, UnknownName, "gym:MODULE:ID"),
    ({"id": "no_such_module:Dot-v0"}, UnknownName, 'no module "no_such_module".*PYTHONPATH'),
    ({"id": "tests/Blind-v0"}, InvalidInput, "does not render to arrays: its render_modes are human, expected rgb_array"),
    ({"id": "tests/Empty-v0"}, InvalidInput, r"does not render: render\(\) gave NoneType.*make: \{KEYWORD: VALUE\}"),
    ({"id": "tests/Growing-v0"}, InvalidInput, r"changed its frames from \[16, 16, 3\] to \[17, 16, 3\].*make: \{width: 128"),
    ({"id": "tests/Handed-v0"}, InvalidInput, "actions of Dict, expected a Box of real numbers or a Discrete.*TransformAction"),
    ({"id": "tests/Boundless-v0"}, InvalidInput, "actions without bounds.*ClipAction"),
    ({"id": "tests/Hasty-v0"}, InvalidInput, r"names no render_fps; type truth='\{name: gym, id: tests/Hasty-v0, rate_hz: 10\}'"),
    ({"id": "tests/Endless-v0"}, InvalidInput, "has no max_episode_steps; .*horizon: 50"),
    ({"id": "tests/Hungry-v0"}, MissingDependency, r'pygame is not installed.*-e "\.\[gym\]"'),
    ({"make": {"flag": None}}, InvalidInput, "does not say what success is.*success: reward, threshold: NUMBER"),
    ({"make": {"colour": 1}}, InvalidInput, "cannot be made .*'colour'.*make: "),
    ({"camera": "side"}, InvalidInput, "cannot be made .*'camera_name'"),
    ({"success": "rewards"}, UnknownName, 'did you mean "reward"'),
    ({"success": "reward"}, InvalidInput, "success is reward and threshold None, expected both or neither"),
    ({"threshold": 1.0}, InvalidInput, "expected both or neither"),
    ({"before": -1}, InvalidInput, "before is -1, expected a number of actions; type .*before: 4"),
    ({"before_action": [1.0]}, InvalidInput, "before_action is given without before"),
    ({"before": 1, "before_action": [1.0, 0.0]}, InvalidInput, r"before_action is \[1.0, 0.0\], expected 1 numbers within -1..1"),
    ({"before": 1, "before_action": [2.0]}, InvalidInput, r"before_action is \[2.0\], expected 1 numbers within -1..1"),
    ({"before": 3, "make": {"lasts": 2}}, InvalidInput, "ended with action 2 of the 3 before its first frame; type .*before: 1"),
    ({"frame_skip": 0}, InvalidInput, "frame_skip is 0, expected a number above 0"),
    ({"size": "64:fit"}, InvalidInput, "size is"),
    ({"size": 0}, InvalidInput, 'size is "0", expected 64'),
    ({"success": "reward", "threshold": float("nan")}, InvalidInput, "threshold is nan, expected a number"),
    ({"id": "json.no_such:Dot-v0"}, UnknownName, 'no module "json.no_such"'),
    ({"id": ":tests/Dot-v0"}, InvalidInput, "expected a module before its colon"),
    ({"id": ".x:tests/Dot-v0"}, InvalidInput, "expected a module before its colon"),
    ({"id": "tests/Older-v0"}, InvalidInput, "gives 4 values, expected observation, reward"),
    ({"id": "tests/Several-v0"}, InvalidInput, "is_success in its info is .*expected true or false"),
    ({"id": "tests/Strict-v0", "make": {"chart": "large"}}, InvalidInput, r"cannot be made \(KeyError: 'large'\)"),
    ({"id": "InvertedPendulum-v5", "success": "none", "camera": "side"}, UnknownName, 'has no camera "side"'),
    ({"id": "InvertedPendulum-v5", "success": "none", "camera": 7}, InvalidInput, "camera is 7, expected -1"),
    ({"id": "InvertedPendulum-v5", "success": "none", "camera": {"azimut": 1}}, UnknownName, 'did you mean "azimuth"'),
    ({"idd": "x"}, UnknownName, 'no option "idd"; did you mean "id"'),
]


@pytest.mark.parametrize(("options", "kind", "line"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_a_truth_is_refused_in_one_line(opened, options, kind, line):
    def drive():
        truth = opened(**options)
        truth.place([0])
        truth.step(RIGHT)

    with pytest.raises(kind, match=line) as told:
        drive()
    assert "\n" not in str(told.value)


def test_a_task_has_a_start():
    with pytest.raises(InvalidInput, match="starts is 0, expected at least 1"):
        load_task({"name": "gym", "id": "tests/Dot-v0", "starts": 0})


def test_other_spaces_are_refused():
    for space in (Dict({"a": Discrete(2)}), MultiDiscrete([2, 2]), Box(0, 4, (2,), np.int64)):
        with pytest.raises(InvalidInput, match="expected a Box of real numbers or a Discrete"):
            code_of(space, 1.0, "x")


def test_a_world_that_a_seed_does_not_determine_is_refused_before_recording(tmp_path, capsys):
    assert cli.main(["collect", "truth=gym:tests/Forgetful-v0", f"out={tmp_path}", "episodes=1"]) == 2
    assert "looks different when it is reset to the same seed again" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_noise_has_an_end(tmp_path, capsys):
    assert cli.main(["collect", "truth=gym:tests/Dot-v0", f"out={tmp_path}", "episodes=1", "noise=inf"]) == 2
    assert "noise is inf, expected a share" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_short_and_long_names_are_one_truth():
    assert part_facts(TRUTHS, "gym:a:b/C-v0") == part_facts(TRUTHS, {"name": "gym", "id": "a:b/C-v0"}) == {"name": "gym", "id": "a:b/C-v0"}
    with pytest.raises(InvalidInput, match="needs id"):
        load_truth("gym")


def test_its_task_begins_at_evaluation_seeds(opened):
    task = load_task({**DOT, "starts": 3, "instruction": "go right"})
    assert (task.id, task.horizon, task.instruction) == ("tests-Dot-v0", 8, "go right")
    assert [start.seed for start in task.starts] == [2_000_000, 2_000_001, 2_000_002]
    np.testing.assert_array_equal(opened().reset(task.starts[1:2]), task.starts[1].frames)


def test_numbers_are_kept_of_an_observation_and_pictures_are_not():
    seen = {"goal": np.zeros(3, np.float32), "camera": np.zeros((4, 4, 3), np.uint8)}
    assert {name: value.tolist() for name, value in observed(seen).items()} == {"observation.goal": [0, 0, 0]}
    assert observed(3)["observation"].tolist() == 3
    for seen in (np.zeros((4, 4, 3), np.uint8), (np.zeros(2), np.zeros(3)), "north", {"a": {"b": 1}}, ([1.0], [2.0, 3.0])):
        assert observed(seen) == {}


def test_a_state_is_kept_where_it_is_a_row_of_numbers():
    for state, kept in (((1, 2.0), [1, 2]), (None, None), ("north", None), (np.zeros((4, 4, 3)), None), ([[1], [1, 2]], None)):
        found = unwrapped_state(SimpleNamespace(unwrapped=SimpleNamespace(state=state)))
        assert found.get("state", np.array(None)).tolist() == kept
    body = SimpleNamespace(unwrapped=SimpleNamespace(data=SimpleNamespace(qpos=[1.0], qvel=[2.0]), state=3.0))
    assert {name: value.tolist() for name, value in unwrapped_state(body).items()} == {"qpos": [1], "qvel": [2]}


@pytest.mark.parametrize("mix", MIXES)
def test_behaviours_stay_within_bounds_and_repeat_with_their_seed(mix):
    spec = ActionSpec(("a", "b"), (-2.0, 0.0), (1.0, 3.0), 10.0)
    runs = []
    for _ in range(2):
        name, behaviour = choose_behaviour(spec, mix, np.random.default_rng(4))
        runs.append([behaviour.send({}) for _ in range(40)])
        spec.check(runs[-1])
    np.testing.assert_array_equal(*runs)
    with pytest.raises(UnknownName, match="unknown mix"):
        choose_behaviour(spec, "still2x", np.random.default_rng(0))


def test_the_state_judge_reads_success_at_the_end():
    def episode(success):
        return Trajectory("x", np.zeros((3, 2, 2, 3), np.uint8), np.zeros((2, 1), np.float32), states={"success": np.array(success)})

    judge = load_verifier("state")
    assert [each.score for each in judge.judge([episode([0.0, 0.0, 1.0]), episode([1.0, 1.0, 0.0])])] == [1, 0]
    assert judge.rule(episode([0.0, 0.0, 1.0])) == ("success", 0.5)


def test_a_random_policy_makes_whole_choices():
    spec = code_of(Discrete(3), 10.0, "x").spec
    policy = load_policy("random", spec)
    policy.reset([0], [None], [1])
    chosen = spec.check(np.concatenate([policy.act(np.zeros((1, 2, 2, 3), np.uint8), [0]) for _ in range(60)]))
    assert set(chosen.argmax(axis=1)) == {0, 1, 2}
    assert (chosen.sum(axis=1) == 1).all()
