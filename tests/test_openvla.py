"""OpenVLA's folders: prompts, statistics by hand, code that runs on demand only, and a small checkpoint through the real transformers."""

import json
import sys

import gymnasium as gym
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from small_openvla import BRIDGE, FRACTAL, STATISTICS, normalised, small_openvla

from worldsim.data.conventions import action_convention
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, UnknownName
from worldsim.load import load_policy, part_facts
from worldsim.policies import foreign
from worldsim.policies.openvla.statistics import bounded, chosen_statistics, read_statistics, undone
from worldsim.registry import POLICIES
from worldsim.types import Task

ASKED = "In: What action should the robot take to {}?\nOut:"


@pytest.fixture(autouse=True)
def _own_modules(tmp_path, monkeypatch):
    """transformers copies a checkpoint's Python files; have it do so below the test's folder, and ask nobody."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    constants = pytest.importorskip("transformers.utils.hub")
    dynamic = pytest.importorskip("transformers.dynamic_module_utils")
    for module in (constants, dynamic):
        monkeypatch.setattr(module, "HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)
    yield
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != str(tmp_path / "modules")]


def policy_of(folder, action=None, **options):
    given = {"trust_code": True, "unnorm_key": "bridge_orig", "dtype": "float32"} | options
    return load_policy({"name": "openvla", "path": str(folder), **given}, action)


def told(instruction: str = "Put the Spoon on the towel") -> Task:
    return Task("tiny", instruction, 6, ())


def pictures(count: int, size: int = 16) -> np.ndarray:
    return np.stack([tiny.picture(seed) for seed in range(count)])


# statistics


def test_undone_by_hand():
    statistics = {"q01": [-1.0, 0.0, 0.0], "q99": [3.0, 0.5, 9.0], "mask": [True, True, False]}
    values = np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1], [0.5, -0.5, 0.25]])
    np.testing.assert_allclose(undone(values, statistics), [[-1, 0, -1], [1, 0.25, 0], [3, 0.5, 1], [2, 0.125, 0.25]])
    assert undone(np.array([0.0, 0.0, 0.0]), {"q01": [0] * 3, "q99": [2] * 3}).tolist() == [1, 1, 1]  # no mask: all


@given(st.lists(st.floats(-1, 1), min_size=7, max_size=7))
def test_undone_actions_keep_the_bounds(values):
    spec = bounded(action_convention("bridge"), BRIDGE["action"])
    spec.check(undone(np.array([*values[:6], abs(values[6])]), BRIDGE["action"])[None])


def test_bounds_are_the_quantiles_and_the_gripper_keeps_its_own():
    spec = bounded(action_convention("fractal_absolute"), FRACTAL["action"])
    np.testing.assert_allclose(spec.low, [-0.2] * 6 + [0])
    np.testing.assert_allclose(spec.high, [0.3] * 6 + [1])
    assert (spec.gripper, spec.rotation, spec.rate_hz) == ("absolute", "rpy", 3.0)
    with pytest.raises(InvalidInput, match="acts with 7 numbers, the convention has joint_1"):
        bounded(action_convention("droid"), FRACTAL["action"])


def test_the_right_statistics_are_chosen():
    assert chosen_statistics({"x": BRIDGE}, None) == ("x", BRIDGE["action"])
    assert chosen_statistics(STATISTICS, "bridge_orig")[1] is BRIDGE["action"]
    with pytest.raises(InvalidInput, match="2 data sets; give unnorm_key: one of bridge_orig, fractal20220817_data"):
        chosen_statistics(STATISTICS, None)
    with pytest.raises(UnknownName, match='"bridge"; did you mean "bridge_orig"'):
        chosen_statistics(STATISTICS, "bridge")


@pytest.mark.parametrize(
    "broken",
    [None, {}, {"action": None}, {"action": {"q01": [0]}}, {"action": {"q01": [0, 1], "q99": [1]}}]
    + [{"action": {"q01": [0], "q99": [float("nan")]}}, {"action": {"q01": [1], "q99": [0]}}, {"action": {"q01": "a", "q99": "b"}}]
    + [{"action": {"q01": [0], "q99": [1], "mask": [True, False]}}],
)
def test_statistics_without_quantiles_are_refused(broken):
    with pytest.raises(InvalidInput, match='the statistics "x" hold no quantiles'):
        chosen_statistics({"x": broken}, "x")


def test_a_fine_tuned_checkpoint_brings_its_own_statistics(tmp_path):
    (tmp_path / "dataset_statistics.json").write_text(json.dumps({"mine": FRACTAL}))
    assert read_statistics(tmp_path, {"norm_stats": STATISTICS}) == {"mine": FRACTAL}
    (tmp_path / "dataset_statistics.json").write_text("{")
    with pytest.raises(DamagedFile, match="not JSON"):
        read_statistics(tmp_path, {})
    (tmp_path / "dataset_statistics.json").unlink()
    with pytest.raises(InvalidInput, match="no statistics of actions"):
        read_statistics(tmp_path, {"model_type": "llama"})


# the checkpoint's own code, through transformers


def test_actions_are_what_its_code_says_and_our_formula_too(tmp_path):
    policy, frames = policy_of(small_openvla(tmp_path / "v")), pictures(3)
    policy.reset([4, 2], [told(), told("LIFT")], [0, 0])
    prompts = [ASKED.format("put the spoon on the towel"), ASKED.format("lift")]
    expected = [undone(normalised(frame, prompt), BRIDGE["action"]) for frame, prompt in zip(frames, prompts, strict=False)]
    expected = np.clip(expected, policy.action.low, policy.action.high)
    np.testing.assert_allclose(policy.act(frames[:2], [4, 2]), expected, atol=1e-6)
    np.testing.assert_allclose(policy.act(frames[1::-1], [2, 4]), [policy.act(frames[1:2], [2])[0], policy.act(frames[:1], [4])[0]])
    assert policy.faults == {}
    assert policy.action.low[:6] == tuple(BRIDGE["action"]["q01"][:6])


def test_it_drives_a_world(tmp_path):
    policy = policy_of(small_openvla(tmp_path / "v"), unnorm_key="fractal20220817_data")
    world = tiny.world_model(tmp_path / "world", action=action_convention("fractal_absolute"))
    env = gym.make("worldsim/World-v0", world_model=str(world), task=str(tiny.task_file(tmp_path / "task.h5", horizon=5)))
    policy = load_policy(policy, action_convention("fractal_absolute"))
    runs = []
    for _ in range(2):
        frame, _ = env.reset(seed=1)
        policy.reset([0], [told()], [0])
        steps, truncated = [], False
        while not truncated:
            steps.append(policy.act(frame[None], [0])[0])
            frame, _, _, truncated, _ = env.step(steps[-1])
        runs.append(steps)
    assert len(runs[0]) == 5
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.ptp(runs[0], axis=0).max() > 1e-4


def test_half_precision_and_another_prompt(tmp_path):
    folder, frame = small_openvla(tmp_path / "v"), pictures(1)
    whole, half, other = policy_of(folder), policy_of(folder, dtype="bfloat16"), policy_of(folder, prompt="USER: {instruction} ASSISTANT:")
    actions = []
    for policy in (whole, half, other):
        policy.reset([0], [told()], [0])
        actions.append(policy.act(frame, [0])[0])
    assert 1e-7 < np.abs(actions[0] - actions[1]).max() < 0.02
    expected = undone(normalised(frame[0], "USER: put the spoon on the towel ASSISTANT:"), BRIDGE["action"])
    np.testing.assert_allclose(actions[2][:6], expected[:6], atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        ("raise", "its code failed (RuntimeError: too bright)"),
        ("nan", "it gave an action that is not finite in z"),
        ("shape", "it gave an action of shape [6], expected [7]"),
        ("formula", 'as "'),
    ],
)
def test_what_goes_wrong_is_the_fault_of_its_lane(tmp_path, spoil, line):
    policy = policy_of(small_openvla(tmp_path / "v", spoil=spoil))
    policy.reset([0, 1], [told()] * 2, [0, 0])
    frames = np.stack([np.full((8, 8, 3), 250, np.uint8), np.full((8, 8, 3), 10, np.uint8)])
    actions = policy.act(frames, [0, 1])
    assert line in policy.faults[0]
    assert "\n" not in policy.faults[0]
    assert np.isnan(actions[0]).all()
    if spoil in ("raise", "nan"):
        assert np.isfinite(actions[1]).all()
        assert list(policy.faults) == [0]
        policy.reset([0], [told()], [0])
        assert np.isfinite(policy.act(frames[1:], [0])).all()


def test_facts_follow_the_content_not_the_place(tmp_path):
    def facts(folder) -> dict:
        return part_facts(POLICIES, {"name": "openvla", "path": str(folder), "unnorm_key": "bridge_orig"})

    first, second = small_openvla(tmp_path / "a"), small_openvla(tmp_path / "b")
    assert facts(first) == facts(second)
    assert set(facts(first)) == {"name", "unnorm_key", "sha256"}
    (second / "modeling_small.py").write_text("")
    assert facts(first) != facts(second)


def test_a_fingerprint_reads_every_byte(tmp_path):
    path, prints = tmp_path / "v/model.safetensors", []
    path.parent.mkdir()
    for data in (bytes(40), bytes(41), bytes(39) + b"x", b"x" + bytes(39), bytes(20) + b"x" + bytes(19)):
        path.write_bytes(data)
        prints.append(foreign.fingerprint(path.parent))
    assert len(set(prints)) == 5


def test_actions_beyond_the_statistics_can_be_cut(tmp_path):
    policy = policy_of(small_openvla(tmp_path / "v", spoil="formula"), out_of_range="clip")
    policy.reset([0], [told()], [0])
    policy.action.check(policy.act(pictures(1), [0]))
    assert policy.faults == {}


# refusals


def test_code_runs_only_when_it_is_trusted(tmp_path):
    trap = f"from pathlib import Path; Path({str(tmp_path / 'ran')!r}).touch()"
    folder = small_openvla(tmp_path / "v", extra_import=trap)
    for trust, words in (
        (False, "trust_code: true, or serve it .* openvla-rest"),
        *((other, "true or false") for other in (None, "yes", 1)),
    ):
        with pytest.raises(InvalidInput, match=words):
            policy_of(folder, trust_code=trust)
    assert not (tmp_path / "ran").exists()
    policy_of(folder)
    assert (tmp_path / "ran").exists()


def test_code_that_needs_more_packages_names_them(tmp_path):
    with pytest.raises(MissingDependency, match="needs more packages .*no_such_package.*openvla-rest"):
        policy_of(small_openvla(tmp_path / "v", extra_import="import no_such_package"))


@pytest.mark.parametrize("line", ["raise AttributeError('_supports_sdpa')", "1 +"])
def test_code_that_does_not_run_here_names_the_way_out(tmp_path, line):
    with pytest.raises(InvalidInput, match=r"does not run under transformers \d+.*openvla-rest") as refusal:
        policy_of(small_openvla(tmp_path / "v", extra_import=line))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "options", "error", "words"),
    [
        ({}, {"unnorm_key": None}, InvalidInput, "give unnorm_key: one of"),
        ({}, {"unnorm_key": "bridge_origg"}, UnknownName, 'did you mean "bridge_orig"'),
        ({}, {"dtype": "int8"}, InvalidInput, "bfloat16"),
        ({}, {"prompt": "do it"}, InvalidInput, "text with {instruction}"),
        ({}, {"convention": "brigde"}, UnknownName, 'did you mean "bridge"'),
        (
            {"statistics": {"my_robot": BRIDGE}},
            {"unnorm_key": None},
            InvalidInput,
            '"my_robot" mean is not known; give convention',
        ),
        ({"statistics": None}, {}, InvalidInput, "no statistics of actions"),
        ({"auto_map": {}}, {}, InvalidInput, "does not run under transformers"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, changes, options, error, words):
    with pytest.raises(error, match=words) as refusal:
        policy_of(small_openvla(tmp_path / "v", **changes), **options)
    assert "\n" not in str(refusal.value)


def test_a_named_convention_makes_another_robot_possible(tmp_path):
    folder = small_openvla(tmp_path / "v", statistics={"my_robot": BRIDGE})
    policy = policy_of(folder, unnorm_key=None, convention={"name": "bridge", "rate_hz": 10.0})
    assert (policy.action.rate_hz, policy.action.high[0]) == (10.0, pytest.approx(0.02))


def test_folder_that_is_none_and_torn_files(tmp_path):
    with pytest.raises(DamagedFile, match=r"no config\.json"):
        policy_of(tmp_path)
    torn = small_openvla(tmp_path / "v")
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:90])
    with pytest.raises(InvalidInput, match="does not run under"):
        policy_of(torn)
    (torn / "config.json").write_text("{")
    with pytest.raises(DamagedFile, match="not JSON"):
        policy_of(torn)


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    folder = small_openvla(tmp_path / "v")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r"OpenVLA needs transformers.*\[vid2world\]"):
        policy_of(folder)
