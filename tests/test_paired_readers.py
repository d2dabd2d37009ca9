"""Videos beside arrays or CSV: rows meet the right frames, what the user says of the actions is kept, and what is wrong is named."""

import io
import json
from dataclasses import fields, replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_recordings import some_pictures

from worldsim.data.action_table import parse_header, parse_rows
from worldsim.data.csgo import Csgo
from worldsim.data.importing import import_recordings
from worldsim.data.mp4_npz import Mp4Npz, read_mp4_npz
from worldsim.data.paired import Meaning
from worldsim.data.recording import RECORDING_FORMATS
from worldsim.data.splits import hash_split
from worldsim.data.video import write_video
from worldsim.data.video_csv import VideoCsv, read_video_csv
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.experiments import cli

NAMES = ("x", "y", "grip")


def numbers(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def add_video(path: Path, frames: int = 5, seed: int = 0, fps: float = 10) -> None:
    write_video(path, some_pictures(frames, seed, side=16), fps)


def add_npz(root: Path, name: str, actions: np.ndarray, frames: int = 5, **arrays) -> None:
    add_video(root / f"{name}.mp4", frames)
    np.savez(root / f"{name}.npz", **({"actions": actions} | arrays))


def as_csv(actions: np.ndarray, names=NAMES, **columns) -> str:
    """A table; each further column is a list of cells."""
    lines = [",".join([*columns, *names])]
    lines += [",".join([*(str(cells[i]) for cells in columns.values()), *map(repr, map(float, row))]) for i, row in enumerate(actions)]
    return "\n".join(lines) + "\n"


def add_csv(root: Path, name: str, text: str, frames: int = 5) -> None:
    add_video(root / f"{name}.mp4", frames)
    (root / f"{name}.csv").write_text(text, encoding="utf-8")


def read_all(recordings) -> tuple[dict, dict]:
    """(trajectories, reasons) by name."""
    good, bad = {}, {}
    for recording in recordings:
        try:
            good[recording.name] = recording.read()
        except (InvalidInput, DamagedFile, UnknownName) as error:
            bad[recording.name] = str(error)
    return good, bad


# mp4 + npz


@pytest.mark.parametrize("rows", [5, 4])
def test_a_row_for_every_frame_or_every_step(tmp_path, rows):
    actions = numbers(rows)
    add_npz(tmp_path, "a", actions)
    good, bad = read_all(read_mp4_npz(tmp_path))
    assert bad == {}
    np.testing.assert_array_equal(good["a"].actions, actions[:4], strict=True)
    assert good["a"].metadata["action"]["names"] == ["action_0", "action_1", "action_2"]
    assert good["a"].metadata["action"]["rate_hz"] == good["a"].metadata["fps"] == 10


def test_one_folder_is_of_one_kind(tmp_path):
    """A table that fits the other kind has lost a row: the first episode imported, or rows, says which kind it is."""
    add_npz(tmp_path / "in", "train/1", numbers(5))
    add_npz(tmp_path / "in", "train/2", numbers(4))
    dropped = import_recordings("mp4-npz", tmp_path / "in", tmp_path / "out").dropped
    assert [(each.episode, each.reason) for each in dropped] == [
        ("2", "there is one row of actions for all steps, in the first episode frames")
    ]
    bad = read_all(read_mp4_npz(tmp_path / "in", rows="steps"))[1]
    assert list(bad) == ["1"]
    assert "options='{rows: steps}'" in bad["1"]
    with pytest.raises(InvalidInput, match="frames .* or steps"):
        read_mp4_npz(tmp_path, rows="both")


def test_importing_again_drops_what_was_dropped(tmp_path):
    """Kept episodes are not read again; what the first of them was holds all the same, whatever comes before or after."""
    for name in ("train/1", "train/2", "train/4", "train/5"):
        add_npz(tmp_path / "in", name, numbers(8, int(name[-1])), frames=8)
    add_npz(tmp_path / "in", "train/3", numbers(7), frames=8)
    first = import_recordings("mp4-npz", tmp_path / "in", tmp_path / "out")
    assert (first.episodes, [each.episode for each in first.dropped]) == (4, ["3"])
    assert import_recordings("mp4-npz", tmp_path / "in", tmp_path / "out") == replace(first, kept=4)
    (tmp_path / "out/train/5.h5").unlink()
    assert import_recordings("mp4-npz", tmp_path / "in", tmp_path / "out") == replace(first, kept=3)


def test_the_user_says_what_an_action_means(tmp_path):
    add_npz(tmp_path, "a", numbers(4))
    options = {"names": list(NAMES), "rate": 5.0, "frame": "tool", "rotation": "rpy", "gripper": "absolute", "path": str(tmp_path)}
    good, _ = read_all(RECORDING_FORMATS.config("mp4-npz", options).build())
    told = {"names": list(NAMES), "rate_hz": 5.0, "frame": "tool", "rotation": "rpy", "gripper": "absolute"}
    assert good["a"].metadata["action"] == told
    assert good["a"].metadata["fps"] == 5
    for wrong, words in (
        ({"gripper": "open"}, "gripper"),
        ({"rate": 0.0}, "above 0"),
        ({"rotation": "euler"}, "rotation"),
        ({"rows": "x"}, "rows"),
        ({"rate": "5"}, "rate is '5', expected a number"),
        ({"names": "xyz"}, "list"),
        ({"names": [1, 2, 3]}, "list"),
        ({"key": 3}, "key is 3, expected text"),
    ):
        with pytest.raises(InvalidInput, match=words):
            RECORDING_FORMATS.config("mp4-npz", options | wrong).build()
    assert "options='{names: [...]}' gives 2" in read_all(read_mp4_npz(tmp_path, meaning=Meaning(names=("x", "y"))))[1]["a"]
    with pytest.raises(UnknownName, match="one video"):
        RECORDING_FORMATS.config("mp4-npz", options | {"camera": "front"}).build()


def test_the_sample_of_world_model_eval(tmp_path):
    """The layout of its Bridge sample: one array arr_0 [T, 10] for T frames."""
    actions = np.concatenate([numbers(5), numbers(5, 1), np.zeros((5, 4), np.float32)], axis=1)
    add_video(tmp_path / "episode.mp4", 5)
    np.savez(tmp_path / "episode.npz", actions)
    good, bad = read_all(read_mp4_npz(tmp_path, meaning=Meaning(rate=5.0)))
    assert bad == {}
    assert good["episode"].actions.shape == (4, 10)


def test_what_is_wrong_with_a_pair_is_named(tmp_path):
    objects = np.empty((5, 3), dtype=object)
    add_npz(tmp_path, "objects", objects)
    add_npz(tmp_path, "text", np.array([["a"] * 3] * 5))
    add_npz(tmp_path, "flat", np.zeros(5))
    add_npz(tmp_path, "empty", np.zeros((5, 0)))
    add_npz(tmp_path, "nan", np.array([[0, 0, 0]] * 3 + [[0, np.nan, 0]] * 2))
    add_npz(tmp_path, "huge", np.full((5, 3), 1e300))
    add_npz(tmp_path, "short", numbers(3))
    add_npz(tmp_path, "long", numbers(6))
    add_npz(tmp_path, "two", numbers(5), state=numbers(5))
    add_npz(tmp_path, "one frame", numbers(1), frames=1)
    add_video(tmp_path / "alone.mp4")
    np.savez(tmp_path / "blind.npz", numbers(5))
    add_npz(tmp_path, "no text", numbers(5))
    (tmp_path / "no text.txt").write_bytes(b"\xff\xfe\xff")
    good, bad = read_all(read_mp4_npz(tmp_path))
    assert good == {}
    expected = {
        "objects": "Object arrays",
        "text": "expected numbers",
        "flat": "shape [5]",
        "empty": "shape [5, 0]",
        "nan": "row 3",
        "huge": "row 0",
        "short": "3 rows of actions for 5 frames",
        "long": "6 rows",
        "two": "2 arrays (actions, state), expected 1; type options='{key: NAME}'",
        "one frame": "at least 2",
        "alone": "0 files that could be its table",
        "blind": "0 files that could be its video",
        "no text": "no text",
    }
    assert bad.keys() == expected.keys()
    for name, words in expected.items():
        assert words in bad[name], name
    assert list(read_all(read_mp4_npz(tmp_path, key="state"))[0]) == ["two"]
    assert 'did you mean "state"' in read_all(read_mp4_npz(tmp_path, key="states"))[1]["two"]


def test_splits_are_folders_or_a_hash(tmp_path):
    for name in ("train/b", "val/a", "test/deep/10", "test/deep/9", "c", "d/train"):
        add_npz(tmp_path, name, numbers(5))
    found = [(each.split, each.name) for each in read_mp4_npz(tmp_path)]
    hashed = [(hash_split("c"), "c"), (hash_split("d/train"), "d/train")]
    assert sorted(found) == sorted([("test", "deep/9"), ("test", "deep/10"), ("train", "b"), ("val", "a"), *hashed])
    assert found.index(("test", "deep/9")) < found.index(("test", "deep/10"))
    assert len(list(read_mp4_npz(tmp_path, limit=3))) == 3


def test_two_of_one_name_are_refused(tmp_path):
    add_npz(tmp_path, "train/a", numbers(5))
    twin = next(name for name in "abcdefgh" if hash_split(name) == "train")
    add_npz(tmp_path, f"train/{twin}", numbers(5))
    add_npz(tmp_path, twin, numbers(5))
    with pytest.raises(InvalidInput, match=f"two episodes train/{twin}"):
        read_mp4_npz(tmp_path)
    with pytest.raises(InvalidInput, match="holds no videos"):
        read_mp4_npz(tmp_path / "nowhere")


def test_an_instruction_is_a_text_beside_the_video(tmp_path):
    add_npz(tmp_path, "a", numbers(5))
    (tmp_path / "a.txt").write_text("open the\n drawer\n")
    assert read_all(read_mp4_npz(tmp_path))[0]["a"].metadata["instruction"] == "open the drawer"


def test_a_video_that_lost_its_end_is_named(tmp_path):
    """Cut between two frames a streamable mp4 still decodes; with a frame less its table would fit as one of the other kind."""
    with av.open(str(tmp_path / "a.mp4"), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "yuv420p"
        for frame in some_pictures(20, side=16):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    np.savez(tmp_path / "a.npz", numbers(20))
    whole = (tmp_path / "a.mp4").read_bytes()
    reasons = set()
    for cut in range(len(whole) - 120, len(whole)):  # the last frame or two
        (tmp_path / "a.mp4").write_bytes(whole[:cut])
        good, bad = read_all(read_mp4_npz(tmp_path))
        assert good == {}
        reasons.add(bad["a"].split(";")[0].split("mp4 ")[1])
    assert "says that it holds 20 frames, 19 could be read" in reasons


def test_a_frame_rate_that_the_stream_contradicts_is_for_the_user_to_settle(tmp_path):
    """The time scale in an mp4's header is four bytes that nothing guards; ten times as large, the video is ten times as fast."""
    add_npz(tmp_path, "a", numbers(5))
    video = bytearray((tmp_path / "a.mp4").read_bytes())
    place = video.index(b"mdhd") + 16
    video[place : place + 4] = (10 * int.from_bytes(video[place : place + 4], "big")).to_bytes(4, "big")
    (tmp_path / "a.mp4").write_bytes(video)
    assert "says 100 frames per second, its stream 10; type options='{rate: HZ}'" in read_all(read_mp4_npz(tmp_path))[1]["a"]
    assert read_all(read_mp4_npz(tmp_path, meaning=Meaning(rate=10.0)))[0]["a"].metadata["fps"] == 10


# CSV


@pytest.mark.parametrize("rows", [5, 4])
def test_a_table_for_each_video(tmp_path, rows):
    actions = numbers(rows)
    add_csv(tmp_path, "a", as_csv(actions, instruction=["", "open it", "open  it", "", ""][:rows], frame=range(rows)))
    good, bad = read_all(read_video_csv(tmp_path))
    assert bad == {}
    np.testing.assert_array_equal(good["a"].actions, actions[:4], strict=True)
    assert good["a"].metadata["action"]["names"] == list(NAMES)
    assert good["a"].metadata["instruction"] == "open it"


def test_one_table_for_all(tmp_path):
    first, second = numbers(5, 1), numbers(5, 2)
    for name in ("train/a", "b.c", "unnamed"):
        add_video(tmp_path / f"{name}.mp4")
    lines = as_csv(first, video=["train/a.mp4"] * 5, timestamp=[f"{i / 10:.1f}" for i in range(5)])
    lines += as_csv(second, video=["b.c"] * 5, timestamp=[f"{i / 10:.1f}" for i in range(5)]).split("\n", 1)[1]
    lines += as_csv(second, video=["gone.mp4"] * 5, timestamp=range(5)).split("\n", 1)[1]
    (tmp_path / "actions.csv").write_text(lines)
    recordings = list(read_video_csv(tmp_path))
    good, bad = read_all(recordings)
    np.testing.assert_array_equal(good["a"].actions, first[:-1], strict=True)
    np.testing.assert_array_equal(good["b.c"].actions, second[:-1], strict=True)
    assert [(each.split, each.name) for each in recordings][:2] == [("train", "a"), (hash_split("b.c"), "b.c")]
    assert "no video" in bad["gone (line 12)"]
    assert "no rows" in bad["unnamed"]
    assert len(bad) == 2


def test_rows_that_do_not_stand_together_are_named(tmp_path):
    add_video(tmp_path / "a.mp4")
    add_video(tmp_path / "b.mp4")
    (tmp_path / "actions.csv").write_text(as_csv(numbers(12), episode=[*"aaaaabbbbb", "a", "b"]))
    good, bad = read_all(read_video_csv(tmp_path))
    assert list(good) == ["a", "b"]
    assert sorted(bad) == ["a (line 12)", "b (line 13)"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no component"),
        ("x,y,grip\n", "no rows"),
        ("1,2,3\n" * 5, "holds numbers"),
        ("x,y,x\n" + "1,2,3\n" * 5, '"x" twice'),
        ("x,y,\n" + "1,2,3\n" * 5, "without a name"),
        ("frame,timestamp\n" + "1,2\n" * 5, "names no component"),
        ("x;y;grip\n" + "1;2;3\n" * 5, 'line 2 has "1;2;3"'),
        (as_csv(numbers(5)).replace("\n", "\n1,2\n", 1), "line 2 has 2 cells, expected 3"),
        (as_csv(numbers(5)) + ",,\n", 'line 7 has "" for x'),
        (as_csv(numbers(4)) + "1,open,3\n", 'line 6 has "open" for y'),
        (as_csv(numbers(4)) + "1,nan,3\n", 'line 6 has "nan" for y'),
        (as_csv(numbers(4)) + "1,inf,3\n", "expected a number"),
        (as_csv(numbers(4)) + "1,1_0,3\n", "expected a number"),
        (as_csv(numbers(4)) + "1,1e999,3\n", "row 4 has an action that is not finite"),
        (as_csv(numbers(7)), "7 rows of actions for 5 frames"),
        (as_csv(numbers(3)), "3 rows"),
        (as_csv(numbers(5), frame=[0, 1, 3, 4, 5]), "line 4 is frame 3, expected 2"),
        (as_csv(numbers(5), timestamp=[0, 0.1, 0.1, 0.2, 0.3]), "do not grow"),
        (as_csv(numbers(5), timestamp=[0, 1, 2, 3, 4]), "1 rows per second, the video or options='{rate: HZ}' 10"),
        (as_csv(numbers(5), instruction=list("aabbb")), "2 instructions"),
        (as_csv(numbers(4)) + '1,"2,3\n', "no readable table"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, text, words):
    add_csv(tmp_path, "a", text)
    good, bad = read_all(read_video_csv(tmp_path))
    assert good == {}
    assert words in bad["a"]


def test_folders_that_cannot_be_read(tmp_path):
    add_csv(tmp_path, "a", as_csv(numbers(5)))
    (tmp_path / "a.csv").write_bytes(b"x,y\n\xff,1\n")
    assert "no readable table" in read_all(read_video_csv(tmp_path))[1]["a"]
    (tmp_path / "actions.csv").write_text(as_csv(numbers(5)))
    with pytest.raises(InvalidInput, match="keep one kind"):
        read_video_csv(tmp_path)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(InvalidInput, match='no column "video"'):
        read_video_csv(tmp_path)
    (tmp_path / "actions.csv").write_bytes(b"\xff")
    with pytest.raises(DamagedFile, match="no readable table"):
        read_video_csv(tmp_path)
    (tmp_path / "actions.csv").write_bytes(as_csv(numbers(5), video=["a"] * 5).encode() + b"\n\xff\n")
    good, bad = read_all(read_video_csv(tmp_path))
    assert good == {}
    assert "no readable table" in bad["actions.csv (line 1)"]
    assert "no rows" in bad["a"]
    with pytest.raises(UnknownName, match="one video"):
        RECORDING_FORMATS.config("video-csv", {"path": str(tmp_path), "camera": "front"}).build()


def test_videos_of_other_kinds_and_two_of_one_name(tmp_path):
    add_csv(tmp_path, "a", as_csv(numbers(5)))
    add_csv(tmp_path, "b", as_csv(numbers(5)))
    (tmp_path / "a.mp4").rename(tmp_path / "a.MKV")  # its content says what it is
    (tmp_path / "b.mov").write_bytes((tmp_path / "b.mp4").read_bytes())
    good, bad = read_all(read_video_csv(tmp_path))
    assert list(good) == ["a"]
    assert "2 files that could be its video" in bad["b"]


cells = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=6))
def test_numbers_in_a_table_come_through_exactly(rows):
    columns = parse_header(["a", " b "])
    table = parse_rows(columns, list(enumerate([[repr(cell) for cell in row] for row in rows], 2)))
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(table.actions, np.array(rows, dtype=np.float64))


@given(st.text(alphabet="0123456789.,\n\"'eE+-naif xyframe\x00é", max_size=60) | st.text(max_size=30))
def test_any_text_is_numbers_or_one_named_error(text):
    import csv

    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        table = parse_rows(parse_header(rows[0]), list(enumerate(rows[1:], 2)))
    except (InvalidInput, csv.Error, IndexError) as error:
        assert isinstance(error, (csv.Error, IndexError)) or "\n" not in str(error)  # noqa: PT017
        return
    assert table.actions.shape == (len(rows) - 1, len(table.names))


def test_imports_end_to_end(tmp_path):
    for name in ("1", "2"):
        add_npz(tmp_path / "npz", name, numbers(5, int(name)))
        add_csv(tmp_path / "csv", name, as_csv(numbers(5, int(name))))
    for source in ("npz", "csv"):
        kind = {"npz": "mp4-npz", "csv": "video-csv"}[source]
        summary = import_recordings(kind, tmp_path / source, tmp_path / "out" / source)
        assert (summary.episodes, summary.frames, summary.fps, summary.cameras) == (2, 10, 10, ("video",))


def test_the_command_is_told_what_an_action_means(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add_csv(tmp_path / "in", "a", as_csv(numbers(5)))
    told = "options={rotation: rpy, gripper: absolute, rate: 5, names: [a,b,c], rows: frames}"
    assert cli.main(["import", "video-csv", "in", told]) == 0
    action = json.loads(Path("data/in/summary.json").read_text())["action"]
    assert [action[key] for key in ("names", "rate_hz", "rotation", "gripper")] == [["a", "b", "c"], 5, "rpy", "absolute"]
    for wrong, words in {
        "{rotatoin: rpy}": 'did you mean "rotation"',
        "3": "expected a mapping",
        "{rate: fast}": "expected a number",
    }.items():
        assert cli.main(["import", "video-csv", "in", "out=other", f"options={wrong}"]) == 2
        assert words in capsys.readouterr().err
    assert not Path("other").exists()


def test_the_help_of_the_command_names_what_the_formats_can_be_told(capsys):
    assert cli.main(["import", "--help"]) == 0
    said = capsys.readouterr().out
    own = {each.name for kind in (Mp4Npz, VideoCsv, Csgo) for each in fields(kind)} - {"path", "camera", "limit"}
    assert own == {"names", "rate", "frame", "rotation", "gripper", "rows", "key", "frames"}
    assert all(name in said.split("options")[1] for name in own)
