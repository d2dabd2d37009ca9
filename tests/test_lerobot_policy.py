"""LeRobot's checkpoints: what must be said about them, and their interface, driven through a package of the same layout."""

import builtins
import json
import sys
import threading

import gymnasium as gym
import numpy as np
import pytest
import tiny
from fake_lerobot import CAMERA, SIZE, WRIST, checkpoint, expected, fake_lerobot
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.actions import ActionSpec
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, UnknownName
from worldsim.load import load_policy
from worldsim.types import Task

SPEC = ActionSpec(("x", "y", "z", "roll", "pitch", "yaw", "gripper"), (-3.0,) * 7, (3.0,) * 7, 3.0, "base", "rpy", "absolute")
STATE = [0.1, -0.2, 0.3, 1.5]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package can be imported."""
    monkeypatch.syspath_prepend(str(fake_lerobot(tmp_path / "site")))
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name == "lerobot" or name.startswith("lerobot.")]:
        del sys.modules[name]


def policy_of(folder, action=None, **options):
    given = {"convention": vars(SPEC), "state": STATE} | options
    return load_policy({"name": "lerobot", "path": str(folder), **given}, action)


def told(instruction: str = "open the drawer") -> Task:
    return Task("tiny", instruction, 6, ())


def pictures(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_actions_pass_through_both_pipelines_and_the_queues(installed, tmp_path):
    policy = policy_of(checkpoint(tmp_path / "c"))
    for _ in range(2):  # the second episode begins with empty queues
        policy.reset([5], [told()], [0])
        actions = [policy.act(frame[None], [5])[0] for frame in pictures(8)]
        np.testing.assert_allclose(actions, expected(pictures(8), "open the drawer", STATE), atol=1e-5)
    assert policy.faults == {}


@given(st.lists(st.tuples(st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2), min_size=1)), max_size=7))
@settings(max_examples=15)
def test_lanes_are_episodes_of_their_own(tmp_path_factory, schedule):
    """Whatever is reset and whoever acts, queues, histories and pipelines do not mix."""
    root = tmp_path_factory.mktemp("lanes")
    sys.path.insert(0, str(fake_lerobot(root / "site")))
    _forget()
    try:
        policy, begun = policy_of(checkpoint(root / "c")), {lane: ("lift", []) for lane in range(3)}
        policy.reset([0, 1, 2], [told("lift")] * 3, [0] * 3)
        for tick, (fresh, acting) in enumerate(schedule):
            for lane in fresh:
                begun[lane] = ("lift" * (tick + 2), [])
                policy.reset([lane], [told(begun[lane][0])], [0])
            frames, lanes = pictures(len(acting), tick), sorted(acting, reverse=bool(tick % 2))
            actions = policy.act(frames, lanes)
            for row, lane in enumerate(lanes):
                begun[lane][1].append(frames[row])
                np.testing.assert_allclose(actions[row], expected(np.array(begun[lane][1]), begun[lane][0], STATE)[-1], atol=1e-5)
    finally:
        sys.path.remove(str(root / "site"))
        _forget()


def test_noise_belongs_to_the_lane(installed, tmp_path):
    import torch

    policy, frames = policy_of(checkpoint(tmp_path / "c", noise=0.1)), pictures(6)

    def run(lanes, seeds):
        policy.reset(lanes, [told()] * len(lanes), seeds)
        return np.array([policy.act(np.stack([frame] * len(lanes)), lanes) for frame in frames])

    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    together = run([0, 1, 2], [7, 8, 7])
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(together[:, 0], together[:, 2])
    np.testing.assert_array_equal(together[:, 1], run([9], [8])[:, 0])
    assert np.abs(together[:, 0] - together[:, 1]).max() > 1e-3


def test_weights_are_shared_and_queues_are_not(installed, tmp_path):
    policy = policy_of(checkpoint(tmp_path / "c"))
    policy.reset([0, 1], [told()] * 2, [0, 0])
    first, second = policy._seats[0], policy._seats[1]
    assert first.network.head.weight is second.network.head.weight
    assert first.network._queues is not second.network._queues
    assert first.after.steps[-1].relative is first.before.steps[0]
    assert first.before.steps[0] is not second.before.steps[0]


def test_it_drives_a_world(installed, tmp_path):
    policy = policy_of(checkpoint(tmp_path / "c"), SPEC)
    model, task = tiny.world_model(tmp_path / "world", action=SPEC), tiny.task_file(tmp_path / "task.h5", horizon=5)
    env = gym.make("worldsim/World-v0", world_model=str(model), task=str(task))
    frame, _ = env.reset(seed=1)
    policy.reset([0], [told()], [0])
    truncated, steps = False, 0
    while not truncated:
        frame, _, _, truncated, _ = env.step(policy.act(frame[None], [0])[0])  # 16 x 16 frames for a camera of 12 x 12
        steps += 1
    assert (steps, policy.faults) == (5, {})


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        ("raise", "its code failed (RuntimeError: too bright)"),
        ("nan", "not finite"),
        ("shape", "an action of shape [5], expected [7]"),
    ],
)
def test_what_goes_wrong_is_the_fault_of_its_lane(installed, tmp_path, spoil, line):
    policy = policy_of(checkpoint(tmp_path / "c", spoil=spoil))
    policy.reset([0, 1], [told()] * 2, [0, 0])
    frames = np.stack([np.full((SIZE, SIZE, 3), 250, np.uint8), np.full((SIZE, SIZE, 3), 10, np.uint8)])
    actions = policy.act(frames, [0, 1])
    assert line in policy.faults[0]
    assert "\n" not in policy.faults[0]
    assert np.isnan(actions[0]).all()
    if spoil != "shape":
        assert np.isfinite(actions[1]).all()
        policy.reset([0], [told()], [0])
        np.testing.assert_allclose(policy.act(frames[1:], [0])[0], expected(frames[1:], "open the drawer", STATE)[0], atol=1e-5)
        assert policy.faults == {}


def test_actions_beyond_the_bounds_are_refused_or_cut(installed, tmp_path):
    tight = {**vars(SPEC), "low": (-0.2,) * 7, "high": (0.2,) * 7}
    refusing, cutting = (policy_of(checkpoint(tmp_path / "c"), convention=tight, out_of_range=word) for word in ("refuse", "clip"))
    for policy in (refusing, cutting):
        policy.reset([0], [told()], [0])
    assert np.isnan(refusing.act(pictures(1), [0])).all()
    assert "expected a number in [-0.2, 0.2]" in refusing.faults[0]
    np.testing.assert_allclose(
        cutting.act(pictures(1), [0]), np.clip(expected(pictures(1), "open the drawer", STATE), -0.2, 0.2), atol=1e-5
    )
    with pytest.raises(UnknownName, match='did you mean "clip"'):
        policy_of(tmp_path / "c", out_of_range="clib")


def test_other_cameras_are_black_only_where_that_was_said(installed, tmp_path):
    folder = checkpoint(tmp_path / "c", cameras=(CAMERA, WRIST))
    with pytest.raises(InvalidInput, match=f"looks at {CAMERA}, {WRIST}; give camera"):
        policy_of(folder)
    with pytest.raises(InvalidInput, match=f"also looks at {WRIST}; give unseen: black"):
        policy_of(folder, camera=CAMERA)
    with pytest.raises(UnknownName, match=f'did you mean "{WRIST}"'):
        policy_of(folder, camera="observation.image.wrist")
    with pytest.raises(UnknownName, match='did you mean "black"'):
        policy_of(folder, camera=CAMERA, unseen="blak")
    black = policy_of(folder, camera=CAMERA, unseen="black")
    black.reset([0], [told()], [0])
    assert np.isfinite(black.act(pictures(1), [0])).all()
    assert black._inputs.batch(pictures(1)[0], "")[WRIST].abs().max() == 0
    left_out = policy_of(folder, camera=CAMERA, unseen="leave_out")
    left_out.reset([0], [told()], [0])
    left_out.act(pictures(1), [0])
    assert "KeyError" in left_out.faults[0]  # this kind of policy does not bear it


# what must be said, before lerobot is asked


@pytest.mark.parametrize(
    ("changes", "options", "error", "words"),
    [
        ({}, {"convention": None}, InvalidInput, "give convention: NAME"),
        ({}, {"convention": "bridg"}, UnknownName, 'did you mean "bridge"'),
        ({}, {"convention": "droid"}, InvalidInput, r"acts with \[7\] numbers, the convention has joint_1"),
        ({}, {"state": None}, InvalidInput, r"wants observation.state, \[4\] numbers, .* give state: {observation.state: \[...\]}"),
        ({}, {"state": [1, 2]}, InvalidInput, r"state observation.state is \[1, 2\], expected \[4\] finite numbers"),
        ({}, {"state": [1, 2, 3, float("nan")]}, InvalidInput, "finite"),
        ({}, {"state": "zeros"}, InvalidInput, "finite"),
        ({}, {"state": {"observation.sate": STATE}}, UnknownName, 'did you mean "observation.state"'),
        ({"use_peft": True}, {}, InvalidInput, "adapter only"),
        ({"type": None}, {}, InvalidInput, "no type"),
        ({"output_features": {}}, {}, InvalidInput, "states no shape of action"),
        ({"input_features": {}}, {"state": None}, InvalidInput, "looks at no images"),
        (
            {"input_features": {"observation.audio": {"type": "AUDIO", "shape": [9]}}},
            {},
            InvalidInput,
            r"wants observation.audio \(AUDIO\)",
        ),
        ({"input_features": {CAMERA: {"type": "VISUAL"}}}, {}, InvalidInput, "states no shape of"),
    ],
)
def test_what_is_missing_is_asked_for_in_one_line(tmp_path, changes, options, error, words):
    with pytest.raises(error, match=words) as refusal:
        policy_of(checkpoint(tmp_path / "c", **changes), **options)
    assert "\n" not in str(refusal.value)


def test_files_that_are_missing_or_torn(tmp_path):
    with pytest.raises(DamagedFile, match=r"no config\.json"):
        policy_of(tmp_path)
    folder = checkpoint(tmp_path / "c")
    (folder / "config.json").write_text("{")
    with pytest.raises(DamagedFile, match="not JSON"):
        policy_of(folder)
    checkpoint(folder)
    (folder / "policy_postprocessor.json").unlink()
    with pytest.raises(InvalidInput, match=r"no policy_postprocessor\.json.*migrate"):
        policy_of(folder)


def test_torn_files_that_lerobot_reads(installed, tmp_path):
    folder = checkpoint(tmp_path / "c")
    for text in ("{", "[]", '{"steps": 3}', '{"steps": [3]}'):
        (folder / "policy_preprocessor.json").write_text(text)
        with pytest.raises(DamagedFile, match="no list of steps"):
            policy_of(folder)
    for name in ("model.safetensors", "before.safetensors"):
        checkpoint(folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:40])
        with pytest.raises(InvalidInput, match=r"lerobot 0\.6\.2 cannot load") as refusal:
            policy_of(folder)
        assert "\n" not in str(refusal.value)


def test_a_kind_of_policy_that_lerobot_does_not_know(installed, tmp_path):
    with pytest.raises(InvalidInput, match="cannot load .*'novel' is not registered") as refusal:
        policy_of(checkpoint(tmp_path / "c", type="novel"))
    assert "\n" not in str(refusal.value)


def test_a_preprocessor_without_a_device_step(installed, tmp_path):
    folder = checkpoint(tmp_path / "c")
    path = folder / "policy_preprocessor.json"
    steps = [step for step in json.loads(path.read_text())["steps"] if step["registry_name"] != "device_processor"]
    path.write_text(json.dumps({"steps": steps}))
    policy = policy_of(folder)
    policy.reset([0], [told()], [0])
    np.testing.assert_allclose(policy.act(pictures(1), [0]), expected(pictures(1), "open the drawer", STATE), atol=1e-5)


def test_without_lerobot_the_other_way_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "lerobot":
            raise ImportError("No module named 'lerobot'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match="need lerobot in this environment.*vla-eval"):
        policy_of(checkpoint(tmp_path / "c"))


def test_a_lerobot_from_before_the_pipelines(installed, tmp_path):
    factory = tmp_path / "site/lerobot/policies/factory.py"
    factory.write_text(factory.read_text().replace("make_pre_post_processors", "make_processor"))
    with pytest.raises(MissingDependency, match="lerobot cannot load .*make_pre_post_processors"):
        policy_of(checkpoint(tmp_path / "c"))


def test_a_network_that_cannot_be_copied_is_the_fault_of_its_lane(installed, tmp_path):
    policy = policy_of(checkpoint(tmp_path / "c"))
    policy._parts[1].lock = threading.Lock()
    policy.reset([0], [told()], [0])
    assert np.isnan(policy.act(pictures(1), [0])).all()
    assert "its code failed at the beginning (TypeError" in policy.faults[0]
