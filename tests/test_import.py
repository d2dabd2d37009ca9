"""Recordings become episode files: bad episodes are counted and named, the same command resumes, the table says what came through."""

import json
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded import STATES, add_episode

from worldsim.data.importing import default_folder, import_recordings
from worldsim.data.recording import RECORDING_FORMATS
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.data.video import parse_size, write_video
from worldsim.errors import InvalidInput, RunMismatch, UnknownName
from worldsim.experiments.import_ import run
from worldsim.types import ActionSpec

DROID = Path(__file__).parents[1] / "../shared/data/droid"
needs_droid = pytest.mark.skipif(not DROID.is_dir(), reason="the real DROID sample (../shared/data/droid) is not here")


def test_good_and_bad_episodes(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    add_episode(source, "1")
    add_episode(source, "2", shade=9)
    add_episode(source, "3", shade=9, split="val")
    add_episode(source, "4", states=STATES[:3])
    add_episode(source, "5", cameras=("7",))
    add_episode(source, "6")
    (source / "annotation/train/6.json").write_text("{")
    add_episode(source, "7", shade=200)
    add_episode(source, "8")
    (source / "videos/train/8/0.mp4").write_bytes(b"torn")
    summary = import_recordings("mp4-json", source, out, resize=16)
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
    assert summary.lost == 5
    assert [path.relative_to(out).as_posix() for path in trajectory_paths(out)] == ["train/1.h5", "train/2.h5", "val/3.h5"]
    trajectory = read_trajectory(out / "train/1.h5")
    assert trajectory.frames.shape == (4, 16, 16, 3)
    assert trajectory.metadata["instruction"] == "do 1"
    summary.action.check(trajectory.actions)
    written = json.loads((out / "summary.json").read_text())
    assert ActionSpec(**written["action"]) == summary.action


def test_other_cameras_are_kept_beside_the_frames_or_not(tmp_path):
    add_episode(tmp_path / "in", "1", cameras=("0", "1", "2"))
    add_episode(tmp_path / "in", "2", cameras=("0", "1"), shade=5)
    flat = np.full((4, 32, 48, 3), 77, np.uint8)
    write_video(tmp_path / "in/videos/train/2/2.mp4", flat, fps=5)
    summary = import_recordings("mp4-json", tmp_path / "in", tmp_path / "all", resize="8x12")
    assert (summary.size, summary.frames_from, summary.cameras) == ((8, 12), ("0",), ("0", "1", "2"))
    assert [(each.camera, each.reason, each.episodes, each.first) for each in summary.views_left_out] == [
        ("2", "it shows one colour throughout", 1, "train/2")
    ]
    first, second = (read_trajectory(path) for path in trajectory_paths(tmp_path / "all"))
    assert {name: view.shape for name, view in first.views.items()} == {"1": (4, 8, 12, 3), "2": (4, 8, 12, 3)}
    assert second.views.keys() == {"1"}
    assert import_recordings("mp4-json", tmp_path / "in", tmp_path / "all", resize="8x12") == replace(summary, kept=2)
    summary = import_recordings("mp4-json", tmp_path / "in", tmp_path / "none", resize="none", views="none", camera="1")
    assert (summary.size, summary.frames_from, summary.cameras) == ((32, 48), ("1",), ("1", "0", "2"))
    assert summary.views_left_out == ()
    assert not read_trajectory(tmp_path / "none/train/1.h5").views
    with pytest.raises(InvalidInput, match="expected one of all, none"):
        import_recordings("mp4-json", tmp_path / "in", tmp_path / "some", views="some")


def test_episodes_of_another_recorded_size_are_dropped(tmp_path):
    add_episode(tmp_path / "in", "1")
    add_episode(tmp_path / "in", "2")
    frames = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None], (4, 30, 40, 3))
    write_video(tmp_path / "in/videos/train/2/0.mp4", frames, fps=5)
    summary = import_recordings("mp4-json", tmp_path / "in", tmp_path / "out", resize="none")
    assert [each.reason for each in summary.dropped] == ["frames are 30 x 40, in the first episode 32 x 48; type resize=64 or another size"]


