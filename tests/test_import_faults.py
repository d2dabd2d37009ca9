"""What must not end an import, lead out of its folder, or make the same command give another result."""

import errno
import json
import os
import tracemalloc

import lerobot_data
import numpy as np
import pytest
from made_recordings import some_pictures
from recorded import add_episode

from worldsim.data import importing
from worldsim.data.import_summary import summarise
from worldsim.data.importing import LONGEST_NAME, import_recordings
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.data.video import gather_frames, write_video
from worldsim.data.whole_video import whole_video
from worldsim.errors import DamagedFile
from worldsim.experiments import cli


def files_in(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["..", ".", ".hidden"])
def test_a_split_that_leads_elsewhere_is_dropped_by_name(tmp_path, name):
    lerobot_data.write_v21(tmp_path / "in")
    lerobot_data.edit_info(tmp_path / "in", splits={name: "0:2", "train": "2:5"})
    summary = import_recordings("lerobot", tmp_path / "in", tmp_path / "up/out")
    assert summary.splits == {"train": 3}
    assert [(each.split, "begin with a dot" in each.reason) for each in summary.dropped] == [(name, True)] * 2
    assert {file.split("/")[0] for file in files_in(tmp_path / "up")} == {"out"}
    assert {path.parent.name for path in trajectory_paths(tmp_path / "up/out")} == {"train"}


@pytest.mark.parametrize("name", [".", "..", ".a"])
def test_an_episode_of_such_a_name_is_dropped(tmp_path, name):
    add_episode(tmp_path / "in", "1")
    add_episode(tmp_path / "in", "2")
    annotation = tmp_path / "in/annotation/train"
    (annotation / "2.json").rename(annotation / f"{name}.json")
    summary = import_recordings("mp4-json", tmp_path / "in", tmp_path / "out")
    assert (summary.episodes, summary.lost) == (1, 1)
    assert "begin with a dot" in summary.dropped[0].reason


def test_names_that_no_file_can_have_are_dropped_and_told(tmp_path, capsys):
    """A name of 80 letters of 3 bytes takes 720 when it is quoted; another is no UTF-8."""
    add_episode(tmp_path / "in", "1")
    annotation = (tmp_path / "in/annotation/train/1.json").read_bytes()
    for name in (b"\xe4\xb8\xad" * 80, b"caf\xe9"):
        with open(os.fsencode(tmp_path / "in/annotation/train/") + b"/" + name + b".json", "wb") as file:
            file.write(annotation)
    assert cli.main(["import", "mp4-json", str(tmp_path / "in"), f"out={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "dropped train/caf\\udce9" in printed
    dropped = {each["episode"]: each["reason"] for each in json.loads((tmp_path / "out/summary.json").read_text())["dropped"]}
    assert "no UTF-8" in dropped["caf\\udce9"]
    assert "720 bytes" in dropped["中" * 80]


def test_the_longest_name_is_written(tmp_path):
    for name in ("a" * LONGEST_NAME, "b" * (LONGEST_NAME + 1)):
        add_episode(tmp_path / "in", name)
    summary = import_recordings("mp4-json", tmp_path / "in", tmp_path / "out")
    assert (summary.episodes, [each.episode[0] for each in summary.dropped]) == (1, ["b"])


def test_an_out_that_cannot_be_written_to_is_one_line(tmp_path, monkeypatch, capsys):
    add_episode(tmp_path / "in", "1")
    (tmp_path / "file").write_text("mine")
    words = ["import", "mp4-json", str(tmp_path / "in")]
    for out, told in (("file", "is a file, expected a folder"), ("file/below", "cannot be written to (Not a directory)")):
        assert cli.main([*words, f"out={tmp_path / out}"]) == 2
        assert told in capsys.readouterr().err
    for number, code, told in ((errno.EACCES, 2, "cannot be written to (Permission denied)"), (errno.ENOSPC, 1, "the disk is full")):

        def refuse(path, _, number=number):
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(importing, "write_trajectory", refuse)
        assert cli.main([*words, f"out={tmp_path / 'out'}"]) == code
        assert told in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_of_an_episode_only_what_the_summary_needs_is_remembered(tmp_path, monkeypatch):
    """An instruction's embedding of 512 numbers times 100,000 episodes is no summary."""
    seen = []
    monkeypatch.setattr(importing, "summarise", lambda done, *rest: (seen.extend(done), summarise(done, *rest))[1])
    add_episode(tmp_path / "in", "1")
    import_recordings("mp4-json", tmp_path / "in", tmp_path / "out")
    assert "instruction" in read_trajectory(tmp_path / "out/train/1.h5").metadata
    assert seen[0].metadata.keys() == {"split", "episode", "camera", "cameras", "views_left_out", "action"}


@pytest.mark.parametrize("expected", [0, 1, 7, 10, 10**12])
def test_frames_are_gathered_in_one_array_however_many_are_expected(expected):
    pictures = some_pictures(10, side=4)
    np.testing.assert_array_equal(gather_frames(iter(pictures), expected), pictures, strict=True)
    with pytest.raises(DamagedFile, match="frame size"):
        gather_frames([pictures[0], pictures[1][:2]], expected)
    with pytest.raises(DamagedFile, match="no frames"):
        gather_frames([], expected)


def test_a_video_is_held_once(tmp_path):
    write_video(tmp_path / "a.mp4", np.broadcast_to(some_pictures(1, side=256), (60, 256, *some_pictures(1, side=256).shape[2:])), 10)
    tracemalloc.start()
    try:
        size = whole_video(tmp_path / "a.mp4").frames.nbytes
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 10 * 2**20
    assert peak < 1.2 * size


def test_a_torn_note_is_told_as_such(tmp_path):
    add_episode(tmp_path / "in", "1")
    import_recordings("mp4-json", tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/import.json").write_text("{")
    with pytest.raises(DamagedFile, match="is not JSON; delete the folder"):
        import_recordings("mp4-json", tmp_path / "in", tmp_path / "out")
