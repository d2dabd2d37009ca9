"""RLDS data sets on disk: whatever tensorflow-datasets itself reads, frame by frame, and what becomes of damaged ones."""

import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from rlds_writer import FRACTAL, bridge_like, episode_features, picture, write_rlds

from worldsim.data.importing import import_recordings
from worldsim.data.rlds import read_rlds
from worldsim.data.splits import hash_split
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.errors import InvalidInput, MissingDependency, UnknownName

BRIDGE = Path(__file__).parents[1] / "../shared/data/bridge_rlds"
needs_bridge = pytest.mark.skipif(not BRIDGE.is_dir(), reason="the real BridgeData sample (../shared/data/bridge_rlds) is not here")


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "features.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependency, match=r"\[rlds\]"):
        read_rlds(tmp_path)


def test_folder_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"features\.json"):
        read_rlds(tmp_path)


@pytest.mark.tensorflow
@pytest.mark.slow
def test_data_sets_of_the_published_shapes(tmp_path):
    features = pytest.importorskip("tensorflow_datasets").features
    rng = np.random.default_rng(0)

    def tensor(size, dtype=np.float32):
        return features.Tensor(shape=(size,), dtype=dtype)

    def episode(action, images, observation=None, **more) -> dict:
        seen = [{name: picture(rng, *size) for name, size in images.items()} | (observation or {}) for _ in range(3)]
        steps = [{"action": action, "observation": each, "language_instruction": "lift", **more} for each in seen]
        return {"episode_metadata": {"file_path": "here"}, "steps": steps}

    embedding = rng.normal(size=512).astype(np.float32)
    fractal = {name: tensor(value.size, np.int32 if name == "terminate_episode" else np.float32) for name, value in FRACTAL.items()}
    described = episode_features(fractal, {"image": (32, 40)}, observation={"natural_language_embedding": tensor(512)})
    values = {name: value.astype(np.int32 if name == "terminate_episode" else np.float32) for name, value in FRACTAL.items()}
    told = episode(values, {"image": (32, 40)}, {"natural_language_embedding": embedding})
    write_rlds(tmp_path / "fractal", "fractal20220817_data", described, {"train": [[told]]})
    oxe = {"world_vector": tensor(3), "rotation_delta": tensor(3), "open_gripper": np.bool_, "terminate_episode": np.float32}
    values = {"world_vector": np.ones(3, np.float32), "rotation_delta": np.ones(3, np.float32) * 2, "open_gripper": True}
    told = episode(values | {"terminate_episode": np.float32(0)}, {"image": (16, 16)})
    write_rlds(tmp_path / "oxe", "bridge", episode_features(oxe, {"image": (16, 16)}), {"train": [[told]], "test": [[told]]})
    cameras = {name: (18, 32) for name in ("wrist_image_left", "exterior_image_1_left", "exterior_image_2_left")}
    parts = {name: tensor(size, np.float64) for name, size in (("cartesian_velocity", 6), ("gripper_position", 1), ("joint_position", 7))}
    commanded = {"cartesian_velocity": np.full(6, 0.5), "gripper_position": np.ones(1), "joint_position": np.zeros(7)}
    described = episode_features(tensor(7, np.float64), cameras, action_dict=parts)
    told = episode(np.zeros(7), cameras, action_dict=commanded)
    write_rlds(tmp_path / "droid", "droid", described, {"train": [[told]]})

    trajectories = {name: next(read_rlds(tmp_path / name)).read() for name in ("fractal", "oxe", "droid")}
    actions = {name: trajectory.metadata["action"] for name, trajectory in trajectories.items()}
    np.testing.assert_array_equal(np.float32(trajectories["fractal"].metadata["language_embedding"]), embedding)
    assert actions["fractal"]["names"][-3:] == ["base_x", "base_y", "base_yaw"]
    assert trajectories["oxe"].actions[0].tolist() == [1, 1, 1, 2, 2, 2, 1]
    assert (actions["oxe"]["gripper"], actions["oxe"]["rotation"]) == ("absolute", "rpy")
    assert {recording.split for recording in read_rlds(tmp_path / "oxe")} == {"train", "test"}
    assert trajectories["droid"].actions[0].tolist() == [0.5] * 6 + [1]
    assert (actions["droid"]["gripper"], actions["droid"]["rate_hz"]) == ("absolute_closed", 15)
    assert trajectories["droid"].metadata["cameras"] == ["exterior_image_1_left", "exterior_image_2_left", "wrist_image_left"]
    assert len(trajectories["droid"].views) == 2
    assert len(next(read_rlds(tmp_path / "fractal", actions="vid2world")).read().metadata["action"]["names"]) == 13


