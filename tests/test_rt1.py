"""RT-1's folders: forms of action by hand, instructions by name, and a small SavedModel of the same shape that drives a world."""

import subprocess
import sys
from dataclasses import replace
from math import cos, sin
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from small_rt1 import Small

from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, UnknownName, WorldsimError
from worldsim.load import load_policy, part_facts
from worldsim.models.vid2world.domains import domain_action
from worldsim.policies.rt1 import RT1Config
from worldsim.policies.rt1.actions import RAW, form, simpler_google, simpler_widowx
from worldsim.policies.rt1.embeddings import Embeddings, collect_embeddings, load_embeddings
from worldsim.policies.rt1.policy import RT1Policy
from worldsim.registry import POLICIES
from worldsim.types import Task, Trajectory

SMALL = Small()
TOLD = {"open the drawer": np.linspace(0, 0.3, 8, dtype=np.float32), "close the drawer": np.linspace(-0.4, 0.1, 8, dtype=np.float32)}


def outputs(world=(0.1, 0.2, 0.3), turn=(0.4, 0.5, 0.6), grip=0.7) -> dict[str, np.ndarray]:
    parts = {
        "world_vector": world,
        "rotation_delta": turn,
        "gripper_closedness_action": [grip],
        "base_displacement_vector": (0.8, 0.9),
        "base_displacement_vertical_rotation": [1.0],
        "terminate_episode": (0, 1, 0),
    }
    return {name: np.array([value], dtype=np.float64) for name, value in parts.items()}


def told(instruction: str) -> Task:
    return Task("tiny", instruction, 6, ())


def cache(folder) -> str:
    path = folder / "instructions.safetensors"
    Embeddings(TOLD, "the test").save(path)
    return str(path)


# what the outputs mean


def test_raw_is_what_the_network_said():
    raw = form("raw7", None)
    np.testing.assert_allclose(raw.make(outputs()), [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]])
    assert (raw.spec.names, raw.spec.rotation, raw.spec.gripper, raw.spec.rate_hz) == (RAW, "rpy", "relative", 3.0)
    assert not raw.rest(np.ones(7)).any()


def test_vid2world_order():
    chosen, world = form("vid2world13", None), domain_action("rt1")
    np.testing.assert_allclose(chosen.make(outputs()), [[0.8, 0.9, 1.0, 0.7, 0.4, 0.5, 0.6, 0, 1, 0, 0.1, 0.2, 0.3]])
    assert set(chosen.spec.differences(world)) <= {"low", "high"}
    assert (np.array(chosen.spec.low) >= world.low).all()
    assert (np.array(chosen.spec.high) <= world.high).all()
    assert chosen.rest(np.ones(13)).tolist() == [0] * 8 + [1] + [0] * 4  # "keep going"
    assert form(None, world).spec == chosen.spec


def test_a_world_gets_the_components_it_names():
    names = ("yaw", "pitch", "roll", "gripper_closedness", "z", "y", "x", "base_yaw")
    world = replace(form("raw7", None).spec, names=names, low=(-9.0,) * 8, high=(9.0,) * 8)
    np.testing.assert_allclose(form(None, world).make(outputs()), [[0.6, 0.5, 0.4, 0.7, 0.3, 0.2, 0.1, 1.0]])
    for other in (tiny.ACTION, None, replace(world, names=("yaw", *"abcdefg"))):  # nothing of the arm may be left out in silence
        assert form(None, other).spec.names == RAW
    with pytest.raises(UnknownName, match='did you mean "raw7"'):
        form("raw", None)


@pytest.mark.parametrize(("grip", "kept"), [(0.0099, 0.0), (-0.0099, 0.0), (0.01, 0.01), (-0.5, -0.5)])
def test_simpler_google_drops_tiny_grips_only(grip, kept):
    made = simpler_google(outputs(world=(0.001, -0.002, 0), turn=(0.3, -0.4, 0), grip=grip))
    np.testing.assert_allclose(made, [[0.001, -0.002, 0, 0.3, -0.4, 0, kept]], atol=1e-12)


