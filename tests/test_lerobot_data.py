"""LeRobot data sets become episodes: every frame and action is the right one, and both versions say the same."""

import shutil
import tracemalloc
from pathlib import Path

import av
import lerobot_data
import numpy as np
import pytest
from lerobot_checks import CONTENT, TOP, WRIST, assert_right, copied, name, originals, outcome, rows_file, video_file
from lerobot_data import AV1, H264, LOSSLESS, NAMES, WRITERS, Content, edit_info, edit_rows, encode, read_stamp

import worldsim.data.lerobot.frames
from worldsim.data.lerobot import read_lerobot
from worldsim.data.lerobot.frames import MARGIN
from worldsim.data.lerobot.tables import read_table
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.experiments.cli import main

pytest.importorskip("pyarrow")
both = pytest.mark.parametrize("version", list(WRITERS))


@pytest.fixture
def root(version, tmp_path) -> Path:
    return copied(version, tmp_path)


@both
@pytest.mark.parametrize("codec", [LOSSLESS, H264, AV1], ids=["lossless", "h264", "av1"])
def test_every_frame_and_action_is_the_right_one(tmp_path, version, codec):
    if codec[0] not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec[0]}")
    content = Content(codec=codec)
    read, reasons = outcome(WRITERS[version](tmp_path, content))
    assert list(read) == [name(episode) for episode in range(5)]
    assert not reasons
    for episode, trajectory in enumerate(read.values()):
        assert_right(trajectory, episode, content)


@both
def test_pictures_in_the_rows(tmp_path, version):
    content = Content(cameras={"observation.images.top": "image", "observation.images.wrist": "video", "view": "image"})
    read, reasons = outcome(WRITERS[version](tmp_path, content))
    assert not reasons
    for episode, trajectory in enumerate(read.values()):
        assert_right(trajectory, episode, content)


def test_both_versions_say_the_same():
    old, new = (list(read_lerobot(path)) for path in originals().values())
    assert [(each.split, each.name) for each in old] == [(each.split, each.name) for each in new]
    for one, two in zip(old, new, strict=True):
        one, two = one.read(), two.read()
        np.testing.assert_array_equal(one.frames, two.frames)
        np.testing.assert_array_equal(one.views[WRIST], two.views[WRIST])
        np.testing.assert_array_equal(one.actions, two.actions)
        np.testing.assert_array_equal(one.states["state"], two.states["state"])
        known = [{key: each.metadata[key] for key in each.metadata if key not in ("recorded", "dataset")} for each in (one, two)]
        assert known[0] == known[1]


@both
def test_what_an_episode_says_of_itself(root, version):
    first, *_, last = read_lerobot(root)
    about = first.read().metadata
    assert (first.split, last.split) == ("train", "val")
    assert about["instruction"] == "pick the cube"
    assert list(read_lerobot(root))[1].read().metadata["instruction"] == "öffne die Lade"
    assert about["action"] == {"names": list(NAMES), "rate_hz": 10, "frame": "base", "rotation": "none", "gripper": "none"}
    assert about["action_unknown"]
    assert (about["fps"], about["camera"], about["cameras"]) == (10, TOP, [TOP, WRIST])
    assert about["recorded"] == {"robot_type": "so100", "codebase_version": version, "tasks": ["pick the cube"]}


@both
def test_splits_limits_and_cameras(root, version):
    assert [each.name for each in read_lerobot(root, split="val")] == [name(4)]
    assert [each.name for each in read_lerobot(root, limit=2)] == [name(0), name(1)]
    for camera in (WRIST, "wrist"):
        trajectory = next(read_lerobot(root, camera=camera)).read()
        assert trajectory.metadata["camera"] == WRIST
        assert_right(trajectory, 0)
    with pytest.raises(UnknownName, match='no camera "wrst"; did you mean "wrist"'):
        read_lerobot(root, camera="wrst")
    with pytest.raises(UnknownName, match='no split "vall"; did you mean "val"'):
        read_lerobot(root, split="vall")


@both
def test_folder_above_is_enough_where_there_is_one(root, version):
    assert len(list(read_lerobot(root.parent))) == 5
    shutil.copytree(root, root.parent / "second")
    with pytest.raises(InvalidInput, match=r"holds 2 LeRobot data sets.*meta/info\.json"):
        read_lerobot(root.parent)


@both
def test_nothing_is_read_before_it_is_asked_for(root, version):
    shutil.rmtree(root / "data")
    shutil.rmtree(root / "videos")
    recordings = list(read_lerobot(root))
    assert len(recordings) == 5
    with pytest.raises(DamagedFile, match="cannot be read"):
        recordings[3].read()


def test_v20_is_read_as_v21(tmp_path):
    root = copied("v2.1", tmp_path)
    edit_info(root, codebase_version="v2.0")
    assert_right(next(read_lerobot(root)).read(), 0)


def test_files_are_found_by_metadata_and_not_by_name(tmp_path):
    root = copied("v3.0", tmp_path)
    shutil.move(root / "data/chunk-000", root / "numbers")
    shutil.move(root / f"videos/{TOP}/chunk-000", root / "films")
    shutil.copytree(root / f"videos/{WRIST}/chunk-000", root / "films", dirs_exist_ok=True)
    edit_info(root, data_path="numbers/file-{file_index:03d}.parquet", video_path="films/file-{file_index:03d}.mp4")
    trajectory = list(read_lerobot(root))[2].read()
    assert [read_stamp(frame)[1:] for frame in trajectory.frames] == [(2, frame) for frame in range(9)]


