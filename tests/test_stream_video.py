"""Videos of episodes: every frame in order, whole files only, in each way an episode can end; and Gymnasium's wrappers beside them."""

import gc
import tracemalloc

import gymnasium
import numpy as np
import pytest
import stirred
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, TimeLimit
from gymnasium.wrappers import vector as wrappers
from toy import BrightColumn, PixelShift, picture, shift_task

from worldsim.data.video import read_video, streamed_video, video_fps
from worldsim.envs.stream_video import StreamVectorVideo, StreamVideo
from worldsim.envs.world_env import WorldEnv
from worldsim.envs.world_vector_env import WorldVectorEnv
from worldsim.errors import InvalidInput, WorldsimError
from worldsim.types import Start, Task

LANES = 3
LONG = 150  # frames after which the encoder has written some to disk
RIGHT = np.array([1.0, 0.0], dtype=np.float32)
STARTS = tuple(Start(f"{index}", stirred.pictures(1, seed=index)[0] // 4 + 60, index) for index in range(5))
DRAWN = {"world_model": stirred.world_model(steps=2), "task": Task("drawn", "do something", 4, STARTS)}


def toy(**keywords) -> dict:
    """Keywords of a toy world that renders."""
    return {"world_model": PixelShift(), "task": shift_task(), "render_mode": "rgb_array"} | keywords


def names(folder) -> list[str]:
    """Every file of a folder, hidden ones too; nothing where there is no folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def assert_shows(path, frames):
    """The file plays these frames, up to compression."""
    found = np.stack(list(read_video(path)))
    assert found.shape == np.shape(frames)
    assert np.abs(blocks(found) - blocks(np.stack(frames))).max() < 4


def blocks(frames: np.ndarray) -> np.ndarray:
    """The mean brightness of 16 x 16 pixels, which compression leaves alone: `[T, 32, 32, 3]` to `[T, 2, 2]`."""
    return frames.reshape(-1, 2, 16, 2, 16, 3).mean(axis=(2, 4, 5))


class Ramp(gymnasium.Env):
    """Grey frames, each five levels brighter than the one before: a video of it can be read back frame by frame."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}
    observation_space = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    render_mode = "rgb_array"

    def __init__(self, length: int = 5) -> None:
        self.length, self.looks, self.closed, self.broken = length, 0, False, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._frame(), {}

    def step(self, action):
        if self.broken is not None:
            raise self.broken
        self.steps += 1
        return self._frame(), 0.0, False, self.steps >= self.length, {}

    def render(self):
        self.looks += 1
        return self._frame()

    def close(self):
        self.closed = True

    def _frame(self):
        return np.full((16, 16, 3), 20 + 5 * (self.steps % 40), np.uint8)


def full_disk(file) -> None:
    """What `os.fsync` does when there is no room."""
    raise OSError("disk full")


def levels(path) -> list[int]:
    """The brightness of each frame of a ramp's video, in steps."""
    return [round((float(frame.mean()) - 20) / 5) for frame in read_video(path)]


def run(env, steps: int) -> None:
    """Reset and step, whatever happens to the frames."""
    env.reset(seed=0)
    for _ in range(steps):
        env.step(np.zeros(env.action_space.shape, np.float32))


def test_each_episode_is_a_video_of_all_its_frames(tmp_path):
    env = StreamVideo(Ramp(), tmp_path / "new" / "folder")
    for count in range(1, 4):
        run(env, 5)
        assert names(tmp_path / "new" / "folder") == [f"episode-{episode:06d}.mp4" for episode in range(count)]
    for path in (tmp_path / "new" / "folder").iterdir():
        assert levels(path) == [0, 1, 2, 3, 4, 5]
        assert video_fps(path) == 12
    env.close()
    assert len(names(tmp_path / "new" / "folder")) == 3


def test_a_video_shows_what_the_world_model_drew(tmp_path):
    env = StreamVideo(WorldEnv(render_mode="rgb_array", **DRAWN), tmp_path)
    frames = [env.reset(seed=1)[0], *(env.step(action)[0] for action in stirred.actions(1, 4)[:, 0])]
    assert_shows(tmp_path / "episode-000000.mp4", frames)
    assert video_fps(tmp_path / "episode-000000.mp4") == stirred.SPEC.fps


def test_until_it_is_finished_a_video_has_another_name(tmp_path):
    env = StreamVideo(Ramp(length=LONG + 1), tmp_path)
    run(env, LONG)
    assert [name.endswith(".tmp") for name in names(tmp_path)] == [True]
    env.reset()
    assert [name for name in names(tmp_path) if name.endswith(".mp4")] == ["episode-000000.mp4"]
    assert levels(tmp_path / "episode-000000.mp4") == [step % 40 for step in range(LONG + 1)]
    env.step(np.zeros(1, np.float32))
    env.close()
    assert names(tmp_path) == ["episode-000000.mp4", "episode-000001.mp4"]
    assert levels(tmp_path / "episode-000001.mp4") == [0, 1]
    assert env.unwrapped.closed


def test_the_trigger_chooses_and_nothing_is_rendered_for_the_rest(tmp_path):
    inner = Ramp(length=3)
    env = StreamVideo(inner, tmp_path, episode_trigger=lambda episode: episode % 3 == 1, name="evaluation", fps=24)
    for _ in range(6):
        run(env, 3)
    env.close()
    assert names(tmp_path) == ["evaluation-000001.mp4", "evaluation-000004.mp4"]
    assert inner.looks == 2 * 4
    assert video_fps(tmp_path / "evaluation-000004.mp4") == 24


def test_an_exception_inside_a_with_block_leaves_a_whole_video(tmp_path):
    inner = Ramp()

    def use():
        with StreamVideo(inner, tmp_path) as env:
            run(env, 2)
            inner.broken = RuntimeError("the world fell over")
            env.step(np.zeros(1, np.float32))

    with pytest.raises(RuntimeError, match="fell over"):
        use()
    assert inner.closed
    assert names(tmp_path) == ["episode-000000.mp4"]
    assert levels(tmp_path / "episode-000000.mp4") == [0, 1, 2]


def test_a_refused_action_adds_no_frame_and_the_recording_goes_on(tmp_path):
    env = StreamVideo(WorldEnv(**toy(horizon=2)), tmp_path)
    env.reset(seed=0)
    env.step(RIGHT)
    with pytest.raises(InvalidInput):
        env.step(5 * RIGHT)
    env.step(RIGHT)
    assert len(list(read_video(tmp_path / "episode-000000.mp4"))) == 3


def test_a_frame_that_cannot_be_written_leaves_no_file_and_no_way_back_into_it(tmp_path, monkeypatch):
    inner = Ramp(length=LONG + 5)
    env = StreamVideo(inner, tmp_path)
    run(env, LONG)
    assert len(names(tmp_path)) == 1
    monkeypatch.setattr(inner, "render", lambda: np.zeros((16, 16, 3)))
    with pytest.raises(InvalidInput, match=r"a frame is float64 \[16, 16, 3\]") as caught:
        env.step(np.zeros(1, np.float32))
    monkeypatch.undo()
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []
    env.step(np.zeros(1, np.float32))
    assert names(tmp_path) == []
    run(env, 3)
    env.close()
    assert names(tmp_path) == ["episode-000001.mp4"]
    assert levels(tmp_path / "episode-000001.mp4") == [0, 1, 2, 3]


def test_a_video_without_a_frame_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"no frame was added to .*a\.mp4"), streamed_video(tmp_path / "a.mp4", 8, 8, fps=5):
        pass
    assert names(tmp_path) == []


def test_an_environment_that_is_dropped_leaves_no_torn_video(tmp_path):
    env = StreamVideo(Ramp(length=LONG + 5), tmp_path)
    run(env, LONG)
    assert len(names(tmp_path)) == 1
    del env
    gc.collect()
    assert names(tmp_path) == []


def test_the_environment_is_closed_even_if_the_video_cannot_be_finished(tmp_path, monkeypatch):
    inner = Ramp()
    env = StreamVideo(inner, tmp_path)
    run(env, 2)
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="disk full"):
        env.close()
    assert inner.closed
    assert names(tmp_path) == []