def test_simpler_google_takes_the_axis_y_where_there_is_no_turn():
    np.testing.assert_allclose(simpler_google(outputs(turn=(0, 0, 5e-7)))[0, 3:6], [0, 5e-7, 0], atol=1e-15)
    np.testing.assert_allclose(simpler_google(outputs(turn=(0, 0, 5e-6)))[0, 3:6], [0, 0, 5e-6], atol=1e-15)


@pytest.mark.parametrize(
    ("world", "moved"),
    [((1.75, -1.75, 0), (0.05, -0.05, 0)), ((0.875, -0.4375, 0.035), (0.025, -0.0125, 0.001)), ((2, -9, 1.7500001), (0.05, -0.05, 0.05))],
)
def test_simpler_widowx_scales_and_cuts_the_way(world, moved):
    np.testing.assert_allclose(simpler_widowx(outputs(world=world, turn=(0, 0, 0)))[0, :3], moved, atol=1e-12)


@pytest.mark.parametrize(
    ("turn", "turned"),
    [((1.4, 0, 0), (0.25, 0, 0)), ((0, -0.7, 0), (0, -0.125, 0)), ((0, 0, 2), (0, 0, 0.25)), ((0, 0, 0), (0, 0, 0))],
)
def test_simpler_widowx_scales_and_cuts_the_turn(turn, turned):
    np.testing.assert_allclose(simpler_widowx(outputs(turn=turn))[0, 3:6], turned, atol=1e-12)


def test_simpler_widowx_turns_about_fixed_axes_x_then_y_then_z():
    roll, pitch, yaw = 0.25, -0.125, 0.0625
    about = [
        [[1, 0, 0], [0, cos(roll), -sin(roll)], [0, sin(roll), cos(roll)]],
        [[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]],
        [[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]],
    ]
    matrix = np.array(about[2]) @ about[1] @ about[0]
    angle = np.arccos((np.trace(matrix) - 1) / 2)
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]]) / (2 * sin(angle))
    made = simpler_widowx(outputs(turn=(1.4, -0.7, 0.35)))[0, 3:6]
    np.testing.assert_allclose(made, axis * angle, atol=1e-12)


@pytest.mark.parametrize(("grip", "openness"), [(0.3, 0), (1e-9, 0), (0.0, 0), (-1e-9, 1), (-1, 1), (np.nan, np.nan)])
def test_simpler_widowx_opens_where_it_does_not_close(grip, openness):
    np.testing.assert_equal(simpler_widowx(outputs(grip=grip))[0, 6], openness)


@given(st.lists(st.floats(-3, 3), min_size=7, max_size=7))
def test_simpler_widowx_keeps_its_bounds(numbers):
    chosen = form("simpler-widowx", None)
    chosen.spec.check(chosen.make(outputs(numbers[:3], numbers[3:6], numbers[6])))
    assert chosen.rest(np.arange(7.0)).tolist() == [0] * 6 + [6]  # an absolute gripper stays where it was told to be


def test_a_nan_is_not_made_a_number():
    for make in (simpler_google, simpler_widowx, form("raw7", None).make):
        assert np.isnan(make(outputs(turn=(0.1, np.nan, 0.1)))[0, 3:6]).any()


# instructions


def test_embeddings_come_back(tmp_path):
    found = load_embeddings(cache(tmp_path))
    for instruction, vector in TOLD.items():
        np.testing.assert_array_equal(found.of(instruction, 8), vector)
    assert found.digest() == Embeddings(TOLD, "elsewhere").digest()
    assert found.digest() != Embeddings(TOLD | {"x": np.zeros(8, np.float32)}, "").digest()


def test_unknown_instruction_names_the_closest_and_the_way_out(tmp_path):
    found = load_embeddings(cache(tmp_path))
    with pytest.raises(UnknownName, match=r"\"close drawer\".*did you mean 'close the drawer'.*collect_embeddings.*instruction: none"):
        found.of("close drawer", 8)
    with pytest.raises(UnknownName, match=r"it knows 2 others\."):
        found.of("xyz", 8)
    with pytest.raises(InvalidInput, match="have 8 numbers, the policy takes 512"):
        found.of("close the drawer", 512)


def episode(path, instruction, vector) -> None:
    carried = {} if vector is None else {"language_embedding": [float(value) for value in vector]}
    frames, actions = np.zeros((3, 4, 4, 3), np.uint8), np.zeros((2, 3), np.float32)
    write_trajectory(path, Trajectory("t", frames, actions, metadata={"instruction": instruction, **carried}))


