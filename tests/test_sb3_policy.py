"""Stable-Baselines3 checkpoints and functions as policies: what they observe, what they do, and what is refused in one line."""

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from stable_baselines3 import DQN, PPO

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.load import load_policy, part_facts
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

CONTINUOUS = ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0), 10.0)
CHOICE = ActionSpec(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, 10.0, choice=True)
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


class Stub(gymnasium.Env):
    """Spaces and nothing more."""

    def __init__(self, observation, action):
        self.observation_space, self.action_space = observation, action


def saved(path, observation, action, algorithm=PPO, policy="MlpPolicy"):
    model = algorithm(policy, Stub(observation, action), seed=0, device="cpu")
    model.save(path)
    return model, {"name": "sb3", "path": str(path), "algorithm": algorithm.__name__, "trust_code": True}


def begun(spec, action, lanes=(0, 1)):
    policy = load_policy(spec, action)
    policy.reset(lanes, [None] * len(lanes), [0] * len(lanes))
    return policy


def test_it_acts_from_what_the_environment_observed(tmp_path):
    model, spec = saved(tmp_path / "m.zip", Box(-1, 1, (3,), np.float32), Box(-1, 1, (2,), np.float32))
    policy, seen = begun(spec | {"observation": "state"}, CONTINUOUS), np.random.default_rng(1).uniform(-1, 1, (2, 3))
    policy.see({"observation": seen, "qpos": np.zeros((2, 9))})
    expected = [model.predict(row.astype(np.float32), deterministic=True)[0] for row in seen]
    np.testing.assert_array_equal(policy.act(FRAMES, [0, 1]), expected)
    policy.see({})
    with pytest.raises(InvalidInput, match="it reads the true state, which an imagined world lacks.*train-policy"):
        policy.act(FRAMES, [0, 1])


def test_it_acts_from_a_mapping_of_observations(tmp_path):
    spaces = {"goal": Box(-1, 1, (2,), np.float32), "hand": Box(-1, 1, (3,), np.float32)}
    model, spec = saved(tmp_path / "m.zip", Dict(spaces), Box(-1, 1, (2,), np.float32), policy="MultiInputPolicy")
    policy, rng = begun(spec | {"observation": "state"}, CONTINUOUS, [0]), np.random.default_rng(2)
    seen = {key: rng.uniform(-1, 1, each.shape).astype(np.float32) for key, each in spaces.items()}
    policy.see({f"observation.{key}": value[None].astype(np.float64) for key, value in seen.items()})
    np.testing.assert_array_equal(policy.act(FRAMES[:1], [0])[0], model.predict(seen, deterministic=True)[0])


def test_it_acts_from_the_latest_frames_and_begins_anew_with_an_episode(tmp_path):
    model, spec = saved(tmp_path / "m.zip", Box(0, 255, (8, 8, 6), np.uint8), Box(-1, 1, (2,), np.float32))
    policy = begun(spec | {"stack": 2}, CONTINUOUS, [5])

    def expected(*frames):
        return model.predict(np.concatenate(frames, axis=-1), deterministic=True)[0]

    np.testing.assert_array_equal(policy.act(FRAMES[:1], [5])[0], expected(FRAMES[0], FRAMES[0]))
    np.testing.assert_array_equal(policy.act(FRAMES[1:], [5])[0], expected(FRAMES[0], FRAMES[1]))
    policy.reset([5], [None], [0])
    np.testing.assert_array_equal(policy.act(FRAMES[1:], [5])[0], expected(FRAMES[1], FRAMES[1]))


def test_a_choice_becomes_one_hot(tmp_path):
    model, spec = saved(tmp_path / "m.zip", Box(-1, 1, (2,), np.float32), Discrete(3), DQN)
    policy = begun(spec | {"observation": "state"}, CHOICE)
    seen = np.random.default_rng(3).uniform(-1, 1, (2, 2)).astype(np.float32)
    policy.see({"observation": seen})
    chosen = [int(model.predict(row, deterministic=True)[0]) for row in seen]
    np.testing.assert_array_equal(policy.act(FRAMES, [0, 1]), np.eye(3)[chosen])
    policy.see({"observation": seen * [[1, 1], [1, np.nan]]})
    np.testing.assert_array_equal(policy.act(FRAMES, [0, 1]), [np.eye(3)[chosen[0]], [np.nan] * 3])
    assert "the environment gave it an observation that is not finite" in policy.faults[1]


def test_what_does_not_fit_is_refused_in_one_line(tmp_path):
    _, spec = saved(tmp_path / "m.zip", Box(0, 255, (8, 8, 3), np.uint8), Box(-1, 1, (2,), np.float32))
    for options, action, kind, line in (
        ({"trust_code": False}, CONTINUOUS, InvalidInput, "holds pickles, which may run anything; .*trust_code: true"),
        ({"algorithm": "PPP"}, CONTINUOUS, UnknownName, 'did you mean "PPO"'),
        ({"path": "none.zip"}, CONTINUOUS, DamagedFile, "none.zip is no file"),
        ({"path": __file__}, CONTINUOUS, DamagedFile, "cannot be read as PPO"),
        ({"observation": "picture"}, CONTINUOUS, UnknownName, "known: frame, state"),
        ({"stack": 0}, CONTINUOUS, InvalidInput, "stack is 0"),
        ({}, CHOICE, InvalidInput, re.escape("the world takes one choice of 3 (a, b, c)")),
        ({}, ActionSpec(("x",), (-1.0,), (1.0,), 10.0), InvalidInput, re.escape("the world takes 1 numbers (x)")),
    ):
        with pytest.raises(kind, match=line):
            load_policy(spec | options, action)
    policy = begun(spec, CONTINUOUS, [0])
    assert np.isnan(policy.act(np.zeros((1, 16, 16, 3), np.uint8), [0])).all()
    assert "it was trained to observe [8, 8, 3], its frame here is [16, 16, 3]" in policy.faults[0]


def test_the_file_says_who_it_is_wherever_it_lies(tmp_path):
    _, spec = saved(tmp_path / "m.zip", Box(-1, 1, (2,), np.float32), Discrete(3))
    (tmp_path / "other.zip").write_bytes((tmp_path / "m.zip").read_bytes())
    first, second = (part_facts(POLICIES, spec | {"path": str(tmp_path / name)}) for name in ("m.zip", "other.zip"))
    assert first == second
    assert len(first["sha256"]) == 64


def test_a_function_is_found_or_refused():
    for call, kind, line in (
        ("acting", InvalidInput, "expected module:function"),
        (".acting:homing", InvalidInput, "expected module:function"),
        ("tests_zzz.acting:homing", UnknownName, 'no module "tests_zzz.acting"'),
        ("acting.more:homing", UnknownName, 'no module "acting.more"'),
        ("actingg:homing", UnknownName, 'no module "actingg".*PYTHONPATH'),
        ("acting:homin", UnknownName, 'did you mean "homing"'),
    ):
        with pytest.raises(kind, match=line):
            load_policy({"name": "function", "call": call}, CONTINUOUS)
    assert len(part_facts(POLICIES, {"name": "function", "call": "acting:homing"})["source"]) == 64
    with pytest.raises(InvalidInput, match="in no file of Python"):
        part_facts(POLICIES, {"name": "function", "call": "math:sin"})
