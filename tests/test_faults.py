"""A lane whose world breaks is found, ends unscored and never as a failure, and its batch-mates do not notice: in environments."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import stirred
import torch
from breaking import Stuck, poison
from gymnasium.vector import AutoresetMode
from toy import PixelShift, shift_task

from worldsim.envs.world_env import WorldEnv
from worldsim.envs.world_vector_env import WorldVectorEnv
from worldsim.errors import WorldsimError
from worldsim.experiments.continuations import continue_stepwise
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.simulator.world_model import NOT_NUMBERS
from worldsim.types import Start, Task, Verdict
from worldsim.wrappers import FROZEN, PATIENCE

LANES = 4
RIGHT = np.tile(np.array([1.0, 0.0], dtype=np.float32), (LANES, 1))
TASK = Task("drawn", "do something", 20, tuple(Start(str(i), frames, i) for i, frames in enumerate(stirred.pictures(3))))


class Always:
    """A judge that calls everything a success at the horizon of `wait` steps, and counts what it is shown."""

    def __init__(self, wait: int = 99) -> None:
        self.wait, self.shown = wait, 0

    def judge(self, trajectories):
        self.shown += len(trajectories)
        return [Verdict(float(len(each) >= self.wait), "by the clock") for each in trajectories]


def video(model: VideoWorldModel, lanes: int, steps: int) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Frames `[steps, B, H, W, 3]` and the faults after each step, of episodes with the seeds 0, 1, 2, ..."""
    state, frames, faults = model.start(stirred.pictures(lanes), np.arange(lanes, dtype=np.uint64)), [], []
    for action in stirred.actions(lanes, steps):
        state, shown = model.step(state, action)
        frames.append(shown)
        faults.append(state.faults)
    return np.stack(frames), faults


@pytest.mark.parametrize("history", ["stream", "block", "window", "recompute"])
def test_numbers_that_are_none_stay_in_their_lane_and_are_all_found(history):
    lanes, steps, rng = 6, 9, np.random.default_rng(3)
    breaks = {int(lane): int(rng.integers(1, steps + 1)) for lane in rng.choice(lanes, 4, replace=False)}
    expected, none = video(stirred.world_model(history=history, guidance=1.5), lanes, steps)
    shown, faults = video(poison(stirred.world_model(history=history, guidance=1.5), breaks), lanes, steps)
    assert {line for row in none for line in row} == {""}
    for lane in range(lanes):
        first = next((step for step, row in enumerate(faults, start=1) if row[lane]), None)
        assert first == breaks.get(lane)
        sound = steps if first is None else first - 1
        np.testing.assert_array_equal(shown[:sound, lane], expected[:sound, lane])
        if first is not None:
            assert {row[lane] for row in faults[first - 1 :]} == {NOT_NUMBERS}
    assert len(breaks) == 4


def test_a_broken_lane_keeps_its_last_sound_frame_and_may_begin_anew():
    model, fresh = poison(stirred.world_model(), {1: 3}), stirred.world_model()
    shown, _ = video(model, 2, 3)
    np.testing.assert_array_equal(shown[2, 1], shown[1, 1])
    state = model.start(stirred.pictures(2), np.arange(2, dtype=np.uint64))
    for action in stirred.actions(2, 4):
        state, _ = model.step(state, action)
    again = stirred.pictures(2)[1:]
    state = state.merge([1], model.start(again, np.array([7], dtype=np.uint64)))
    alone = fresh.start(again, np.array([7], dtype=np.uint64))
    assert state.faults == ("", "")
    for action in stirred.actions(2, 3):
        state, frames = model.step(state, action)
        alone, expected = fresh.step(alone, action[1:])
        assert np.abs(frames[1].astype(int) - expected[0]).max() <= 1


@pytest.mark.parametrize("history", ["stream", "block", "window", "recompute"])
def test_features_that_are_no_numbers_reach_no_other_lane_and_leave_with_their_episode(history):
    """What is remembered of a lane is poisoned, not what comes out: its batch-mates keep their bits, and a new episode in it is clean."""
    model, actions, broken = stirred.world_model(history=history, guidance=1.5), stirred.actions(3, 9), []
    clean = state = model.start(stirred.pictures(3), np.arange(3, dtype=np.uint64))
    for number, action in enumerate(actions):
        if number == 2:
            held = state.held.clone()
            held[1] = torch.nan
            state = replace(state, held=held)
        if number == 5:
            fresh = model.start(stirred.pictures(1, seed=4), np.array([7], dtype=np.uint64))
            state, clean = state.merge([1], fresh), clean.merge([1], fresh)
        state, frames = model.step(state, action)
        clean, expected = model.step(clean, action)
        broken.append(state.faults[1])
        lanes = [0, 2] if number < 5 else [0, 1, 2]
        np.testing.assert_array_equal(frames[lanes], expected[lanes])
        assert state.faults[::2] == ("", "")
    assert broken == [""] * 2 + [NOT_NUMBERS] * 3 + [""] * 4


def test_pixels_that_are_no_numbers_are_found_too():
    model = stirred.world_model()
    decode = model.autoencoder.decode
    model.autoencoder.decode = lambda latents: torch.where(torch.arange(len(latents))[:, None, None, None] == 1, torch.inf, decode(latents))
    shown, faults = video(model, 3, 2)
    assert faults[0] == ("", NOT_NUMBERS, "")
    np.testing.assert_array_equal(shown[:, [0, 2]], video(stirred.world_model(), 3, 2)[0][:, [0, 2]])