def test_embeddings_are_collected_from_episodes(tmp_path):
    for number, (instruction, vector) in enumerate([*TOLD.items(), *TOLD.items(), ("no vector", None), ("", np.ones(8))]):
        episode(tmp_path / f"train/{number}.h5", instruction, vector)
    found = load_embeddings(tmp_path)
    assert set(found.vectors) == set(TOLD)
    np.testing.assert_array_equal(found.of("open the drawer", 8), TOLD["open the drawer"])
    episode(tmp_path / "val/0.h5", "open the drawer", TOLD["open the drawer"] + 0.01)
    with pytest.raises(InvalidInput, match='another embedding of "open the drawer"'):
        collect_embeddings(tmp_path)


def test_episodes_without_embeddings_are_refused(tmp_path):
    episode(tmp_path / "0.h5", "open", None)
    with pytest.raises(InvalidInput, match="no episode below .* worldsim import rlds"):
        load_embeddings(tmp_path)


@settings(max_examples=60)
@given(junk=st.binary(max_size=60), cut=st.integers(0, 300), as_cut=st.booleans())
def test_damaged_cache_is_refused_in_one_way_only(tmp_path_factory, junk, cut, as_cut):
    folder = tmp_path_factory.mktemp("cache")
    whole = Path(cache(folder)).read_bytes()
    data = whole[: min(cut, len(whole) - 1)] if as_cut else junk
    (folder / "torn").write_bytes(data)
    with pytest.raises(DamagedFile, match="collect_embeddings"):
        load_embeddings(folder / "torn")


@pytest.mark.parametrize("names", ['["a"]', '"ab"', "[1, 2]", "[", None])
def test_cache_of_another_kind_is_refused(tmp_path, names):
    from safetensors.numpy import save_file

    save_file({"vectors": np.zeros((2, 8), np.float32)}, tmp_path / "x", metadata=names and {"instructions": names})
    with pytest.raises(DamagedFile):
        load_embeddings(tmp_path / "x")


# lanes, with the small policy in numpy


class InNumpy:
    """The small policy with the interface of a `SavedPolicy`."""

    def __init__(self, small: Small):
        self.small, self.calls = small, 0

    def start(self):
        return self.small.begin()

    def step(self, images, embeddings, texts, memory):
        self.calls += 1
        return self.small(memory, images, embeddings)


def in_numpy(small: Small = SMALL, **options) -> RT1Policy:
    return RT1Policy(InNumpy(small), form("raw7", None), lambda text: (text, TOLD[text]), lambda frames: frames, **options)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 20, 3), dtype=np.uint8)


def alone(small: Small, instruction: str, frames: np.ndarray) -> np.ndarray:
    """Actions `[T, 7]` of one episode, without any policy."""
    memory, actions = small.begin(), []
    for frame in frames:
        found, memory = small(memory, frame[None], TOLD[instruction][None])
        actions.append(form("raw7", None).make(found)[0])
    return np.array(actions)


@given(st.lists(st.tuples(st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2), min_size=1)), max_size=8), st.booleans())
@settings(max_examples=40)
def test_lanes_are_episodes_of_their_own(schedule, batched):
    """Whatever is reset and whoever acts, each lane gives what an episode alone gives."""
    policy, instructions = in_numpy(batched=batched), list(TOLD)
    begun = {lane: (instructions[lane % 2], []) for lane in range(3)}
    policy.reset([0, 1, 2], [told(begun[lane][0]) for lane in range(3)], [0, 0, 0])
    for tick, (fresh, acting) in enumerate(schedule):
        for lane in fresh:
            begun[lane] = (instructions[(lane + tick) % 2], [])
            policy.reset([lane], [told(begun[lane][0])], [0])
        frames, lanes = pictures(len(acting), tick), sorted(acting, reverse=bool(tick % 2))
        actions = policy.act(frames, lanes)
        for row, lane in enumerate(lanes):
            begun[lane][1].append(frames[row])
            np.testing.assert_allclose(actions[row], alone(Small(), *begun[lane])[-1], atol=1e-6)


