"""The metadata of LeRobot data sets: what it says, and that what makes no sense is refused in one line."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot_checks import TOP, copied, one_line, originals
from lerobot_data import WRITERS, edit_info

from worldsim.data.lerobot import read_lerobot
from worldsim.data.lerobot.description import parse_description
from worldsim.data.lerobot.episodes import list_episodes
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency

pytest.importorskip("pyarrow")
both = pytest.mark.parametrize("version", list(WRITERS))


@pytest.fixture
def root(version, tmp_path) -> Path:
    return copied(version, tmp_path)


def feature(**changes: Any) -> dict[str, Any]:
    return {
        "features": {"action": {"dtype": "float32", "shape": [3], "names": None}, TOP: {"dtype": "video", "shape": [32, 64, 3]}, **changes}
    }


INFO = {
    "version 1": ({"codebase_version": "v1.6"}, "older than v2.0; convert"),
    "version 4": ({"codebase_version": "v4.0"}, "newer than v3"),
    "no version": ({"codebase_version": None}, "codebase_version None"),
    "no rate": ({"fps": None}, "fps None, expected a number"),
    "rate 0": ({"fps": 0}, "fps 0, expected a number above 0"),
    "rate NaN": ({"fps": math.nan}, "fps nan"),
    "rate true": ({"fps": True}, "fps True"),
    "no features": ({"features": None}, "features None"),
    "no action": ({"features": {}}, 'no "action"'),
    "action is a picture": (feature(action={"dtype": "float32", "shape": [3, 3]}), "action of shape [3, 3]"),
    "no camera": (feature(**{TOP: {"dtype": "float32", "shape": [3]}}), "no colour camera"),
    "depth only": (feature(**{TOP: {"dtype": "video", "shape": [32, 64, 3], "info": {"is_depth_map": True}}}), "no colour camera"),
    "depth of old": (feature(**{TOP: {"dtype": "video", "shape": [32, 64, 3], "video_info": {"video.is_depth_map": True}}}), "no colour"),
    "one channel": (feature(**{TOP: {"dtype": "image", "shape": [32, 64, 1]}}), "no colour camera"),
    "splits that share": ({"splits": {"train": "0:4", "val": "3:5"}}, 'splits "train" and "val" that share'),
    "split of words": ({"splits": {"train": "all"}}, "split \"train\" 'all'"),
    "path outside": ({"data_path": "../{episode_index}{chunk_index}"}, "data_path"),
    "absolute path": ({"video_path": "/x"}, "video_path '/x'"),
    "path that reaches into objects": ({"video_path": "{video_key.__class__}"}, "video_path"),
    "path as wide as memory": ({"data_path": "{episode_index:0999999999d}"}, "data_path"),
    "path half open": ({"data_path": "{"}, "data_path"),
    "chunks of 0": ({"chunks_size": 0}, "chunks_size 0"),
    "episodes below 0": ({"total_episodes": -1}, "total_episodes -1"),
}


@both
@pytest.mark.parametrize("damage", list(INFO))
def test_descriptions_that_make_no_sense(root, version, damage):
    changes, words = INFO[damage]
    edit_info(root, **changes)
    with pytest.raises(InvalidInput) as caught:
        read_lerobot(root)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@both
def test_metadata_that_is_missing_or_torn(root, version):
    tasks = root / ("meta/tasks.jsonl" if version == "v2.1" else "meta/tasks.parquet")
    whole = tasks.read_bytes()
    tasks.write_bytes(whole[: len(whole) - 4])
    with pytest.raises(DamagedFile, match="tasks"):
        read_lerobot(root)
    tasks.unlink()  # episodes list their tasks too
    assert next(read_lerobot(root)).read().metadata["instruction"] == "pick the cube"
    lists = root / ("meta/episodes.jsonl" if version == "v2.1" else "meta/episodes")
    lists.unlink() if lists.is_file() else shutil.rmtree(lists)
    with pytest.raises(DamagedFile, match="episodes"):
        read_lerobot(root)
    (root / "meta/info.json").write_text("{")
    with pytest.raises(InvalidInput, match="not JSON"):
        read_lerobot(root)
    (root / "meta/info.json").unlink()
    with pytest.raises(InvalidInput, match="holds 0 LeRobot data sets"):
        read_lerobot(root)
    (root / "meta").rename(root / "meta_data")
    (root / "meta_data/info.json").write_text("{}")
    with pytest.raises(InvalidInput, match="older than v2.0"):
        read_lerobot(root)


def test_torn_list_names_the_episodes_that_it_had(tmp_path):
    root = copied("v3.0", tmp_path)
    (root / "meta/episodes/chunk-000/file-001.parquet").write_bytes(b"PAR1")
    recordings = list(read_lerobot(root))
    assert [(each.name, each.episodes) for each in recordings[3:]] == [("episodes_000003-000004", 2)]
    with pytest.raises(DamagedFile, match=r"lists no such episode: meta/episodes/chunk-000/file-001\.parquet cannot be read"):
        recordings[3].read()


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for root in originals().values():
        with pytest.raises(MissingDependency, match=r"\[lerobot-data\]"):
            read_lerobot(root)


# what features are called


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], ("a", "b", "c")),
        ([["a", "b", "c"]], ("a", "b", "c")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"left": ["a"], "right": ["b", "c"]}, ("a", "b", "c")),
        ({"z": 2, "x": 0, "y": 1}, ("x", "y", "z")),
        (None, ("action_0", "action_1", "action_2")),
        (["a"], ("action_0", "action_1", "action_2")),
        (["a", "a", "b"], ("action_0", "action_1", "action_2")),
        ({"motors": 7}, ("action_0", "action_1", "action_2")),
    ],
)
def test_names_of_an_action(names, expected):
    about = parse_description(json.dumps({"codebase_version": "v3.0", "fps": 5, **feature(action={"shape": [3], "names": names})}).encode())
    assert about.action.names == expected


def test_cameras_in_their_order():
    shown = {"dtype": "video", "shape": [3, 32, 64]}
    names = ("a_wrist", "b_depth", "c", "d_hand", "b")
    content = {"codebase_version": "v2.1", "fps": 5, "features": {"actions": {"shape": [1]}, **dict.fromkeys(names, shown)}}
    about = parse_description(json.dumps(content).encode())
    assert list(about.cameras) == ["b", "c", "a_wrist", "d_hand", "b_depth"]
    assert about.action.column == "actions"
    assert about.state is None
    assert about.split_of(3) == "train"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.sampled_from(["action", "shape"]), inner, max_size=4)
    ),
    max_leaves=12,
)
entries = ("codebase_version", "fps", "features", "splits", "data_path", "video_path", "chunks_size", "total_episodes", "robot_type")
good = {
    "codebase_version": st.sampled_from(["v2.0", "v2.1", "v3.0", "3.1"]),
    "fps": st.floats(0.1, 100),
    "features": st.fixed_dictionaries(
        {"action": st.fixed_dictionaries({"shape": st.lists(st.integers(-1, 9), max_size=2), "names": junk}), "cam": junk | st.just({})}
    ),
    "splits": st.dictionaries(st.text(max_size=3), st.text("0123456789:", max_size=5), max_size=2),
    "data_path": st.text("{}!.:/abd0123_episode_index", max_size=30),
}
infos = st.fixed_dictionaries({}, optional={entry: good.get(entry, junk) | junk for entry in entries})
nearly = st.fixed_dictionaries(
    {key: good[key] for key in ("codebase_version", "fps", "features")}, optional={"splits": junk, "data_path": junk}
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | (junk | infos | nearly).map(lambda value: json.dumps(value).encode()))
def test_garbage_description_is_refused_in_one_way_only(data):
    try:
        about = parse_description(data)
    except InvalidInput as error:
        one_line(error)
        return
    assert about.fps > 0
    assert len(about.action.names) >= 1
    assert about.split_of(0)


rows = st.fixed_dictionaries(
    {},
    optional={
        "episode_index": st.integers(-1, 9) | junk,
        "length": st.integers(-1, 9) | junk,
        "tasks": st.lists(st.text(max_size=3), max_size=2) | junk,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists((rows | junk).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=6))
def test_garbage_lines_are_named_or_refused(tmp_path, lines):
    about = parse_description((originals()["v2.1"] / "meta/info.json").read_bytes())
    (tmp_path / "meta").mkdir(exist_ok=True)
    (tmp_path / "meta/episodes.jsonl").write_bytes(b"\n".join(lines))
    try:
        episodes = list_episodes(tmp_path, about)
    except DamagedFile as error:
        one_line(error)
        return
    assert any(episode.missing == 0 for episode in episodes)
    assert len({episode.index for episode in episodes}) == len(episodes)
    assert sum(max(1, episode.missing) for episode in episodes) >= 5
