"""Recordings become episode files: actions mean what the readers promise, and bad episodes are counted, never fatal."""

import json
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from worldsim.data.actions import bounds_of, describe_actions, normalise, undo
from worldsim.data.importing import import_recordings
from worldsim.data.mp4_json import actions_between, parse_annotation, read_mp4_json
from worldsim.data.recording import RECORDING_FORMATS
from worldsim.data.rlds import Layout, read_rlds, trajectory_of
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.data.video import write_video
from worldsim.errors import InvalidInput, MissingDependency, RunMismatch, UnknownName
from worldsim.experiments.import_ import run
from worldsim.types import ActionSpec

SHARED = Path(__file__).parents[1] / "../shared/data"
BRIDGE, DROID = SHARED / "bridge_rlds", SHARED / "droid"
needs_bridge = pytest.mark.skipif(not BRIDGE.is_dir(), reason="the real BridgeData sample (../shared/data/bridge_rlds) is not here")
needs_droid = pytest.mark.skipif(not DROID.is_dir(), reason="the real DROID sample (../shared/data/droid) is not here")
SPEC = ActionSpec(("x", "grip", "still"), (-2.0, 0.0, 0.3), (1.0, 1.0, 0.3), rate_hz=5)
STATES = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (4, 7)), axis=0)


def add_episode(root: Path, name: str, *, split: str = "train", states: np.ndarray = STATES, shade: int = 0, camera: str = "0") -> None:
    """A synthetic episode whose frames brighten to the right."""
    frames = np.broadcast_to(np.linspace(shade, 200, 48)[:, None].astype(np.uint8), (4, 32, 48, 3))
    write_video(root / "videos" / split / name / f"{camera}.mp4", frames, fps=5)
    note = root / "annotation" / split / f"{name}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"texts": [f"do {name}"], "states": states.tolist()}))


# actions to and from [-1, 1]


@given(st_numpy.arrays(np.float64, (5, 3), elements=st.floats(0, 1)))
def test_undo_inverts_normalise(unit):
    low, high = np.array(SPEC.low), np.array(SPEC.high)
    actions = (low + unit * (high - low)).astype(np.float32)
    values = normalise(actions, SPEC)
    assert np.abs(values).max() <= 1
    np.testing.assert_allclose(undo(values, SPEC), actions, atol=3e-7)


def test_bounds_map_to_the_ends_and_beyond_is_clipped():
    low, high = np.float32(SPEC.low), np.float32(SPEC.high)
    assert normalise(low, SPEC).tolist() == [-1, -1, 0]
    assert normalise(high + 9, SPEC)[:2].tolist() == [1, 1]
    assert undo(np.full(3, -1.0), SPEC).tolist() == low.tolist()
    assert undo(np.full(3, 7.0), SPEC).tolist() == high.tolist()


def test_wrong_or_missing_numbers_are_refused():
    with pytest.raises(InvalidInput, match="expected"):
        normalise(np.zeros((2, 4)), SPEC)
    with pytest.raises(InvalidInput, match="not finite"):
        undo(np.full((2, 3), np.nan), SPEC)


def test_bounds_hold_all_actions_with_room():
    actions = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    actions[:, 1] = 5
    statistics = describe_actions(actions, ("a", "constant"))
    low, high = bounds_of(statistics)
    assert low[0] == pytest.approx(actions[:, 0].min() - 0.05 * np.ptp(actions[:, 0]), rel=1e-6)
    assert (low[1], high[1]) == pytest.approx((4.995, 5.005))
    assert statistics[0].q01 == pytest.approx(np.quantile(actions[:, 0].astype(float), 0.01))


# mp4 + JSON

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["states", "texts", "x"]), inner, max_size=3),
    max_leaves=20,
)
numbers = st.floats() | st.integers() | st.none() | st.text(max_size=2)
nearly = st.fixed_dictionaries({"states": st.lists(st.lists(numbers, min_size=6, max_size=8), max_size=4), "texts": junk})


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | junk.map(lambda value: json.dumps(value).encode()) | nearly.map(lambda value: json.dumps(value).encode()))
def test_garbage_annotation_is_refused_in_one_way_only(data):
    try:
        annotation = parse_annotation(data)
    except InvalidInput:
        return
    assert np.isfinite(actions_between(annotation.states)).all()


@given(st_numpy.arrays(np.float64, st.tuples(st.integers(2, 6), st.just(7)), elements=st.floats(-3, 3)), st.text(max_size=9))
def test_good_annotation_is_read_exactly(states, text):
    annotation = parse_annotation(json.dumps({"states": states.tolist(), "texts": [text]}).encode())
    assert annotation.instruction == text
    np.testing.assert_array_equal(annotation.states, states)