def test_a_policy_that_is_done_acts_it_out_and_keeps_still():
    policy = in_numpy(Small(stop=2))
    policy.reset([5], [told("open the drawer")], [0])
    actions = np.array([policy.act(frame[None], [5])[0] for frame in pictures(5)])
    np.testing.assert_allclose(actions[:3], alone(Small(), "open the drawer", pictures(3)), atol=1e-6)
    assert not actions[3:].any()
    assert (policy.terminated, policy.faults) == ({5: 2}, {})
    policy.reset([5], [told("open the drawer")], [0])
    assert policy.terminated == {}
    assert policy.act(pictures(1), [5]).any()


def test_done_can_be_ignored_and_is_remembered_still():
    policy = in_numpy(Small(stop=1), until_done=False)
    policy.reset([0], [told("open the drawer")], [0])
    actions = np.array([policy.act(frame[None], [0])[0] for frame in pictures(4)])
    np.testing.assert_allclose(actions, alone(Small(), "open the drawer", pictures(4)), atol=1e-6)
    assert policy.terminated == {0: 1}


@pytest.mark.parametrize("batched", [False, True])
def test_a_nan_is_the_fault_of_its_lane_only(batched):
    policy = in_numpy(Small(spoil=1), batched=batched)
    policy.reset([3], [told("open the drawer")], [0])
    policy.act(pictures(1), [3])
    policy.reset([4], [told("close the drawer")], [0])
    actions = policy.act(pictures(2), [3, 4])
    assert np.isnan(actions[0]).all()
    assert np.isfinite(actions[1]).all()
    assert policy.faults == {3: "step 1: it gave an action that is not finite in yaw"}
    policy.reset([4], [told("close the drawer")], [0])
    assert np.isnan(policy.act(pictures(2), [3, 4])[0]).all()  # still at fault, and not asked again
    policy.reset([3], [told("open the drawer")], [0])
    assert np.isfinite(policy.act(pictures(1), [3])).all()
    assert policy.faults == {}


@pytest.mark.parametrize("clip", [False, True])
def test_an_output_beyond_the_bounds_is_a_fault_or_cut(clip):
    """RT-1-X moves by up to 1.75 where RT-1 moves by up to 1."""
    policy = in_numpy(clip=clip)
    step = policy._network.step

    def further(*given):
        found, memory = step(*given)
        return {**found, "world_vector": np.array([[0.5, -1.75, 0.0]])}, memory

    policy._network.step = further
    policy.reset([0], [told("open the drawer")], [0])
    action = policy.act(pictures(1), [0])[0]
    if clip:
        assert action[:3].tolist() == [0.5, -1, 0]
    else:
        assert np.isnan(action).all()
        assert policy.faults == {0: 'step 0: it gave -1.75 as "y", expected a number in [-1, 1]; out_of_range: clip would cut it'}


def test_a_lane_that_is_done_or_at_fault_is_not_computed():
    policy = in_numpy(Small(stop=0))
    policy.reset([0], [told("open the drawer")], [0])
    for frame in pictures(4):
        policy.act(frame[None], [0])
    assert policy._network.calls == 1


# options


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"fit": "stretch"}, InvalidInput, "pad or crop"),
        ({"terminate": "stop"}, InvalidInput, "hold or ignore"),
        ({"out_of_range": "cut"}, UnknownName, "known: clip, refuse"),
        ({"actions": "simpler-gogle"}, UnknownName, 'did you mean "simpler-google"'),
    ],
)
def test_an_option_of_another_kind_is_refused_before_anything_is_loaded(options, error, words):
    with pytest.raises(error, match=words):
        load_policy({"name": "rt1", "path": "nowhere", **options})


def test_without_tensorflow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependency, match=r"an RT-1 SavedModel needs tensorflow.*\[rlds\]"):
        load_policy({"name": "rt1", "path": str(tmp_path)})


def test_registering_loads_nothing_heavy():
    code = "import sys, worldsim.policies; print({'torch', 'tensorflow', 'transformers', 'lerobot'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_crop_removes_the_bars_of_a_wide_frame():
    """Vid2World's RT-1 frames are 320 x 512 with 56 black columns on each side."""
    inside = np.random.default_rng(0).integers(1, 256, (1, 320, 400, 3), dtype=np.uint8)
    barred = np.pad(inside, ((0, 0), (0, 0), (56, 56), (0, 0)))
    np.testing.assert_array_equal(RT1Config("", fit="crop")._fit(256, 320)(barred), RT1Config("")._fit(256, 320)(inside))
    assert not RT1Config("")._fit(256, 320)(barred)[0, :28].any()


