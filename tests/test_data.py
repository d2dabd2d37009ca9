"""Files that are whole or refused, seeds that stay in their split, clips that stay in their episode, tasks that come back as written."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from worldsim.data.files import digest_of, sha256_of, write_json, written_whole
from worldsim.data.splits import SPAN, SPLITS, require_split, seed_of, split_of
from worldsim.data.tasks import digest_of_starts, read_starts, recorded_task, write_starts
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths, write_trajectory
from worldsim.data.windows import windows_over
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.types import Start, Task, Trajectory

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@st.composite
def trajectories(draw) -> Trajectory:
    """Any trajectory: sizes, seeds, states of any shape and metadata that JSON can hold."""
    steps, size, width = draw(st.integers(0, 4)), draw(st.integers(1, 6)), draw(st.integers(0, 3))
    names = draw(st.lists(st.sampled_from(["opening", "hand", "qpos"]), unique=True))
    rows = {"opening": (), "hand": (3,), "qpos": (2, 2)}
    floats = {"allow_nan": False, "width": 32}
    return Trajectory(
        task_id=draw(TEXT),
        frames=draw(hnp.arrays(np.uint8, (steps + 1, size, 2, 3))),
        actions=draw(hnp.arrays(np.float32, (steps, width), elements=st.floats(**floats))),
        seed=draw(st.integers(0, 2**64 - 1)),
        start_id=draw(TEXT),
        states={name: draw(hnp.arrays(np.float64, (steps + 1, *rows[name]), elements=st.floats())) for name in names},
        metadata=draw(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT, max_size=3)),
    )


def assert_same(left: Trajectory, right: Trajectory) -> None:
    assert (left.task_id, left.seed, left.start_id) == (right.task_id, right.seed, right.start_id)
    assert dict(left.metadata) == dict(right.metadata)
    assert left.states.keys() == right.states.keys()
    pairs = [(left.frames, right.frames), (left.actions, right.actions), *((left.states[name], right.states[name]) for name in left.states)]
    for mine, other in pairs:
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        assert mine.tobytes() == other.tobytes()  # NaN too


def episode(seed: int = 7, steps: int = 5, **options) -> Trajectory:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8)
    actions = rng.normal(size=(steps, 3)).astype(np.float32)
    return Trajectory("drawer", frames, actions, seed, states={"opening": rng.random(steps + 1)}, **options)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trajectory=trajectories())
def test_a_trajectory_comes_back_as_it_was_written(tmp_path, trajectory):
    write_trajectory(tmp_path / "episode.h5", trajectory)
    assert_same(read_trajectory(tmp_path / "episode.h5"), trajectory)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Trajectory, bytes]:
    path = tmp_path_factory.mktemp("written") / "episode.h5"
    write_trajectory(path, episode())
    return episode(), path.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_torn_file_is_refused(tmp_path, written, share):
    path = tmp_path / "episode.h5"
    path.write_bytes(written[1][: int(share * len(written[1]))])
    with pytest.raises(DamagedFile):
        read_trajectory(path)


def test_any_flipped_bit_is_noticed(tmp_path, written):
    content, path = written[1], tmp_path / "episode.h5"
    end = content.index(b"\0")  # of the hash; the rest of the user block means nothing
    for place in [*range(8 * end), *range(8 * 512, 8 * len(content), 41)]:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            read_trajectory(path)


def test_other_files_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(DamagedFile, match="nowhere.h5 cannot be read"):
        read_trajectory(tmp_path / "nowhere.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DamagedFile, match="worldsim import"):
        read_trajectory(tmp_path / "other.h5")
    with pytest.raises(InvalidInput, match="worldsim collect or worldsim import"):
        trajectory_paths(tmp_path / "empty")


def test_paths_are_sorted_and_unfinished_files_are_no_episodes(tmp_path):
    for name in ("b/2.h5", "a/9.h5", "b/.1.h5.77.tmp", "b/.1.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.relative_to(tmp_path).as_posix() for path in trajectory_paths(tmp_path)] == ["a/9.h5", "b/2.h5"]


def interrupted(path, text: str, error: BaseException) -> None:
    """Begin to write `text`, then fail."""
    with written_whole(path) as aside:
        aside.write_text(text)
        raise error


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError, match="half-way"):
        interrupted(path, "half", RuntimeError("half-way"))
    assert list(path.parent.iterdir()) == []
    with written_whole(path) as aside:
        aside.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, "new", KeyboardInterrupt())
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_one_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "there" / "kept.json")
    write_json(tmp_path / "link.json", {"a": 1})
    assert (tmp_path / "link.json").is_symlink()
    assert "a" in (tmp_path / "there" / "kept.json").read_text()


def test_json_is_written_whole_and_without_nan(tmp_path):
    write_json(tmp_path / "value.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "value.json", {"a": float("nan")})
    assert (tmp_path / "value.json").read_text() == '{\n  "a": 1\n}\n'


def test_digests(tmp_path):
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert len(digest_of(None)) == 16
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(index=st.integers(0, SPAN - 1), split=st.sampled_from(sorted(SPLITS)))
def test_a_seed_tells_its_split(index, split):
    seed = seed_of(split, index)
    assert split_of(seed) == split
    require_split(seed, split)
    for other in SPLITS.keys() - {split}:
        with pytest.raises(InvalidInput, match=f"seed {seed} belongs to the {split} split, expected {other}"):
            require_split(seed, other)


def test_the_ranges_of_the_splits_meet_and_do_not_overlap():
    ends = sorted((seed_of(split, 0), seed_of(split, SPAN - 1)) for split in SPLITS)
    assert all(after[0] == before[1] + 1 for before, after in zip(ends, ends[1:], strict=False))
    assert {split_of(-1), split_of(ends[-1][1] + 1), split_of(2**63)} == {"other"}


def test_seeds_outside_every_split_are_refused():
    for index in (-1, SPAN):
        with pytest.raises(InvalidInput, match=f"episode index {index} is outside"):
            seed_of("train", index)
    with pytest.raises(InvalidInput, match='unknown split "trian"; did you mean "train"'):
        seed_of("trian", 0)


def windows(openings, length: int = 4, focus: tuple[str, ...] = ("opening",)):
    """Windows over episodes with these openings."""
    episodes = []
    for opening in openings:
        frames = np.zeros((len(opening), 2, 2, 3), np.uint8)
        actions = np.zeros((len(opening) - 1, 1), np.float32)
        episodes.append(Trajectory("t", frames, actions, states={"opening": np.asarray(opening, dtype=np.float64)}))
    return windows_over(episodes, length, focus)


@given(lengths=st.lists(st.integers(3, 12), min_size=1, max_size=6), length=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_clips_stay_inside_their_episode(lengths, length, seed):
    rows = windows([np.linspace(0, 1, n) for n in lengths], length).draw(20, torch.Generator().manual_seed(seed))
    assert rows.shape == (20, length)
    owner = np.repeat(np.arange(len(lengths)), lengths)[rows]
    assert (owner == owner[:, :1]).all()
    assert (np.diff(rows, axis=1) == 1).all()


def test_clips_follow_the_generator():
    source = windows([np.linspace(0, 1, 30)] * 3)
    first, again, other = (source.draw(10, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_clips_at_moving_rows_are_drawn_more_often():
    """Two episodes of 100 frames; only rows 140 to 150 move. Uniform clips of 4 would meet them about 7 % of the time."""
    still, moving = np.zeros(100), np.clip((np.arange(100) - 40) / 10, 0, 1)
    source = windows([still, moving])
    assert source.moving.tolist() == list(range(141, 151))

    def share(windows) -> float:
        rows = windows.draw(4000, torch.Generator().manual_seed(0))
        return ((rows >= 141) & (rows <= 150)).any(axis=1).mean()

    assert share(windows([still, moving], focus=())) < 0.1
    assert 0.45 < share(source) < 0.75


def test_half_way_resting_rows_are_drawn_too():
    """One episode rests half-way for most of its length: rows that rest and are neither open nor shut."""
    source = windows([np.concatenate([np.linspace(1, 0.5, 6), np.full(20, 0.5), np.full(74, 0.0)])])
    assert source.resting.tolist() == list(range(6, 26))
    rows = source.draw(4000, torch.Generator().manual_seed(0))
    assert ((rows >= 6) & (rows < 26)).any(axis=1).mean() > 0.4


def test_any_of_several_states_counts_and_a_place_has_no_midway():
    """A block at a place `[T, 2]` moves in the first episode, the drawer in the second, where it then rests half-way."""
    still, place = np.zeros(9), np.ones((9, 2))
    pushed, opened = place * [1, 2], np.array([0, 0, 0.5, 0.5, 0.5, 1, 1, 1, 1])
    pushed[4:, 1] = 3
    states = [{"opening": still, "block": pushed}, {"opening": opened, "block": place}]
    recorded = [Trajectory("t", np.zeros((9, 2, 2, 3), np.uint8), np.zeros((8, 1), np.float32), states=each) for each in states]
    source = windows_over(recorded, 3, ("opening", "block"))
    assert source.moving.tolist() == [4, 9 + 2, 9 + 5]
    assert source.resting.tolist() == [9 + 3, 9 + 4]
    assert windows_over(recorded, 3, ("block",)).moving.tolist() == [4]


def test_a_state_that_not_all_episodes_have_is_no_focus():
    known, unknown = episode(), Trajectory("t", np.zeros((5, 2, 2, 3), np.uint8), np.zeros((4, 1), np.float32))
    source = windows_over([known, unknown], 3, ("opening",))
    assert (len(source.moving), len(source.resting)) == (0, 0)


def test_clips_longer_than_an_episode_are_refused():
    with pytest.raises(InvalidInput, match="the shortest episode has 3 frames, a clip needs 4; set clip=3"):
        windows([np.zeros(9), np.zeros(3)])


def task(starts: int = 3, frames: int = 1) -> Task:
    pictures = np.random.default_rng(0).integers(0, 256, (starts, frames, 4, 4, 3), dtype=np.uint8)
    begin = tuple(Start(f"{2_000_000 + i:07d}", picture, 2_000_000 + i) for i, picture in enumerate(pictures))
    return Task("close", "close it", 24, begin, "ever")


@pytest.mark.parametrize("frames", [1, 3])
def test_a_task_comes_back_as_it_was_written(tmp_path, frames):
    written = task(frames=frames)
    write_starts(tmp_path / "task.h5", written)
    found = read_starts(tmp_path / "task.h5")
    assert (found.id, found.instruction, found.horizon, found.success_rule) == ("close", "close it", 24, "ever")
    for start, before in zip(found.starts, written.starts, strict=True):
        assert (start.id, start.seed, start.recording) == (before.id, before.seed, None)
        assert np.array_equal(start.frames, before.frames)
    assert found.at(found.starts[1]).starts == (found.starts[1],)


def test_files_that_are_no_tasks_are_refused(tmp_path):
    write_trajectory(tmp_path / "episode.h5", episode())
    (tmp_path / "torn.h5").write_bytes(b"\x89HDF")
    for name in ("episode.h5", "torn.h5", "nowhere.h5"):
        with pytest.raises(DamagedFile, match=name):
            read_starts(tmp_path / name)


def test_a_folder_of_recordings_is_a_task(tmp_path):
    for seed, steps in ((3, 5), (1, 8)):
        write_trajectory(tmp_path / "pushes" / f"episode-{seed}.h5", episode(seed, steps, metadata={"instruction": "push"}))
    found = recorded_task(tmp_path / "pushes")
    assert (found.id, found.instruction, found.horizon) == ("pushes", "push", 8)
    assert [start.id for start in found.starts] == ["episode-1", "episode-3"]
    for start in found.starts:
        recording = read_trajectory(start.recording)
        assert np.array_equal(start.frames, recording.frames[:1])
    assert len({start.seed for start in found.starts}) == 2
    assert [start.seed for start in recorded_task(tmp_path / "pushes").starts] == [start.seed for start in found.starts]


def test_recordings_of_different_instructions_have_no_common_one(tmp_path):
    for seed, words in ((1, "push"), (2, "pull")):
        write_trajectory(tmp_path / f"{seed}.h5", episode(seed, metadata={"instruction": words}))
    task = recorded_task(tmp_path)
    assert task.instruction == "what was recorded"
    assert [task.at(start).instruction for start in task.starts] == [start.instruction for start in task.starts]
    assert len({start.instruction for start in task.starts}) > 1
    anonymous = replace(task, starts=tuple(replace(start, instruction=None) for start in task.starts))
    assert anonymous.at(anonymous.starts[0]).instruction == "what was recorded"
    assert digest_of_starts(anonymous) != digest_of_starts(task)