@pytest.mark.tensorflow
@pytest.mark.slow
def test_unknown_data_set_says_so_and_a_broken_picture_is_a_missing_view(tmp_path):
    features = pytest.importorskip("tensorflow_datasets").features
    rng = np.random.default_rng(0)

    def episode(broken: str) -> dict:
        seen = [{name: picture(rng, 8, 8) for name in "ab"} for _ in range(3)]
        seen[1] |= {broken: io.BytesIO(b"no JPEG")} if broken else {}
        steps = [{"action": rng.normal(size=2), "observation": each, "language_instruction": ""} for each in seen]
        return {"episode_metadata": {"file_path": "here"}, "steps": steps}

    described = episode_features(features.Tensor(shape=(2,), dtype=np.float64), {"a": (8, 8), "b": (8, 8)})
    write_rlds(tmp_path / "in", "my_robot", described, {"train": [[episode(""), episode("a"), episode("b")]]})
    summary = import_recordings("rlds", tmp_path / "in", tmp_path / "out", resize="none")
    assert summary.action_unknown
    assert summary.fps_assumed
    assert (summary.episodes, summary.size, summary.cameras) == (2, (8, 8), ("a", "b"))
    assert [(each.episode[-1], "cannot be decoded" in each.reason) for each in summary.dropped] == [("1", True)]
    assert [(each.camera, each.episodes, each.first[-1]) for each in summary.views_left_out] == [("b", 1, "2")]


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_torn_file_does_not_take_the_others_with_it_and_what_is_lost_is_counted(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    root = tmp_path / "in"
    bridge_like(root, {"train": [3, 4, 2]})
    names = [file.name for file in sorted(root.glob("*.tfrecord*"))]
    second = root / names[1]
    data = bytearray(second.read_bytes())
    data[len(data) // 4 + 500] ^= 1  # in the second of four records
    second.write_bytes(data)
    (root / names[2]).unlink()
    summary = import_recordings("rlds", root, tmp_path / "out", resize="none")
    assert (summary.episodes, summary.lost) == (4, 5)
    assert [(each.episode, each.episodes) for each in summary.dropped] == [(f"{names[1]}-000001", 3), (names[2], 2)]
    assert "is damaged after 1 of 4 episodes" in summary.dropped[0].reason


@pytest.mark.tensorflow
def test_a_feature_without_numbers_is_refused_before_tensorflow_divides_by_it(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    bridge_like(tmp_path / "in", {"train": [1]}, steps=2)
    features = tmp_path / "in/features.json"
    features.write_text(features.read_text().replace('"7"', '"0"'))
    with pytest.raises(OSError, match="no RLDS data set"):
        read_rlds(tmp_path / "in")


@pytest.mark.tensorflow
def test_episodes_in_files_of_another_kind_are_refused(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    bridge_like(tmp_path / "in", {"train": [1]}, steps=2)
    about = tmp_path / "in/dataset_info.json"
    about.write_text(about.read_text().replace('"tfrecord"', '"array_record"'))
    with pytest.raises(InvalidInput, match="array_record files, expected tfrecord"):
        read_rlds(tmp_path / "in")


@needs_bridge
@pytest.mark.tensorflow
@pytest.mark.slow
def test_real_bridge_is_what_tensorflow_datasets_gives_step_by_step(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    summary = import_recordings("rlds", BRIDGE / "bridge_dataset/1.0.0", tmp_path, resize="none")
    assert (summary.episodes, summary.splits, summary.frames) == (50, {"train": 25, "val": 25}, 500)
    builder, seen = tfds.builder_from_directory(BRIDGE / "bridge_dataset/1.0.0"), 0
    config = tfds.ReadConfig(add_tfds_id=True, try_autocache=False)
    for split in ("train", "val"):
        for episode in tfds.as_numpy(builder.as_dataset(split=split, read_config=config, shuffle_files=False)):
            file, _, number = episode["tfds_id"].decode().rpartition("__")
            ours, steps = read_trajectory(tmp_path / split / f"{file}-{int(number):06d}.h5"), list(episode["steps"])
            assert len(ours.frames) == len(steps)
            assert ours.views.keys() == {"image_1", "image_2"}
            pictures = {"image_0": ours.frames, **ours.views}
            for t, step in enumerate(steps):
                for camera, frames in pictures.items():
                    np.testing.assert_array_equal(frames[t], step["observation"][camera], strict=True)
                if t + 1 < len(steps):
                    np.testing.assert_array_equal(ours.actions[t], step["action"], strict=True)
            assert ours.metadata["instruction"] == steps[0]["language_instruction"].decode()
            np.testing.assert_array_equal(np.float32(ours.metadata["language_embedding"]), steps[0]["language_embedding"])
            seen += 1
    assert seen == len(trajectory_paths(tmp_path)) == 50


@needs_bridge
@pytest.mark.tensorflow
@pytest.mark.slow
def test_real_bridge_summary(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    summary = import_recordings("rlds", BRIDGE, tmp_path / "out")
    assert (summary.fps, summary.dropped, summary.size) == (5, (), (64, 64))
    assert (summary.frames_from, summary.cameras) == (("image_0",), ("image_0", "image_1", "image_2", "image_3"))
    assert [(each.camera, each.episodes) for each in summary.views_left_out] == [("image_3", 50)]
    assert summary.repeated == 25  # this sample's val split is its train split in another order
    assert (summary.action.names[-1], summary.action.gripper, summary.action_unknown) == ("gripper", "absolute", False)
    assert (summary.statistics[-1].min, summary.statistics[-1].max) == (0, 1)
    with pytest.raises(UnknownName, match='did you mean "image_0"'):
        read_rlds(BRIDGE, camera="image0")
    with pytest.raises(InvalidInput, match="one colour"):
        import_recordings("rlds", BRIDGE, tmp_path / "black", camera="image_3", limit=2)
    shutil.copytree(BRIDGE / "bridge_dataset/1.0.0", tmp_path / "torn")
    record = tmp_path / "torn/bridge_dataset-train.tfrecord-00000-of-00001"
    record.chmod(0o644)
    record.write_bytes(record.read_bytes()[: record.stat().st_size // 2])
    summary = import_recordings("rlds", tmp_path / "torn", tmp_path / "rest", views="none")
    assert (summary.splits["val"], summary.splits["train"] + summary.lost) == (25, 25)
    assert 10 <= summary.splits["train"] <= 14
    assert [(each.split, f"of {25} episodes" in each.reason) for each in summary.dropped] == [("train", True)]


@pytest.mark.tensorflow
def test_a_data_set_of_one_split_is_split_by_a_hash(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    bridge_like(tmp_path / "in", {"train": [6, 6]})
    names = [f"bridge_dataset-train.tfrecord-0000{file}-of-00002-{record:06d}" for file in range(2) for record in range(6)]
    found = [(each.split, each.name) for each in read_rlds(tmp_path / "in")]
    assert found == [(hash_split(name), name) for name in names]
    assert {split for split, _ in found} == {"train", "validation"}
