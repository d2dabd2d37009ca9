"""Parts by name: registries that suggest, policies that act, verifiers that judge, and how names, paths and mappings become them."""

from dataclasses import dataclass

import numpy as np
import pytest
import stirred
import tiny
import torch

import worldsim
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, RunMismatch, UnknownName, WorldsimError
from worldsim.load import load_policy, load_task, load_truth, load_verifier, part_name
from worldsim.models.checkpoint import save_checkpoint
from worldsim.policies.cloned import ClonedPolicy
from worldsim.policies.random import RandomPolicy
from worldsim.registry import POLICIES, TRUTHS, VERIFIERS, Registry, did_you_mean
from worldsim.types import ActionSpec, Start, Task, Trajectory
from worldsim.verifiers.state import StateVerifier

ACTION = stirred.ACTION
TASK = Task("t", "do it", 4, (Start("s", np.zeros((1, 32, 32, 3), np.uint8)),))


def save_policy(folder, seed: int = 0):
    network = stirred.convnet(seed=seed)
    with torch.no_grad():
        network.head.weight.copy_((300 * network.head.weight).half())  # actions that reach the bounds
    save_checkpoint(folder, "policy", {"network": network}, {"network": network.describe(), "action": vars(ACTION)})
    return network


def finished(frames: int = 3, seed: int = 0, **states) -> Trajectory:
    return Trajectory("t", stirred.pictures(1, frames, seed)[0], np.zeros((frames - 1, 3), np.float32), states=states)


@dataclass
class Paint:
    colour: str = "red"
    layers: int = 1

    def build(self):
        return self


def test_a_registry_finds_fills_and_suggests():
    registry = Registry("paint")
    assert registry.register("oil")(Paint) is Paint
    assert "oil" in registry
    assert registry.names() == ["oil"]
    assert registry.config("oil", {"layers": 3}) == Paint(layers=3)
    with pytest.raises(UnknownName, match='^unknown paint "oli"; did you mean "oil"[?]$'):
        registry.config("oli")
    with pytest.raises(UnknownName, match='paint "oil" has no option "color"; did you mean "colour"'):
        registry.config("oil", {"color": "blue"})
    with pytest.raises(InvalidInput, match='paint "oil" is registered twice'):
        registry.register("oil")(Paint)


def test_suggestions_fall_back_to_what_is_known():
    assert did_you_mean("convergd", ["begin", "converged"]) == 'did you mean "converged"?'
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", []) == "known: none"


def test_the_parts_that_come_with_worldsim():
    assert {"random", "still", "replay", "cloned"} <= set(POLICIES.names())
    assert {"classifier", "none", "recorded", "state"} <= set(VERIFIERS.names())
    assert "drawer" in TRUTHS.names()


def test_every_error_is_one_line_and_one_kind():
    for kind in (UnknownName, InvalidInput, MissingDependency, DamagedFile, RunMismatch):
        error = kind("given 1, expected 2")
        assert isinstance(error, WorldsimError)
        assert str(error) == "given 1, expected 2"


def test_random_actions_follow_the_lanes_own_seed():
    policy, frames = load_policy("random", ACTION), np.zeros((3, 8, 8, 3), np.uint8)
    policy.reset([0, 1, 2], [TASK] * 3, [7, 8, 7])
    steps = np.stack([policy.act(frames, [0, 1, 2]) for _ in range(200)])
    assert steps.dtype == np.float32
    assert np.array_equal(steps[:, 0], steps[:, 2])
    assert not np.array_equal(steps[:, 0], steps[:, 1])
    other = load_policy("random", ACTION)
    other.reset([5], [TASK], [8])
    assert np.array_equal(np.stack([other.act(frames[:1], [5]) for _ in range(200)])[:, 0], steps[:, 1])
    np.testing.assert_allclose(steps.min((0, 1)), ACTION.low, atol=0.1)
    np.testing.assert_allclose(steps.max((0, 1)), ACTION.high, atol=0.1)
    ACTION.check(steps.reshape(-1, 3))