def test_what_measures_frames_refuses_broken_ones():
    model = poison(stirred.world_model(), {1: 2})
    with pytest.raises(WorldsimError, match="lane 1: the network made frames that are not numbers; try precision=fp32"):
        continue_stepwise(model, stirred.pictures(2), stirred.actions(2, 3).swapaxes(0, 1), [0, 1])
    jointly = VideoWorldModel(stirred.SPEC, stirred.network(), stirred.autoencoder(), Sampler(history="recompute"))
    jointly.denoiser.frames_ahead = lambda state, actions: torch.full((1, 2, *jointly.network.latent_shape), torch.nan)
    with pytest.raises(WorldsimError, match="not numbers"):
        jointly.imagine_jointly(stirred.pictures(1), stirred.actions(1, 2).swapaxes(0, 1), np.array([0]))


def seed_of(env_seed: int) -> int:
    """The seed of the first episode of an environment that is reset with `env_seed`."""
    return WorldEnv(world_model=PixelShift(), task=shift_task()).reset(seed=env_seed)[1]["seed"]


@pytest.mark.parametrize("verifier", [None, Always()])
def test_a_single_env_is_truncated_unscored_and_unrewarded(verifier):
    seed = seed_of(5)
    env = WorldEnv(world_model=poison(stirred.world_model(), {seed: 2}), task=TASK, verifier=verifier)
    env.reset(seed=5)
    before = env.step(np.zeros(3, dtype=np.float32))
    frame, reward, terminated, truncated, info = env.step(np.zeros(3, dtype=np.float32))
    assert "unscored" not in before[4]
    assert (reward, terminated, truncated, info["unscored"]) == (0.0, False, True, NOT_NUMBERS)
    assert frame in env.observation_space
    if verifier is None:
        assert "success" not in info
    else:
        assert verifier.shown == 1
        assert info["verifier"] == {"score": None, "reason": NOT_NUMBERS}
        assert not info["success"]
        assert not info["is_success"]
    env.reset()
    assert env.step(np.zeros(3, dtype=np.float32))[2:4] == (False, False)


def test_a_broken_world_is_no_success_even_where_the_judge_would_say_so():
    env = WorldEnv(world_model=poison(stirred.world_model(), {seed_of(5): 1}), task=TASK, verifier=Always(wait=0))
    env.reset(seed=5)
    _, reward, terminated, truncated, info = env.step(np.zeros(3, dtype=np.float32))
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, True, False)


@pytest.mark.parametrize("determinism", ["fast", "strict"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_lane_of_a_batch_ends_alone(mode, determinism):
    seeds = [seed_of(5 + lane) for lane in range(LANES)]
    broken, sound = (
        WorldVectorEnv(
            LANES,
            autoreset_mode=mode,
            verifier=Always(),
            task=TASK,
            world_model=poison(stirred.world_model(), breaks),
            determinism=determinism,
        )
        for breaks in ({seeds[1]: 2, seeds[3]: 4}, {})
    )
    broken.reset(seed=5), sound.reset(seed=5)
    for number, action in enumerate(stirred.actions(LANES, 6), start=1):
        frames, rewards, terminations, truncations, infos = broken.step(action)
        expected = sound.step(action)[0]
        np.testing.assert_array_equal(frames[[0, 2]], expected[[0, 2]])
        assert truncations.tolist() == [False, number == 2, False, number == 4]
        assert not terminations.any()
        assert not rewards.any()
        said = infos["final_info"] if mode is AutoresetMode.SAME_STEP and truncations.any() else infos
        assert [*said.get("_unscored", [False] * LANES)] == truncations.tolist()
        if truncations.any():
            assert said["unscored"][truncations][0] == NOT_NUMBERS
            assert np.isnan(said["verifier"]["score"][truncations]).all()
            assert not said["success"][truncations].any()
        if mode is AutoresetMode.DISABLED and truncations.any():
            broken.reset(options={"reset_mask": truncations})


def test_a_frozen_lane_ends_alone_and_a_still_policy_does_not_freeze():
    seeds = [seed_of(5 + lane) for lane in range(LANES)]
    stuck = WorldVectorEnv(LANES, world_model=Stuck(PixelShift(), {seeds[1]: 2}), task=shift_task(20), verifier=Always())
    sound = WorldVectorEnv(LANES, world_model=PixelShift(), task=shift_task(20), verifier=Always())
    for still in (True, False):
        stuck.reset(seed=5), sound.reset(seed=5)
        for number in range(1, 6):
            frames, rewards, terminations, truncations, infos = stuck.step(0 * RIGHT if still else RIGHT)
            np.testing.assert_array_equal(frames[[0, 2, 3]], sound.step(0 * RIGHT if still else RIGHT)[0][[0, 2, 3]])
            broken = number == 2 + PATIENCE - 1 and not still
            assert truncations.tolist() == [False, broken, False, False]
            assert infos.get("unscored", [None] * LANES)[1] == (FROZEN if broken else None)
            assert rewards[1] == 0 or not broken
            assert not terminations.any()


def test_wrappers_of_gymnasium_take_an_unscored_episode():
    env = gymnasium.wrappers.RecordEpisodeStatistics(
        gymnasium.make("worldsim/World-v0", world_model=poison(stirred.world_model(), {seed_of(5): 2}), task=TASK)
    )
    env.reset(seed=5)
    env.step(np.zeros(3, dtype=np.float32))
    info = env.step(np.zeros(3, dtype=np.float32))[4]
    assert (info["episode"]["l"], info["unscored"]) == (2, NOT_NUMBERS)