def test_same_command_resumes_and_another_is_refused(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    add_episode(source, "1")
    add_episode(source, "2")
    first = import_recordings("mp4-json", source, out, resize=16, limit=1)
    stamp = (out / "train/1.h5").stat().st_mtime_ns
    second = import_recordings("mp4-json", source, out, resize=16)
    assert (first.kept, first.episodes, second.kept, second.episodes) == (0, 1, 1, 2)
    assert (out / "train/1.h5").stat().st_mtime_ns == stamp
    (out / "train/1.h5").write_bytes(b"torn")
    third = import_recordings("mp4-json", source, out, resize=16)
    assert third == replace(second, kept=1)
    assert len(read_trajectory(out / "train/1.h5")) == 3
    for other in ({"resize": 32}, {"resize": 16, "views": "none"}, {"resize": 16, "camera": "1"}):
        with pytest.raises(RunMismatch, match="another import"):
            import_recordings("mp4-json", source, out, **other)
    (out / "import.json").unlink()
    with pytest.raises(RunMismatch, match="no import wrote"):
        import_recordings("mp4-json", source, out, resize=16)


def test_nothing_readable_is_an_error_that_does_not_claim_the_folder(tmp_path):
    add_episode(tmp_path / "in", "1")
    with pytest.raises(InvalidInput, match='no camera "9"'):
        import_recordings("mp4-json", tmp_path / "in", tmp_path / "out", camera="9")
    assert import_recordings("mp4-json", tmp_path / "in", tmp_path / "out").episodes == 1


def test_unknown_format_option_and_limit(tmp_path):
    assert {"mp4-json", "droid", "rlds"} <= set(RECORDING_FORMATS.names())
    with pytest.raises(UnknownName, match='did you mean "mp4-json"'):
        import_recordings("mp4-jsn", tmp_path, tmp_path / "out")
    with pytest.raises(UnknownName, match='"droid" has no option "actions"'):
        import_recordings({"name": "droid", "actions": "vid2world"}, tmp_path, tmp_path / "out")
    with pytest.raises(InvalidInput, match="at least 1"):
        import_recordings("mp4-json", tmp_path, tmp_path / "out", limit=0)


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), (16, (16, 16)), ("240x320", (240, 320)), ("none", None)])
def test_sizes_as_they_are_typed(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["0", 0, "-3", "4x", "x4", "0x9", "3.5", "1x2x3", "", "all", "123456"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidInput, match="resize=64, resize=240x320"):
        parse_size(text)


def test_default_folder_is_named_after_the_recordings(tmp_path):
    for below, name in {"bridge_dataset/1.0.0": "bridge_dataset", "droid": "droid", "a/v2.1": "a", "x/pushes.hdf5": "pushes"}.items():
        place = tmp_path / below
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("") if place.suffix == ".hdf5" else place.mkdir()
        assert default_folder(place) == f"data/{name}"


def test_command_prints_what_came_through(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add_episode(tmp_path / "in", "1", cameras=("0", "1", "2"))
    (tmp_path / "in/videos/train/1/2.mp4").write_bytes(b"torn")
    add_episode(tmp_path / "in", "2", cameras=("7",))
    options = {"limit": None, "camera": None, "resize": "16", "views": "all", "actions": None, "options": None}
    run(types.SimpleNamespace(source="droid", path=str(tmp_path / "in"), out=None, **options))
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("1 (train 1)", "gripper_closed", 'dropped train/2: no camera "0"', "summary.json: data/in", "0 (frames), 1, 2"):
        assert words in printed
    assert "camera 2 left out of 1 episodes, train/1 first: " in printed
    assert "gripper absolute_closed" in printed
    assert (tmp_path / "data/in/train/1.h5").exists()


@needs_droid
@pytest.mark.slow
def test_real_droid(tmp_path):
    summary = import_recordings("droid", DROID, tmp_path)
    assert (summary.episodes, summary.splits, summary.frames) == (11, {"train": 7, "val": 4}, 854)
    assert (summary.fps, summary.dropped, summary.repeated) == (5, (), 0)
    assert (summary.cameras, summary.views_left_out) == (("0", "1", "2"), ())
    assert (summary.action.rotation, summary.action.gripper) == ("rpy", "absolute_closed")
    assert all(abs(each.max) < 0.3 and abs(each.min) < 0.3 for each in summary.statistics[:6])
    trajectory = read_trajectory(tmp_path / "train/1.h5")
    assert trajectory.metadata["instruction"] == "Put the blue block in the green bowl"
    assert {name: view.shape for name, view in trajectory.views.items()} == dict.fromkeys("12", (89, 64, 64, 3))


def test_whole_pictures_inside_black_borders(tmp_path):
    add_episode(tmp_path / "in", "1", cameras=("0", "1"))
    import_recordings("mp4-json", tmp_path / "in", tmp_path / "whole", resize="none")
    import_recordings("mp4-json", tmp_path / "in", tmp_path / "padded", resize="32x64:pad")
    whole, padded = (read_trajectory(tmp_path / name / "train/1.h5") for name in ("whole", "padded"))
    assert (whole.frames.shape[1:3], padded.frames.shape[1:3]) == ((32, 48), (32, 64))
    np.testing.assert_array_equal(padded.frames[:, :, 8:56], whole.frames)
    np.testing.assert_array_equal(padded.views["1"][:, :, 8:56], whole.views["1"])
    assert not padded.frames[:, :, :8].any()
    assert not padded.frames[:, :, 56:].any()
    with pytest.raises(InvalidInput, match="240x320:pad or none"):
        import_recordings("mp4-json", tmp_path / "in", tmp_path / "other", resize="32x64:fill")