def test_a_lane_that_begins_anew_leaves_the_others_alone():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    policy, undisturbed = RandomPolicy(ACTION), RandomPolicy(ACTION)
    for each in (policy, undisturbed):
        each.reset([0, 1], [TASK] * 2, [1, 2])
        each.act(frames, [0, 1])
    policy.reset([0], [TASK], [1])
    assert np.array_equal(policy.act(frames, [0, 1])[1], undisturbed.act(frames, [0, 1])[1])


def test_standing_still_is_the_legal_action_nearest_to_zero():
    spec = ActionSpec(("a", "b", "c"), (-1.0, 0.5, -3.0), (1.0, 2.0, -2.0), 5.0)
    policy = load_policy("still", spec)
    policy.reset([0, 1], [TASK] * 2, [0, 0])
    assert policy.act(np.zeros((2, 8, 8, 3), np.uint8), [0, 1]).tolist() == [[0.0, 0.5, -2.0]] * 2


def recorded(folder, steps: int, seed: int):
    """A recording on disk and its actions, some of them beyond the bounds."""
    actions = np.random.default_rng(seed).uniform(-1.5, 1.5, (steps, 3)).astype(np.float32)
    write_trajectory(folder / f"{seed}.h5", Trajectory("t", np.zeros((steps + 1, 4, 4, 3), np.uint8), actions, seed))
    return str(folder / f"{seed}.h5"), np.clip(actions, ACTION.low, ACTION.high)


def test_replay_plays_each_lanes_recording_and_then_holds(tmp_path):
    (long, first), (short, second) = recorded(tmp_path, 5, 1), recorded(tmp_path, 2, 2)
    tasks = [Task("t", "", 5, (Start(path, np.zeros((1, 4, 4, 3), np.uint8), recording=path),)) for path in (long, short)]
    policy = load_policy("replay", ACTION)
    policy.reset([0, 3], tasks, [0, 0])
    played = np.stack([policy.act(np.zeros((2, 4, 4, 3), np.uint8), [0, 3]) for _ in range(5)])
    assert np.array_equal(played[:, 0], first)
    assert np.array_equal(played[:2, 1], second)
    assert np.array_equal(played[2:, 1], np.repeat(second[1:], 3, axis=0))
    policy.reset([3], tasks[1:], [0])
    assert np.array_equal(policy.act(np.zeros((1, 4, 4, 3), np.uint8), [3])[0], second[0])


def test_replay_begins_behind_the_frames_that_were_given(tmp_path):
    path, actions = recorded(tmp_path, 5, 1)
    task = Task("t", "", 5, (Start(path, np.zeros((3, 4, 4, 3), np.uint8), recording=path),))
    policy = load_policy("replay", ACTION)
    policy.reset([0], [task], [0])
    assert np.array_equal(policy.act(np.zeros((1, 4, 4, 3), np.uint8), [0])[0], actions[2])


def test_replay_needs_a_recording():
    with pytest.raises(InvalidInput, match='start "s" of task "t" has no recorded actions; use a task over recordings: task=FOLDER'):
        load_policy("replay", ACTION).reset([0], [TASK], [0])


def test_a_cloned_policy_is_its_network_clipped(tmp_path):
    network, frames = save_policy(tmp_path / "mine"), stirred.pictures(6)[:, 0]
    policy = load_policy(tmp_path / "mine", ACTION)
    assert isinstance(policy, ClonedPolicy)
    assert policy.action == ACTION
    policy.reset([0], [TASK], [0])
    with torch.no_grad():
        raw = network(torch.from_numpy(frames)).numpy()
    acted = policy.act(frames, range(6))
    assert acted.dtype == np.float32
    np.testing.assert_allclose(acted, np.clip(raw, ACTION.low, ACTION.high), atol=1e-5)
    assert (np.abs(raw) > ACTION.high).any()  # so that clipping is tested
    np.testing.assert_allclose(policy.act(frames[2:3], [2]), acted[2:3], atol=1e-5)
    with pytest.raises(InvalidInput, match=r"frames have shape \[1, 16, 16, 3\], this network was trained on \[N, 32, 32, 3\]"):
        policy.act(frames[:1, ::2, ::2], [0])