def test_memory_does_not_grow_with_the_episode(tmp_path):
    env = StreamVideo(Ramp(length=10_000), tmp_path)
    run(env, 20)
    tracemalloc.start()
    for _ in range(500):
        env.step(np.zeros(1, np.float32))
    grown, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    env.close()
    assert max(grown, peak) < 100 * 16 * 16 * 3  # 500 frames went by
    assert len(list(read_video(tmp_path / "episode-000000.mp4"))) == 521


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda folder: StreamVideo(WorldEnv(**toy(render_mode=None)), folder), 'render_mode is None, expected "rgb_array"'),
        (lambda folder: StreamVectorVideo(WorldVectorEnv(2, **toy(render_mode=None)), folder), 'render_mode is None, expected "rgb_array"'),
        (lambda folder: StreamVectorVideo(WorldVectorEnv(2, **toy()), folder, lanes=[1, 2]), "lanes [2] cannot be recorded"),
        (lambda folder: StreamVideo(Ramp(), folder, fps=0).reset(), "a video at 0 frames per second"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(tmp_path, build, message):
    with pytest.raises(WorldsimError) as caught:
        build(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_stacked_frames_cannot_be_recorded_in_same_step(tmp_path):
    env = SyncVectorEnv([lambda: FrameStackObservation(WorldEnv(**toy()), 3)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(InvalidInput, match="observations are not frames"):
        StreamVectorVideo(env, tmp_path)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("build", ["batched", "single"])
def test_lanes_are_recorded_in_every_autoreset_mode(tmp_path, mode, build):
    keywords = {"render_mode": "rgb_array", **DRAWN}
    made = {
        "batched": lambda: WorldVectorEnv(LANES, autoreset_mode=mode, **keywords),
        "single": lambda: SyncVectorEnv([lambda: WorldEnv(**keywords)] * LANES, autoreset_mode=mode),
    }
    env = StreamVectorVideo(made[build](), tmp_path, lanes=[0, 2], episode_trigger=lambda episode: episode != 1)
    env.reset(seed=3)
    for action in stirred.actions(LANES, 14):
        ended = np.logical_or(*env.step(action)[2:4])
        if mode is AutoresetMode.DISABLED and ended.any():
            env.reset(options={"reset_mask": ended})
    env.close()
    begun = (0, 2) if mode is AutoresetMode.NEXT_STEP else (0, 2, 3)  # NEXT_STEP spends two of the steps on resets
    assert names(tmp_path) == [f"lane-{lane:03d}-episode-{episode:06d}.mp4" for lane in (0, 2) for episode in begun]
    for lane in (0, 2):
        single = WorldEnv(**DRAWN)
        starts = [single.reset(seed=3 + lane)[0], single.reset()[0], single.reset()[0]]
        for episode, start in enumerate(starts):
            if episode != 1:
                frames = np.stack(list(read_video(tmp_path / f"lane-{lane:03d}-episode-{episode:06d}.mp4")))
                assert len(frames) == 5
                assert np.abs(blocks(frames[:1]) - blocks(start[None])).max() < 4


def test_same_step_keeps_the_last_frame_of_the_old_episode_apart_from_the_first_of_the_new(tmp_path):
    env = StreamVectorVideo(SyncVectorEnv([Ramp] * 2, autoreset_mode=AutoresetMode.SAME_STEP), tmp_path, fps=5)
    assert env.render_mode == "rgb_array"
    env.reset(seed=0)
    for _ in range(7):
        env.step(np.zeros((2, 1), np.float32))
    env.close()
    assert levels(tmp_path / "lane-001-episode-000000.mp4") == [0, 1, 2, 3, 4, 5]
    assert levels(tmp_path / "lane-001-episode-000001.mp4") == [0, 1, 2]


def test_a_masked_reset_cuts_only_the_lanes_it_names(tmp_path):
    env = StreamVectorVideo(SyncVectorEnv([Ramp] * 2, autoreset_mode=AutoresetMode.DISABLED), tmp_path)
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.zeros((2, 1), np.float32))
    env.reset(options={"reset_mask": np.array([True, False])})
    for _ in range(3):
        env.step(np.zeros((2, 1), np.float32))
    env.close()
    assert levels(tmp_path / "lane-000-episode-000000.mp4") == [0, 1, 2]
    assert levels(tmp_path / "lane-000-episode-000001.mp4") == [0, 1, 2, 3]
    assert levels(tmp_path / "lane-001-episode-000000.mp4") == [0, 1, 2, 3, 4, 5]


def test_a_wrapped_environment_can_be_made_again_from_its_spec(tmp_path):
    env = StreamVideo(gymnasium.make("worldsim/World-v0", **toy(horizon=2)), tmp_path, fps=7)
    again = gymnasium.make(env.spec)
    assert isinstance(again, StreamVideo)
    run(again, 2)
    assert video_fps(tmp_path / "episode-000000.mp4") == 7


def test_gymnasiums_wrappers_compose_with_the_single_env(tmp_path):
    env = StreamVideo(WorldEnv(render_mode="rgb_array", **DRAWN), tmp_path)
    env = FrameStackObservation(RecordEpisodeStatistics(TimeLimit(env, 3)), 2)
    plain = WorldEnv(**DRAWN)
    for episode in range(2):
        frames, _ = env.reset(seed=4 if episode == 0 else None)
        seen = [plain.reset(seed=4 if episode == 0 else None)[0]]
        np.testing.assert_array_equal(frames, seen * 2)
        for step, action in enumerate(stirred.actions(1, 3)[:, 0], start=1):
            frames, _, terminated, truncated, info = env.step(action)
            seen.append(plain.step(action)[0])
            np.testing.assert_array_equal(frames, seen[-2:])
            assert (terminated, truncated) == (False, step == 3)
        assert info["episode"]["l"] == 3
    env.close()
    assert names(tmp_path) == ["episode-000000.mp4", "episode-000001.mp4"]
    assert len(list(read_video(tmp_path / "episode-000000.mp4"))) == 4


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_gymnasiums_wrappers_compose_with_the_vector_env(tmp_path, mode):
    env = WorldVectorEnv(LANES, autoreset_mode=mode, **toy(verifier=BrightColumn(target=3), horizon=2))
    env = wrappers.RecordEpisodeStatistics(StreamVectorVideo(env, tmp_path, lanes=[1]))
    env.reset(seed=0, options={"frame": picture(7)})
    env.step(np.tile(RIGHT, (LANES, 1)))
    infos = env.step(np.tile(RIGHT, (LANES, 1)))[4]
    np.testing.assert_array_equal(infos["episode"]["l"], 2)
    np.testing.assert_allclose(infos["episode"]["r"], 1 / 7 + 1 / 5, rtol=1e-5)
    env.close()
    assert "lane-001-episode-000000.mp4" in names(tmp_path)


def test_every_lane_can_be_a_wrapped_single_env():
    """FrameStack and TimeLimit act on single environments; `make_vec` puts them into each lane when it is told to run single ones."""
    env = gymnasium.make_vec(
        "worldsim/World-v0",
        num_envs=2,
        vectorization_mode="sync",
        wrappers=[lambda inner: TimeLimit(inner, 2), lambda inner: FrameStackObservation(inner, 3)],
        **DRAWN,
    )
    frames, _ = env.reset(seed=6)
    assert frames.shape == (2, 3, 32, 32, 3)
    alone = [WorldEnv(**DRAWN) for _ in range(2)]
    np.testing.assert_array_equal(frames[:, -1], [single.reset(seed=6 + lane)[0] for lane, single in enumerate(alone)])
    for truncated, actions in zip((False, True), stirred.actions(2, 2), strict=True):
        frames, _, _, truncations, _ = env.step(actions)
        np.testing.assert_array_equal(frames[:, -1], [single.step(action)[0] for single, action in zip(alone, actions, strict=True)])
        assert (truncations == truncated).all()
    env.close()
