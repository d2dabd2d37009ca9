"""Of a damaged LeRobot data set, what cannot be read is named, and nothing else suffers."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot_checks import CONTENT, TOP, WRIST, assert_right, copied, edit_episode, name, outcome, rows_file, video_file
from lerobot_data import WRITERS, edit_info, edit_rows, encode, read_stamp

from worldsim.data.lerobot import read_lerobot

pytest.importorskip("pyarrow")
both = pytest.mark.parametrize("version", list(WRITERS))


@pytest.fixture
def root(version, tmp_path) -> Path:
    return copied(version, tmp_path)


def reverse(rows):
    return rows[::-1]


def repeat(rows):
    return [*rows[:2], rows[1], *rows[3:]]


def lose(rows):
    return [*rows[:2], *rows[3:]]


def set_value(column: str, value: Any, place: int = 2) -> Callable:
    return lambda rows: [row | {column: value} if number == place else row for number, row in enumerate(rows)]


def shift_times(seconds: float) -> Callable:
    return lambda rows: [row | {"timestamp": row["timestamp"] + seconds} for row in rows]


ROWS = {
    "reversed": (reverse, "frame 8: out of order, repeated or missing"),
    "one twice": (repeat, "frame 1: out of order, repeated or missing"),
    "one lost": (lose, "has 8 rows of it, the metadata says 9"),
    "NaN": (set_value("action", [0.0, math.nan, 0.0]), "row 2 has an action that is not finite"),
    "infinite": (set_value("action", [0.0, math.inf, 0.0]), "row 2 has an action that is not finite"),
    "too many numbers": (set_value("action", [0.0] * 4), '"action" has vectors of 3, 4 numbers, meta/info.json says 3'),
    "no action": (set_value("action", None), '"action" has 1 rows without a value'),
    "no number in an action": (set_value("action", [0.0, None, 0.0]), '"action" holds float, or nothing'),
    "short state": (set_value("observation.state", [0.0]), '"observation.state" has vectors of 1, 4 numbers'),
    "frame number": (set_value("frame_index", 7), "row 2 of it in"),
    "time stands still": (set_value("timestamp", 0.1), "timestamps do not increase"),
    "time is NaN": (set_value("timestamp", math.nan), "timestamps do not increase"),
    "other rate": (lambda rows: [row | {"timestamp": row["timestamp"] * 3} for row in rows], "rows are 0.3 s apart"),
    "another episode's": (lambda rows: [row | {"episode_index": 77} for row in rows], "has 0 rows of it"),
}


@both
@pytest.mark.parametrize("damage", list(ROWS))
def test_spoilt_rows_drop_their_episode_only(root, version, damage):
    change, words = ROWS[damage]
    edit_episode(root, 2, change)
    read, reasons = outcome(root)
    assert list(reasons) == [name(2)]
    assert words in reasons[name(2)]
    for episode in (0, 1, 3, 4):
        assert_right(read[name(episode)], episode)


@both
def test_rows_at_moments_that_the_video_does_not_show(root, version):
    edit_episode(root, 1, shift_times(0.051))  # v3: half a frame on is the next frame, and the last one is another episode's or none
    edit_episode(root, 3, lambda rows: [row | {"timestamp": row["timestamp"] + (0.045 if n % 2 else 0)} for n, row in enumerate(rows)])
    read, reasons = outcome(root)
    assert list(reasons) == [name(1)]
    assert_right(read[name(3)], 3)  # real timestamps jitter; less than half a frame is the same frame


def test_missing_frame_is_neither_repeated_nor_black(tmp_path):
    root = copied("v2.1", tmp_path)
    frames = CONTENT.frames(TOP, 2)
    encode(video_file(root, 2), np.delete(frames, 4, axis=0), CONTENT, times=np.delete(np.arange(9) / 10, 4))
    read, reasons = outcome(root)
    assert list(reasons) == [name(2)]
    assert "no frame of its own for 1 of 9 rows, first at 0.400 s" in reasons[name(2)]
    encode(video_file(root, 2), frames[:-1], CONTENT)
    assert "for 1 of 9 rows, first at 0.800 s" in outcome(root)[1][name(2)]


@both
@pytest.mark.parametrize("kind", ["gone", "torn", "empty", "pointer", "folder"])
@pytest.mark.parametrize("which", [rows_file, video_file])
def test_files_that_are_not_what_they_should_be(root, version, kind, which):
    path = which(root, 2)
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "gone":
        path.write_bytes({"torn": data[: len(data) // 8], "empty": b"", "pointer": b"version https://git-lfs\noid sha256:0\n"}[kind])
    read, reasons = outcome(root)
    together = {"v2.1": [2], "v3.0": [0, 1, 2] if which is rows_file else [2, 3, 4]}[version]
    assert list(reasons) == [name(episode) for episode in together]
    assert all(path.relative_to(root).as_posix() in reason for reason in reasons.values())
    assert all(("git lfs pull" in reason) == (kind == "pointer") for reason in reasons.values())
    for episode in set(range(5)) - set(together):
        assert_right(read[name(episode)], episode)


@both
def test_another_camera_that_cannot_be_read_is_left_out_by_name(root, version):
    video_file(root, 2, WRIST).write_bytes(b"torn")
    read, reasons = outcome(root)
    assert not reasons
    without = read[name(2)]
    assert list(without.views) == []
    assert "cannot be read as a video" in without.metadata["views_left_out"][WRIST]
    assert [read_stamp(frame) for frame in without.frames] == [(0, 2, frame) for frame in range(9)]
    assert_right(read[name(0)], 0)


def broken_line(root: Path) -> None:
    path = root / "meta/episodes.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:20], *lines[3:]]))


def in_list(change: Callable[[list[dict]], list[dict]]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for path in [*(root / "meta").rglob("episodes.jsonl"), *(root / "meta").rglob("file-000.parquet")]:
            edit_rows(path, change)

    return spoil


def in_row_two(**changes: Any) -> Callable[[Path], None]:
    return in_list(lambda rows: [row | changes if row["episode_index"] == 2 else row for row in rows])


LISTS = {
    "line is no JSON": (("v2.1",), broken_line, "lists no such episode: line 3 of meta/episodes.jsonl is not a JSON object"),
    "not listed": (("v2.1", "v3.0"), in_list(lambda rows: rows[:2] + rows[3:]), "lists no such episode"),
    "too long": (("v2.1",), in_row_two(length=10), "has 9 rows of it, the metadata says 10"),
    "longer than its rows": (("v3.0",), in_row_two(length=10), "gives it 10 rows, from 13 to 22"),
    "negative length": (("v2.1", "v3.0"), in_row_two(length=-9), "lists no such episode: "),
    "too short": (("v2.1",), in_row_two(length=1), "1 frames, expected at least 2"),
    "rows beyond the file": (
        ("v3.0",),
        in_row_two(dataset_from_index=9000, dataset_to_index=9009),
        "has it at rows 13 to 21, the metadata",
    ),
    "another parquet file": (("v3.0",), in_row_two(**{"data/file_index": 1}), "has 0 rows of it"),
    "no parquet file": (("v3.0",), in_row_two(**{"data/file_index": 9}), "file-009.parquet cannot be read"),
    "not said where": (("v3.0",), in_row_two(**{"data/file_index": None}), "does not say where its rows are"),
    "no such video": (("v3.0",), in_row_two(**{f"videos/{TOP}/file_index": 9}), "file-009.mp4 cannot be read"),
    "video not said": (("v3.0",), in_row_two(**{f"videos/{TOP}/file_index": None}), "does not say where its frames of"),
    "begins late": (("v3.0",), in_row_two(**{f"videos/{TOP}/from_timestamp": 0.1}), "from 0.1 s to 0.9 s"),
    "ends early": (("v3.0",), in_row_two(**{f"videos/{TOP}/to_timestamp": 0.8}), "from 0 s to 0.8 s"),
    "before the video": (("v3.0",), in_row_two(**{f"videos/{TOP}/from_timestamp": -1.0}), "from -1 s to 0.9 s"),
    "time is NaN": (("v3.0",), in_row_two(**{f"videos/{TOP}/from_timestamp": math.nan}), "from nan s"),
    "beyond the video": (
        ("v3.0",),
        in_row_two(**{f"videos/{TOP}/from_timestamp": 50.0, f"videos/{TOP}/to_timestamp": 50.9}),
        "no frame of its own for 9 of 9 rows",
    ),
}


@pytest.mark.parametrize(("version", "damage"), [(version, damage) for damage, (versions, *_) in LISTS.items() for version in versions])
def test_spoilt_lists_drop_their_episode_only(root, version, damage):
    _, spoil, words = LISTS[damage]
    spoil(root)
    read, reasons = outcome(root)
    assert list(reasons) == [name(2)]
    assert words in reasons[name(2)]
    for episode in (0, 1, 3, 4):
        assert_right(read[name(episode)], episode)


@pytest.mark.parametrize(("changes", "claimants"), [({"file_index": 0}, [0, 1, 2]), ({"from_timestamp": 0.5, "to_timestamp": 1.4}, [2, 3])])
def test_frames_that_two_episodes_claim_belong_to_neither(tmp_path, changes, claimants):
    root = copied("v3.0", tmp_path)
    in_row_two(**{f"videos/{TOP}/{key}": value for key, value in changes.items()})(root)
    read, reasons = outcome(root)
    assert list(reasons) == [name(episode) for episode in claimants]
    assert all("the same frames of" in reason for reason in reasons.values())
    for episode in set(range(5)) - set(claimants):
        assert_right(read[name(episode)], episode)


@both
def test_listed_twice_is_read_not_even_once(root, version):
    in_list(lambda rows: [*rows[:3], rows[2], *rows[3:]])(root)
    assert "lists it twice, also at" in outcome(root)[1][name(2)]


@both
def test_many_missing_episodes_are_one_line(root, version):
    edit_info(root, total_episodes=2**40)
    last = list(read_lerobot(root))[-1]
    assert last.name == f"episodes_000005-{2**40 - 1}"
    assert last.episodes == 2**40 - 5