def test_a_picture_network_sees_where_things_are():
    """The same blob in two places gives two outputs, and bytes equal the floats they stand for."""
    network, frames = stirred.convnet(), np.zeros((2, 32, 32, 3), np.uint8)
    frames[0, 4:8, 4:8], frames[1, 20:24, 20:24] = 255, 255
    with torch.no_grad():
        outputs = network(torch.from_numpy(frames))
        same = network(torch.from_numpy(frames).float() / 127.5 - 1)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-4
    assert torch.equal(outputs, same)


def test_a_policy_that_acts_otherwise_than_the_world_is_refused(tmp_path):
    save_policy(tmp_path / "mine")
    other = ActionSpec(ACTION.names, ACTION.low, ACTION.high, rate_hz=3.0)
    with pytest.raises(InvalidInput, match='policy "mine" acts with rate_hz 10.0, the world takes 3.0; put a converter'):
        load_policy(str(tmp_path / "mine"), other)


def test_policies_load_by_mapping_config_and_object(tmp_path):
    network, frames = save_policy(tmp_path / "mine"), stirred.pictures(1)[:, 0]
    by_path = load_policy(str(tmp_path / "mine"), ACTION)
    by_mapping = load_policy({"name": "cloned", "path": str(tmp_path / "mine"), "as": "better"}, ACTION)
    by_config = load_policy(POLICIES.config("cloned", {"path": str(tmp_path / "mine")}), ACTION)
    for policy in (by_mapping, by_config):
        assert np.array_equal(policy.act(frames, [0]), by_path.act(frames, [0]))
    mine = ClonedPolicy(ACTION, network)
    assert load_policy(mine, ACTION) is mine
    with pytest.raises(UnknownName, match='unknown policy "randon".*did you mean "random"'):
        load_policy("randon", ACTION)
    with pytest.raises(UnknownName, match='policy "random" has no option "speed"'):
        load_policy({"name": "random", "speed": 2}, ACTION)
    tiny.classifier(tmp_path / "judge")
    with pytest.raises(InvalidInput, match="expected a policy"):
        load_policy(str(tmp_path / "judge"), ACTION)


def test_parts_are_called_by_name_path_or_alias(tmp_path):
    assert part_name("random") == "random"
    assert part_name(tmp_path / "mine") == "mine"
    assert part_name({"name": "cloned", "path": "a/b/mine"}) == "mine"
    assert part_name({"name": "cloned", "path": "a/b/mine", "as": "better"}) == "better"
    assert part_name({"name": "random"}) == "random"
    assert part_name(RandomPolicy(ACTION)) == "RandomPolicy"


def test_the_state_verifier_reads_the_last_true_state():
    below, above, unknown = StateVerifier().judge([
        finished(opening=np.array([0.3, 0.5, 0.0199])),
        finished(opening=np.array([0.0, 0.0, 0.02])),
        finished(),
    ])  # fmt: skip
    assert (below.score, below.success, below.details["opening"]) == (1.0, True, 0.0199)
    assert (above.score, above.success) == (0.0, False)
    assert (unknown.score, unknown.success) == (None, None)
    assert unknown.reason == 'no true state "opening" was recorded'
    tilt = load_verifier({"name": "state", "threshold": 0.1})
    assert tilt.judge([finished(opening=np.array([0.3, 0.5, 0.05]))])[0].success


def test_nobody_leaves_everything_unscored():
    verdicts = load_verifier("none").judge([finished(), finished()])
    assert [verdict.score for verdict in verdicts] == [None, None]


def test_unknown_parts_are_answered_with_a_suggestion(tmp_path):
    with pytest.raises(UnknownName, match='unknown verifier "stat".*did you mean "state"'):
        load_verifier("stat")
    with pytest.raises(UnknownName, match='unknown truth "drawr"; did you mean "drawer"'):
        load_truth("drawr")
    with pytest.raises(UnknownName, match='unknown task "drawr".*did you mean "drawer"'):
        load_task("drawr")
    with pytest.raises(InvalidInput, match=r"no episode files \(\*\.h5\)"):
        load_task(str(tmp_path))
    assert load_task(TASK) is TASK


def test_the_package_loads_parts_by_its_own_name():
    assert worldsim.load_policy is load_policy
    assert worldsim.policies.random.RandomPolicy is RandomPolicy
    with pytest.raises(AttributeError, match="no attribute 'polices'"):
        worldsim.polices  # noqa: B018