GROUPS = {  # how pictures refer to others: never beyond a keyframe, or beyond it; or no keyframe at all, but parts of one in turn
    "closed": "open-gop=0:bframes=3:b-adapt=0",
    "open": "open-gop=1:bframes=3:b-adapt=0",
    "refresh": "intra-refresh=1:bframes=0",
}


@pytest.mark.parametrize("groups", list(GROUPS))
def test_only_its_stretch_of_a_long_video_is_decoded(tmp_path, monkeypatch, groups):
    codec = ("libx264", "yuv420p", {"crf": "5", "x264-params": f"keyint=8:min-keyint=8:scenecut=0:{GROUPS[groups]}"})
    together = (tuple(range(9)),)
    content = Content(lengths=tuple(range(40, 49)), data_files=together, video_files=together, cameras={"top": "video"}, codec=codec)
    recordings = list(read_lerobot(lerobot_data.write_v30(tmp_path, content)))
    seen, decoded = [], worldsim.data.lerobot.frames._decoded
    monkeypatch.setattr(worldsim.data.lerobot.frames, "_decoded", lambda *given: (seen.append(each[0]) or each for each in decoded(*given)))
    for episode, recording in enumerate(recordings):
        seen.clear()
        assert_right(recording.read(), episode, content)
        assert len(seen) <= content.lengths[episode] + MARGIN + 2 * 8 + 2  # groups of pictures before, and one frame after


def test_one_episode_is_in_memory_at_a_time(tmp_path):
    content = Content(
        lengths=(60,) * 8, data_files=(tuple(range(8)),), video_files=(tuple(range(8)),), cameras={"a": "video", "b": "image"}
    )
    recordings = list(read_lerobot(lerobot_data.write_v30(tmp_path, content)))
    one = 2 * 60 * lerobot_data.HEIGHT * lerobot_data.WIDTH * 3  # bytes of an episode's pictures
    recordings[0].read()
    tracemalloc.start()
    for recording in recordings:
        recording.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * one  # the episode before is let go when this one is there


def test_other_row_groups_are_left_alone():
    path = "data/chunk-000/file-000.parquet"
    root = originals()["v3.0"]
    table = read_table(root, path, ["episode_index", "action"], ("episode_index", 1))
    assert table.column_names == ["episode_index", "action"]
    assert table.column("episode_index").to_pylist() == [1] * 5
    with (root / path).open("rb") as file:
        whole = file.read()
    import pyarrow.parquet as pq

    begin = pq.ParquetFile(root / path).metadata.row_group(0).column(0).dictionary_page_offset
    end = pq.ParquetFile(root / path).metadata.row_group(1).column(0).dictionary_page_offset
    try:
        (root / path).write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])  # episode 0 is gone, the others do not mind
        read, reasons = outcome(root)
    finally:
        (root / path).write_bytes(whole)
    assert list(reasons) == [name(0)]
    assert_right(read[name(1)], 1)


def test_lists_that_end_where_the_last_frame_begins(tmp_path):
    """So some recorders write them, throughout; gaps between the videos of a file then have the length of a frame."""
    root = copied("v3.0", tmp_path)
    for path in sorted((root / "meta/episodes").rglob("*.parquet")):
        edit_rows(path, lambda rows: [row | {key: row[key] - 0.1 for key in row if key.endswith("to_timestamp")} for row in rows])
    read, reasons = outcome(root)
    assert not reasons
    for episode, trajectory in enumerate(read.values()):
        assert_right(trajectory, episode)


@both
def test_video_at_thrice_the_rate_of_the_rows(root, version):
    """The nearest picture is taken, not the first one that is near enough."""
    content = Content(fps=30)
    episodes = [0] if version == "v2.1" else [0, 1]
    frames = np.concatenate([CONTENT.frames(TOP, episode) for episode in episodes])
    tripled = np.stack([picture for frame in frames for picture in (frame, 255 - frame, 255 - frame)])
    encode(video_file(root, 0), tripled, content)
    assert_right(next(read_lerobot(root)).read(), 0)


@both
def test_command_prints_what_came_through(root, version, tmp_path, capsys):
    video_file(root, 2, WRIST).write_bytes(b"torn")
    rows_file(root, 0).unlink()
    assert main(["import", "lerobot", str(root), "--camera", "top", "--resize", "none", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    left = 4 if version == "v2.1" else 2
    for words in (
        f"{left} (train {left - 1}, val 1)",
        "shoulder.pos",
        "meaning unknown",
        f"dropped train/{name(0)}: data/",
        f"camera {WRIST} left out of",
    ):
        assert words in printed
    trajectory = read_trajectory(tmp_path / "out/val" / f"{name(4)}.h5")
    assert main(["import", "lerobot", str(root), "--limit", "1", "--out", str(tmp_path / "none")]) == 2
    assert "none of the 1 episodes" in capsys.readouterr().err
    assert [read_stamp(frame) for frame in trajectory.frames] == [(0, 4, frame) for frame in range(7)]