# a SavedModel, through tensorflow

VARIANTS = {
    "as tf_agents saves": Small(),
    "policy_state, any number of lanes": Small(names="policy_state", batch=None),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The variants as SavedModel folders, each saved once."""
    root = tmp_path_factory.mktemp("saved_models")
    made = {}

    def folder(small: Small) -> str:
        key = repr(small)
        if key not in made:
            made[key] = str(small.save(root / str(len(made))))
        return made[key]

    return folder


def policy_of(folders, tmp_path, small: Small, action=None, **options) -> RT1Policy:
    return load_policy({"name": "rt1", "path": folders(small), "embeddings": cache(tmp_path), **options}, action)


@pytest.mark.tensorflow
@pytest.mark.parametrize("variant_name", VARIANTS)
@pytest.mark.parametrize("actions", ["raw7", "vid2world13"])
def test_it_drives_a_world_for_whole_episodes(folders, tmp_path, variant_name, actions):
    """Each action is what the policy in numpy gives for the same frames; a second episode is the first again."""
    small = VARIANTS[variant_name]
    world = domain_action("rt1") if actions == "vid2world13" else form("raw7", None).spec
    model, task = tiny.world_model(tmp_path / "world", action=world), tiny.task_file(tmp_path / "task.h5", horizon=8)
    env = gym.make("worldsim/World-v0", world_model=str(model), task=str(task))
    policy = policy_of(folders, tmp_path, small, world)
    fit = RT1Config("")._fit(16, 20)
    runs = []
    for _ in range(2):
        frame, _ = env.reset(seed=3)
        policy.reset([0], [told("close the drawer")], [3])
        memory, played, frames, truncated = small.begin(), [], [], False
        while not truncated:
            expected, memory = small(memory, fit(frame[None]), TOLD["close the drawer"][None])
            action = policy.act(frame[None], [0])[0]
            np.testing.assert_allclose(action, form(actions, None).make(expected)[0], atol=2e-6)
            frame, _, _, truncated, _ = env.step(action)
            played.append(action)
            frames.append(frame)
        assert len(played) == 8
        runs.append((np.array(played), np.array(frames)))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert np.ptp(runs[0][0], axis=0)[list(form(actions, None).spec.names).index("x")] > 1e-3  # it looks


@pytest.mark.tensorflow
@pytest.mark.parametrize("variant_name", VARIANTS)
@pytest.mark.parametrize("batched", [False, True])
def test_two_lanes_are_two_runs(folders, tmp_path, variant_name, batched):
    small = VARIANTS[variant_name]
    if batched and small.batch == 1:
        with pytest.raises(InvalidInput, match="one lane at a time"):
            policy_of(folders, tmp_path, small, batched=True)
        return
    policy = policy_of(folders, tmp_path, small, batched=batched)
    policy.reset([0, 7], [told(text) for text in TOLD], [0, 0])
    first, second = pictures(6, 1), pictures(6, 2)
    together = np.array([policy.act(np.stack(pair), [0, 7]) for pair in zip(first, second, strict=True)])
    for row, (text, frames) in enumerate(zip(TOLD, (first, second), strict=True)):
        policy.reset([row], [told(text)], [0])
        single = np.array([policy.act(frame[None], [row])[0] for frame in frames])
        np.testing.assert_allclose(together[:, row], single, atol=1e-6)
        np.testing.assert_allclose(single, alone(small, text, frames), atol=2e-6)


@pytest.mark.tensorflow
def test_instructions_reach_the_network(folders, tmp_path):
    def first(task: str, **options) -> np.ndarray:
        policy = policy_of(folders, tmp_path, Small(), **options)
        policy.reset([0], [told(task)], [0])
        return policy.act(pictures(1), [0])[0]

    assert first("open the drawer")[1] == pytest.approx(np.tanh(TOLD["open the drawer"].sum()), abs=1e-6)
    assert first("anything", instruction="close the drawer")[1] == pytest.approx(np.tanh(TOLD["close the drawer"].sum()), abs=1e-6)
    assert first("anything", instruction="none")[1] == 0
    assert first("")[1] == 0
    assert first("anything", instruction="none", embeddings=None)[1] == 0
    with pytest.raises(UnknownName, match="did you mean"):
        first("open drawer")
    with pytest.raises(InvalidInput, match="needs the embedding of"):
        first("open the drawer", embeddings=None)


@pytest.mark.tensorflow
def test_a_network_that_fails_is_the_fault_of_its_lane(folders, tmp_path):
    policy = policy_of(folders, tmp_path, Small(fail=1))
    policy.reset([0, 1], [told("open the drawer")] * 2, [0, 0])
    policy.act(pictures(1), [0])
    actions = policy.act(pictures(2), [0, 1])
    assert np.isnan(actions[0]).all()
    assert np.isfinite(actions[1]).all()
    assert list(policy.faults) == [0]
    assert "\n" not in policy.faults[0]
    assert "the network failed (InvalidArgumentError" in policy.faults[0]


@pytest.mark.tensorflow
def test_facts_change_with_weights_and_embeddings(folders, tmp_path):
    def facts(small: Small, **options) -> dict:
        return part_facts(POLICIES, {"name": "rt1", "path": folders(small), "device": "cpu", **options})

    (tmp_path / "other").mkdir()
    mine, moved = cache(tmp_path), cache(tmp_path / "other")
    assert facts(SMALL, embeddings=mine) == facts(SMALL, embeddings=moved)
    assert set(facts(SMALL, embeddings=mine)) == {"name", "sha256", "embeddings"}
    assert facts(SMALL)["sha256"] != facts(Small(stop=2))["sha256"]
    Embeddings(TOLD | {"x": np.zeros(8, np.float32)}, "").save(moved)
    assert facts(SMALL, embeddings=mine) != facts(SMALL, embeddings=moved)
    with pytest.raises(DamagedFile, match="holds no checkpoint"):
        part_facts(POLICIES, {"name": "rt1", "path": str(tmp_path / "nowhere")})


# folders that are no RT-1


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"without": ("action",)}, r"signatures \['get_initial_state'\], expected action and get_initial_state"),
        ({"without": ("get_initial_state",)}, r"get_initial_state returns \[\]; expected the same names"),
        ({"without": ("action", "get_initial_state")}, "signatures none"),
        ({"changed": {"t": "float"}}, r"takes the state t as int32 .* and returns it as float32"),
        ({"changed": {"image": "small"}}, r"takes the state image as uint8 .* returns it as uint8"),
        ({"changed": {"extra": "float"}}, "remembers other tensors"),
        ({"columns": None}, "expected uint8 .* of a stated size"),
        ({"batch": 3}, "expected a first axis of lanes"),
    ],
)
def test_a_folder_of_another_kind_is_refused_in_one_line(folders, tmp_path, changes, words):
    import tensorflow as tf

    values = {"float": tf.zeros([1, 1, 1, 1]), "small": tf.zeros([6, 4, 4, 3], tf.uint8)}
    small = Small(**{key: value for key, value in changes.items() if key != "changed"})
    small = replace(small, changed={name: values[value] for name, value in changes.get("changed", {}).items()})
    with pytest.raises(InvalidInput, match=words) as refusal:
        load_policy({"name": "rt1", "path": folders(small)})
    assert "\n" not in str(refusal.value)


@pytest.mark.tensorflow
@pytest.mark.parametrize("damage", ["empty folder", "graph cut", "graph noise", "no variables", "variables emptied", "no index"])
def test_damaged_folders_are_refused_in_one_line(folders, tmp_path, damage):
    import shutil

    torn = tmp_path / "torn"
    shutil.copytree(folders(Small()), torn)
    graph, data = torn / "saved_model.pb", next(torn.glob("variables/*.data*"))
    {
        "empty folder": lambda: shutil.rmtree(torn),
        "graph cut": lambda: graph.write_bytes(graph.read_bytes()[:5000]),
        "graph noise": lambda: graph.write_bytes(bytes(range(256)) * 20),
        "no variables": lambda: shutil.rmtree(torn / "variables"),
        "variables emptied": lambda: data.write_bytes(b""),
        "no index": lambda: (torn / "variables/variables.index").unlink(),
    }[damage]()
    with pytest.raises(DamagedFile, match="cannot be read as a SavedModel") as refusal:
        load_policy({"name": "rt1", "path": str(torn)})
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_noise_in_a_folder_is_refused_or_the_fault_of_a_lane(folders, tmp_path):
    """Bits flipped, bytes lost or zeroed, anywhere: one line, or actions, never another error."""
    import shutil

    lines = []
    for seed in range(60):
        rng, torn = np.random.default_rng(seed), tmp_path / str(seed)
        shutil.copytree(folders(SMALL), torn)
        files = [torn / "saved_model.pb", torn / "saved_model.pb", *sorted(torn.glob("variables/*"))]
        path = files[rng.integers(len(files))]
        data = bytearray(path.read_bytes())
        place = int(rng.integers(len(data)))
        if rng.random() < 0.3:
            data = data[:place]
        else:
            data[place : place + 16] = rng.integers(0, 256, len(data[place : place + 16]), dtype=np.uint8).tobytes()
        path.write_bytes(data)
        try:
            policy = load_policy({"name": "rt1", "path": str(torn), "instruction": "none"})
            policy.reset([0], [told("")], [0])
            actions = np.array([policy.act(frame[None], [0])[0] for frame in pictures(2)])
            assert np.isfinite(actions).all() or policy.faults
        except WorldsimError as error:
            lines.append(str(error))
        shutil.rmtree(torn)
    assert 30 < len(lines) < 60
    assert not [line for line in lines if "\n" in line]


@pytest.mark.tensorflow
def test_missing_device_is_refused(folders):
    for device in ("cuda:7", "tpu", "cuda:x"):
        with pytest.raises(InvalidInput, match=f'no device "{device}"'):
            load_policy({"name": "rt1", "path": folders(Small()), "device": device})


SPECIAL = """
import json, sys
import tensorflow as tf
from tensorflow.python.framework import type_spec, type_spec_registry

@type_spec_registry.register("special.Spec")
class Spec(type_spec.TypeSpec):
    value_type = property(lambda self: object)
    def _serialize(self): return ()
    _component_specs = property(lambda self: tf.TensorSpec([1], tf.float32))
    def _to_components(self, value): return value.tensor
    def _from_components(self, tensor): return Special(tensor)

class Special(tf.__internal__.CompositeTensor):
    def __init__(self, tensor): self.tensor = tensor
    _type_spec = property(lambda self: Spec())
"""
SAVE = """
import sys
sys.path[:0] = sys.argv[2:]
from tensorflow_probability import Spec
import tensorflow as tf
from small_rt1 import Small

module = Small().module()
module.special = tf.function(lambda value: value.tensor, input_signature=[Spec()])
Small().write(module, sys.argv[1])
"""


@pytest.mark.tensorflow
def test_types_that_nobody_registered(tmp_path, monkeypatch):
    """What the real folders may hold: a function over a type of tensorflow_probability's. Reading it asks for that package, then works."""
    (tmp_path / "probability").mkdir()
    (tmp_path / "probability/tensorflow_probability.py").write_text(SPECIAL)
    paths = [str(tmp_path / "probability"), *(path for path in sys.path if path.endswith("tests"))]
    done = subprocess.run([sys.executable, "-c", SAVE, str(tmp_path / "saved"), *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with pytest.raises(MissingDependency, match="special.Spec.*tensorflow-probability"):
        load_policy({"name": "rt1", "path": str(tmp_path / "saved")})
    monkeypatch.syspath_prepend(str(tmp_path / "probability"))
    policy = load_policy({"name": "rt1", "path": str(tmp_path / "saved"), "instruction": "none"})
    policy.reset([0], [told("")], [0])
    assert np.isfinite(policy.act(pictures(1), [0])).all()


def test_outputs_of_another_shape_are_refused():
    policy = in_numpy()
    step = policy._network.step
    policy._network.step = lambda *given: ({**step(*given)[0], "world_vector": np.zeros((1, 4))}, {})
    policy.reset([0], [told("open the drawer")], [0])
    with pytest.raises(InvalidInput, match=r"\[1, 4\] as action/world_vector, expected \[1, 3\]"):
        policy.act(pictures(1), [0])