def test_actions_are_what_happened_between_frames():
    actions = actions_between(STATES)
    np.testing.assert_allclose(STATES[0, :6] + np.cumsum(actions[:, :6], axis=0), STATES[1:, :6], atol=1e-6)
    np.testing.assert_array_equal(actions[:, 6], STATES[1:, 6].astype(np.float32))


def test_angles_take_the_short_way_round():
    states = np.zeros((3, 7))
    states[:, 3] = (3.1, -3.1, 3.1)
    change = actions_between(states)[:, 3]
    np.testing.assert_allclose(change, [2 * np.pi - 6.2, 6.2 - 2 * np.pi], atol=1e-6)


def test_episodes_come_in_numeric_order(tmp_path):
    for name in ("10", "9", "b"):
        add_episode(tmp_path, name)
    assert [recording.name for recording in read_mp4_json(tmp_path)] == ["9", "10", "b"]
    assert [recording.name for recording in read_mp4_json(tmp_path, limit=2)] == ["9", "10"]
    with pytest.raises(UnknownName, match='did you mean "train"'):
        read_mp4_json(tmp_path, split="trian")


# RLDS, without tensorflow


def steps_of(actions, *, instruction=b"lift") -> list[dict]:
    return [
        {"action": action, "observation": {"cam": np.full((4, 4, 3), t, np.uint8)}, "language_instruction": instruction, "is_last": False}
        for t, action in enumerate(actions)
    ]


def test_last_action_is_dropped():
    actions = np.arange(1, 22, dtype=np.float32).reshape(3, 7)
    trajectory = trajectory_of(steps_of(actions), Layout("bridge_dataset", "train", "cam"))
    np.testing.assert_array_equal(trajectory.actions, actions[:-1])
    assert trajectory.frames[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert trajectory.metadata["instruction"] == "lift"
    assert trajectory.metadata["action"]["names"][-1] == "gripper"
    assert trajectory.metadata["fps"] == 5


def test_filler_goes_with_its_frame_only_when_all_zero():
    actions = np.ones((4, 7), np.float32)
    actions[0] = 0
    layout = Layout("bridge_dataset", "train", "cam")
    assert trajectory_of(steps_of(actions), layout).frames[:, 0, 0, 0].tolist() == [1, 2, 3]
    actions[0, 6] = 1
    assert len(trajectory_of(steps_of(actions), layout)) == 3


def test_dictionary_action_is_flattened_in_a_fixed_order():
    part = {
        "rotation_delta": np.full(3, 2.0),
        "world_vector": np.full(3, 1.0),
        "open_gripper": np.float32(3),
        "terminate_episode": np.ones(3),
    }
    trajectory = trajectory_of(steps_of([part, part]), Layout("my_robot", "train", "cam"))
    assert trajectory.actions.tolist() == [[1, 1, 1, 2, 2, 2, 3]]
    assert trajectory.metadata["action"]["names"][2:4] == ["world_vector_2", "rotation_delta_0"]
    assert trajectory.metadata["fps_assumed"]


@pytest.mark.parametrize("count", [0, 1])
def test_too_short_episode_is_refused(count):
    with pytest.raises(InvalidInput, match="at least 2"):
        trajectory_of(steps_of(np.ones((count, 7))), Layout("bridge", "train", "cam"))


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "features.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependency, match=r"\[rlds\]"):
        read_rlds(tmp_path)


@pytest.mark.tensorflow
def test_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"features\.json"):
        read_rlds(tmp_path)


# importing


