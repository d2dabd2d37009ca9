"""Episodes as another of their cameras saw them: in memory, on disk, and in what is trained on them."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from recorded import add_episode

from worldsim.data.cameras import camera_of, seen_from
from worldsim.data.files import described_in
from worldsim.data.importing import import_recordings
from worldsim.data.tasks import recorded_task
from worldsim.data.trajectory_file import read_trajectory, write_trajectory
from worldsim.envs.parts import build_parts
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments import replay, setting
from worldsim.experiments.cli import main
from worldsim.experiments.schema import EvaluateConfig, ReplayConfig
from worldsim.experiments.video_clips import Clip, read_clip
from worldsim.types import Trajectory

SHARED = Path(__file__).parents[1] / "../shared/data"
REAL = {"rlds": SHARED / "bridge_rlds/bridge_dataset/1.0.0", "droid": SHARED / "droid"}
RNG = np.random.default_rng(0)


def pictures(height: int = 8, count: int = 4) -> np.ndarray:
    return RNG.integers(0, 255, (count, height, 8, 3), dtype=np.uint8)


def episode(**changed) -> Trajectory:
    fields = {"views": {"wrist/left": pictures(4), "side": pictures(8)}, "metadata": {"camera": "front", "episode": "7"}}
    return Trajectory("import", pictures(), np.zeros((3, 2), np.float32), **{**fields, **changed})


def test_there_and_back_again():
    before = episode()
    assert seen_from(before, None) is seen_from(before, "front") is before
    there = seen_from(before, "side")
    assert there.frames is before.views["side"]
    assert there.views["front"] is before.frames
    assert there.views.keys() == {"front", "wrist/left"}
    back = seen_from(there, "front")
    assert back.frames is before.frames
    assert back.metadata == before.metadata
    assert {name: id(view) for name, view in back.views.items()} == {name: id(view) for name, view in before.views.items()}


def test_a_camera_that_is_not_there_is_refused_with_the_reason():
    with pytest.raises(UnknownName, match='episode 7 has no camera "sid"; did you mean "side"'):
        seen_from(episode(), "sid")
    about = {"camera": "front", "episode": "7", "views_left_out": {"back": "it shows one colour throughout"}}
    with pytest.raises(UnknownName, match='no camera "back"; it was left out: it shows one colour'):
        seen_from(episode(metadata=about), "back")


def test_views_are_as_many_as_frames():
    for wrong in (pictures(count=3), pictures()[..., :1], pictures().astype(np.float32)):
        with pytest.raises(InvalidInput, match='view "side"'):
            episode(views={"side": wrong})


def test_views_are_written_and_files_without_them_are_read(tmp_path):
    before = episode()
    write_trajectory(tmp_path / "1.h5", before)
    after = read_trajectory(tmp_path / "1.h5")
    assert after.views.keys() == before.views.keys()
    for name, view in before.views.items():
        np.testing.assert_array_equal(after.views[name], view, strict=True)
    write_trajectory(tmp_path / "2.h5", episode(views={}))
    with h5py.File(tmp_path / "2.h5") as file:  # as every version before views wrote it
        assert set(file) == {"frames", "actions"}
    assert dict(read_trajectory(tmp_path / "2.h5").views) == {}


def test_starts_and_clips_are_seen_from_the_camera(tmp_path):
    add_episode(tmp_path / "in", "1", cameras=("0", "1"))
    import_recordings("droid", tmp_path / "in", tmp_path / "out", resize=16)
    trajectory = read_trajectory(tmp_path / "out/train/1.h5")
    for camera, frames in {None: trajectory.frames, "1": trajectory.views["1"]}.items():
        np.testing.assert_array_equal(recorded_task(tmp_path / "out", camera).starts[0].frames, frames[:1])
        np.testing.assert_array_equal(read_clip(tmp_path / "out", Clip("train/1", 1), 3, camera).frames, frames[1:4])


def test_a_checkpoint_says_its_camera_or_does_not():
    assert camera_of({"training": {"camera": "1"}}) == "1"
    assert camera_of({}) is camera_of(["no checkpoint"]) is camera_of({"training": {"camera": None}}) is None


def command(*words: str) -> None:
    assert main(list(words)) == 0


@pytest.mark.slow
def test_a_model_of_another_camera_is_evaluated_on_that_camera(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        add_episode(tmp_path / "in", str(number), cameras=("0", "1"), shade=10 * number)
    import_recordings("droid", tmp_path / "in", tmp_path / "data", resize=64)
    small = ["world_model=tiny", "data=data", "out=made", "steps=1", "batch=2", "clip=3"]
    command("train", "stage=autoencoder", "camera=1", *small)
    command("train", "stage=pretrain", *small)
    command("train", "stage=causalize", *small)
    assert [camera_of(described_in(f"made/{stage}")) for stage in ("pretrain", "causalize")] == ["1", "1"]
    view = read_trajectory("data/train/0.h5").views["1"]
    keys = {"world_model": "made/causalize", "verifier": "none", "steps": 1}
    shown = []
    monkeypatch.setattr(replay, "predict", lambda model, recorded, actions, **_: shown.extend(recorded) or iter(()))
    monkeypatch.setattr(replay, "psnr_by_step", lambda predictions: (_ for _ in ()).throw(InvalidInput("seen")))
    with pytest.raises(InvalidInput, match="seen"):
        replay.run(ReplayConfig(data="data", episodes=1, **keys))
    np.testing.assert_array_equal(shown[0].frames, view)
    prepared = setting.prepare(EvaluateConfig(task="data", policies=["replay"], episodes=1, **keys))
    np.testing.assert_array_equal(prepared.task.starts[0].frames, view[:1])
    np.testing.assert_array_equal(build_parts({"world_model": "made/causalize", "task": "data"}).task.starts[0].frames, view[:1])
    add_episode(tmp_path / "single", "0")
    import_recordings("droid", tmp_path / "single", tmp_path / "other", resize=64)
    with pytest.raises(UnknownName, match='no camera "1"'):
        setting.prepare(EvaluateConfig(task="other", policies=["replay"], episodes=1, **keys))


@pytest.mark.slow
@pytest.mark.parametrize("source", [pytest.param("rlds", marks=pytest.mark.tensorflow), "droid"])
def test_real_recordings_are_imported_and_trained_on(tmp_path, monkeypatch, source):
    if not REAL[source].is_dir():
        pytest.skip(f"the real sample {REAL[source]} is not here")
    if source == "rlds":
        pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    command("import", source, str(REAL[source]), "--limit", "8")
    folder = "data/bridge_dataset" if source == "rlds" else "data/droid"
    command("train", "stage=causalize", "world_model=tiny", "steps=2", f"data={folder}", "out=made")
    assert (tmp_path / "made/causalize/config.json").exists()