def test_good_and_bad_episodes(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    add_episode(source, "1")
    add_episode(source, "2", shade=9)
    add_episode(source, "3", shade=9, split="val")
    add_episode(source, "4", states=STATES[:3])
    add_episode(source, "5", camera="7")
    add_episode(source, "6")
    (source / "annotation/train/6.json").write_text("{")
    add_episode(source, "7", shade=200)
    add_episode(source, "8")
    (source / "videos/train/8/0.mp4").write_bytes(b"torn")
    summary = import_recordings("mp4-json", source, out, size=16)
    reasons = {each.episode: each.reason for each in summary.dropped}
    assert list(reasons) == ["4", "5", "6", "7", "8"]
    for episode, words in {
        "4": "4 frames for 3 states",
        "5": 'no camera "0"',
        "6": "not JSON",
        "7": "one colour",
        "8": "as a video",
    }.items():
        assert words in reasons[episode]
    assert (summary.episodes, summary.splits, summary.repeated, summary.frames) == (3, {"train": 2, "val": 1}, 1, 12)
    assert [path.relative_to(out).as_posix() for path in trajectory_paths(out)] == ["train/1.h5", "train/2.h5", "val/3.h5"]
    trajectory = read_trajectory(out / "train/1.h5")
    assert trajectory.frames.shape == (4, 16, 16, 3)
    assert trajectory.metadata["instruction"] == "do 1"
    summary.action.check(trajectory.actions)
    written = json.loads((out / "summary.json").read_text())
    assert ActionSpec(**written["action"]) == summary.action


def test_same_command_resumes_and_another_is_refused(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    add_episode(source, "1")
    add_episode(source, "2")
    first = import_recordings("mp4-json", source, out, size=16, limit=1)
    stamp = (out / "train/1.h5").stat().st_mtime_ns
    second = import_recordings("mp4-json", source, out, size=16)
    assert (first.kept, first.episodes, second.kept, second.episodes) == (0, 1, 1, 2)
    assert (out / "train/1.h5").stat().st_mtime_ns == stamp
    (out / "train/1.h5").write_bytes(b"torn")
    third = import_recordings("mp4-json", source, out, size=16)
    assert third == replace(second, kept=1)
    assert len(read_trajectory(out / "train/1.h5")) == 3
    with pytest.raises(RunMismatch, match="another import"):
        import_recordings("mp4-json", source, out, size=32)


def test_nothing_readable_is_an_error_that_does_not_claim_the_folder(tmp_path):
    add_episode(tmp_path / "in", "1")
    with pytest.raises(InvalidInput, match='no camera "9"'):
        import_recordings("mp4-json", tmp_path / "in", tmp_path / "out", camera="9")
    assert import_recordings("mp4-json", tmp_path / "in", tmp_path / "out").episodes == 1


def test_unknown_format_and_bad_sizes(tmp_path):
    assert {"mp4-json", "rlds"} <= set(RECORDING_FORMATS.names())
    with pytest.raises(UnknownName, match='did you mean "mp4-json"'):
        import_recordings("mp4-jsn", tmp_path, tmp_path / "out")
    for options in ({"size": 0}, {"limit": 0}):
        with pytest.raises(InvalidInput, match="at least 1"):
            import_recordings("mp4-json", tmp_path, tmp_path / "out", **options)


def test_command_prints_what_came_through(tmp_path, capsys):
    add_episode(tmp_path / "in", "1")
    add_episode(tmp_path / "in", "2", camera="7")
    options = {"source": "mp4-json", "path": str(tmp_path / "in"), "out": str(tmp_path / "out"), "limit": None, "camera": None, "size": 16}
    run(types.SimpleNamespace(**options))
    printed = capsys.readouterr().out
    for words in ("1 (train 1)", "gripper_closed", 'dropped train/2: no camera "0"', str(tmp_path / "out")):
        assert words in printed


# real recordings


@needs_droid
def test_real_droid(tmp_path):
    assert len(list(read_mp4_json(DROID))) == 11
    summary = import_recordings("mp4-json", DROID, tmp_path, limit=2)
    assert (summary.episodes, summary.splits, summary.frames) == (2, {"train": 2}, 56 + 89)
    assert (summary.fps, summary.dropped, summary.repeated) == (5, (), 0)
    assert all(abs(each.max) < 0.3 and abs(each.min) < 0.3 for each in summary.statistics[:6])
    assert read_trajectory(tmp_path / "train/1.h5").metadata["instruction"] == "Put the blue block in the green bowl"


@needs_bridge
@pytest.mark.tensorflow
def test_real_bridge(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    summary = import_recordings("rlds", BRIDGE, tmp_path)
    assert (summary.episodes, summary.splits, summary.frames) == (50, {"train": 25, "val": 25}, 500)
    assert (summary.fps, summary.dropped, summary.cameras) == (5, (), ("image_0",))
    assert summary.repeated == 25  # this sample's val split is its train split in another order
    assert summary.action.names[-1] == "gripper"
    assert (summary.statistics[-1].min, summary.statistics[-1].max) == (0, 1)


@needs_bridge
@pytest.mark.tensorflow
def test_torn_records_and_black_camera(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(UnknownName, match='did you mean "image_0"'):
        read_rlds(BRIDGE, camera="image0")
    with pytest.raises(InvalidInput, match="one colour"):
        import_recordings("rlds", BRIDGE, tmp_path / "black", camera="image_3", limit=2)
    torn = tmp_path / "in/bridge_dataset/1.0.0"
    shutil.copytree(BRIDGE / "bridge_dataset/1.0.0", torn)
    record = torn / "bridge_dataset-train.tfrecord-00000-of-00001"
    record.chmod(0o644)
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])
    summary = import_recordings("rlds", tmp_path / "in", tmp_path / "out")
    assert summary.splits["val"] == 25
    assert 10 <= summary.splits["train"] <= 14
    assert [(each.split, "torn" in each.reason) for each in summary.dropped] == [("train", True)]
