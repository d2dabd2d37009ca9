"""`WorldVectorEnv` on the toy world: each lane is a `WorldEnv`, and each autoreset mode does what `SyncVectorEnv` does."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers
from toy import BrightColumn, PixelShift, picture, shift_task

from worldsim.envs.world_env import WorldEnv
from worldsim.envs.world_vector_env import WorldVectorEnv
from worldsim.errors import WorldsimError

LANES = 4
RIGHT = np.tile(np.array([1.0, 0.0], dtype=np.float32), (LANES, 1))


def toy_venv(**keywords) -> WorldVectorEnv:
    return WorldVectorEnv(**{"num_envs": LANES, "world_model": PixelShift(), "task": shift_task()} | keywords)


def actions_for(steps: int) -> np.ndarray:
    """float32 `[steps, LANES, 2]`."""
    return np.random.default_rng(1).uniform(-1, 1, (steps, LANES, 2)).astype(np.float32)


def assert_same(first, second):
    assert data_equivalence(first, second, exact=True), f"{first} is not {second}"


@pytest.mark.parametrize("seed", [11, [3, 1, 4, 1]])
def test_a_lane_is_the_single_env_of_its_seed(seed):
    venv, actions = toy_venv(verifier=BrightColumn(target=0), horizon=9), actions_for(5)
    frames = [venv.reset(seed=seed)[0], *(venv.step(action)[0] for action in actions)]
    for lane, lane_seed in enumerate([11, 12, 13, 14] if seed == 11 else seed):
        env = WorldEnv(world_model=PixelShift(), task=shift_task(), verifier=BrightColumn(target=0), horizon=9)
        single = [env.reset(seed=lane_seed)[0]]
        for action in actions[:, lane]:
            frame, _, terminated, _, _ = env.step(action)
            single.append(frame)
            if terminated:
                break
        np.testing.assert_array_equal(single, np.stack(frames)[: len(single), lane])


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("verifier", [None, BrightColumn(target=3)])
def test_every_mode_does_what_gymnasium_does_with_single_envs(mode, verifier):
    keywords = {"world_model": PixelShift(), "task": shift_task(), "verifier": verifier, "horizon": 4}
    ours = WorldVectorEnv(LANES, autoreset_mode=mode, **keywords)
    theirs = SyncVectorEnv([lambda: WorldEnv(**keywords)] * LANES, autoreset_mode=mode)
    assert_same(ours.reset(seed=20), theirs.reset(seed=20))
    ended = 0
    for action in actions_for(30):
        mine, reference = ours.step(action), theirs.step(action)
        assert_same(mine, reference)
        done = mine[2] | mine[3]
        ended += done.sum()
        if mode is AutoresetMode.DISABLED and done.any():
            assert_same(ours.reset(options={"reset_mask": done}), theirs.reset(options={"reset_mask": done.copy()}))
    assert ended > LANES
    theirs.close()


def test_next_step_ignores_the_action_of_a_waiting_lane():
    env = toy_venv(horizon=1)
    env.reset(seed=0)
    assert env.step(RIGHT)[3].all()
    _, rewards, terminations, truncations, infos = env.step(np.full((LANES, 2), np.nan, dtype=np.float32))
    for column in (rewards, terminations, truncations):
        np.testing.assert_array_equal(column, 0)
    np.testing.assert_array_equal(infos["frame_index"], 0)
    np.testing.assert_array_equal(env.step(RIGHT)[4]["frame_index"], 1)


def test_same_step_hands_out_the_last_frame_and_its_info():
    env = toy_venv(autoreset_mode="SameStep", verifier=BrightColumn(target=3), horizon=3)
    env.reset(seed=0, options={"frame": np.stack([[picture(2)], [picture(7)], [picture(6)], [picture(7)]])})
    frames, rewards, terminations, _, infos = env.step(RIGHT)
    np.testing.assert_array_equal(terminations, [True, False, False, False])
    np.testing.assert_array_equal(rewards, [1.0, 1 / 7, 1 / 9, 1 / 7])
    np.testing.assert_array_equal(infos["_final_obs"], terminations)
    np.testing.assert_array_equal(infos["_final_info"], terminations)
    assert infos["final_obs"][0].mean(axis=(0, 2)).argmax() == 3
    assert infos["final_obs"][1] is None
    assert infos["final_info"]["success"][0]
    assert infos["final_info"]["frame_index"][0] == 1
    np.testing.assert_array_equal(infos["frame_index"], [0, 1, 1, 1])
    np.testing.assert_array_equal(infos["_success"], ~terminations)


def test_disabled_refuses_a_lane_that_is_over():
    env = toy_venv(autoreset_mode=AutoresetMode.DISABLED, horizon=1)
    env.reset(seed=0)
    env.step(RIGHT)
    env.reset(options={"reset_mask": np.array([True, True, False, True])})
    with pytest.raises(ResetNeeded, match=r"lanes \[2\] is over"):
        env.step(RIGHT)


@pytest.mark.parametrize("options", [{}, {"frame": np.stack([picture(5)] * 4)}])
def test_resetting_a_lane_leaves_the_others_bit_identical(options):
    reset, untouched = toy_venv(), toy_venv()
    reset.reset(seed=2), untouched.reset(seed=2)
    reset.step(RIGHT), untouched.step(RIGHT)
    reset.reset(options={"reset_mask": np.array([False, True, False, False])} | options)
    for _ in range(3):
        frames, others = reset.step(RIGHT)[0], untouched.step(RIGHT)[0]
        np.testing.assert_array_equal(frames[[0, 2, 3]], others[[0, 2, 3]])
        assert not np.array_equal(frames[1], others[1])


def test_a_masked_reset_with_a_seed_seeds_the_masked_lanes_only():
    env = toy_venv()
    _, before = env.reset(seed=0)
    _, infos = env.reset(seed=50, options={"reset_mask": np.array([False, False, True, False])})
    np.testing.assert_array_equal(infos["_seed"], [False, False, True, False])
    single = WorldEnv(world_model=PixelShift(), task=shift_task())
    assert infos["seed"][2] == single.reset(seed=52)[1]["seed"]
    single.reset(seed=0)
    assert env.reset()[1]["seed"][0] == single.reset()[1]["seed"]


def test_one_batched_call_a_step_and_none_when_every_lane_only_resets():
    model = PixelShift()
    env = toy_venv(world_model=model, horizon=2)
    env.reset(seed=0)
    for _ in range(3):
        env.step(RIGHT)
    assert model.calls == [LANES, LANES]


def test_starts_with_histories_of_different_lengths_share_a_batch():
    task = shift_task()
    short = tuple(replace(start, id=f"{start.id}-short", frames=start.frames[:1]) for start in task.starts)
    mixed = replace(task, starts=task.starts + short)
    env = toy_venv(task=mixed)
    _, infos = env.reset(seed=6)
    assert len({name.endswith("short") for name in infos["start"]}) == 2
    for lane in range(LANES):
        single = WorldEnv(world_model=PixelShift(), task=mixed)
        single.reset(seed=6 + lane)
        env.reset(seed=6)
        np.testing.assert_array_equal(env.step(RIGHT)[0][lane], single.step(RIGHT[lane])[0])


@pytest.mark.parametrize("dark", [0, 1])
def test_could_not_tell_is_nan_in_the_array_of_scores(dark):
    images = np.stack([[picture(3)]] * LANES)
    images[dark] = 0
    env = toy_venv(verifier=BrightColumn(target=3))
    env.reset(seed=0, options={"frame": images})
    _, rewards, _, _, infos = env.step(np.zeros((LANES, 2), dtype=np.float32))
    expected = np.where(np.arange(LANES) == dark, np.nan, 1.0)
    assert infos["verifier"]["score"].dtype == np.float64
    np.testing.assert_array_equal(infos["verifier"]["score"], expected)
    np.testing.assert_array_equal(rewards, np.nan_to_num(expected))


def test_frames_are_never_aliased():
    env = toy_venv(render_mode="rgb_array", autoreset_mode="SameStep", horizon=1)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second, *_, infos = env.step(RIGHT)
    np.testing.assert_array_equal(first, kept)
    finals = [frame.copy() for frame in infos["final_obs"]]
    kept = second.copy()
    env.render()[0][:] = 0
    second[:] = 0
    np.testing.assert_array_equal(env.render(), kept)
    env.step(RIGHT)
    np.testing.assert_array_equal(np.stack(list(infos["final_obs"])), finals)


@pytest.mark.parametrize("id", ["worldsim/World-v0", "worldsim/Drawer-v0", "worldsim.envs:worldsim/Drawer-v0"])
def test_make_vec_takes_the_batched_env(id):
    model = PixelShift()
    env = gym.make_vec(id, num_envs=3, world_model=model, task=shift_task(), autoreset_mode="Disabled")
    assert isinstance(env, WorldVectorEnv)
    assert env.world_model is model
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert env.observation_space.shape == (3, 8, 8, 3)
    assert env.reset(seed=0)[0] in env.observation_space
    assert env.action_space.sample().shape == (3, 2)


def test_make_vec_can_still_be_told_to_run_single_envs():
    env = gym.make_vec("worldsim/World-v0", num_envs=2, vectorization_mode="sync", world_model=PixelShift(), task=shift_task())
    ours = gym.make_vec("worldsim/World-v0", num_envs=2, world_model=PixelShift(), task=shift_task())
    assert_same(env.reset(seed=3), ours.reset(seed=3))
    assert_same(env.step(RIGHT[:2]), ours.step(RIGHT[:2]))
    env.close()


def test_vector_wrappers_compose():
    env = wrappers.RecordEpisodeStatistics(toy_venv(autoreset_mode="SameStep", verifier=BrightColumn(target=3), horizon=2))
    env.reset(seed=0, options={"frame": picture(7)})
    env.step(RIGHT)
    infos = env.step(RIGHT)[4]
    np.testing.assert_array_equal(infos["episode"]["l"], 2)
    np.testing.assert_allclose(infos["episode"]["r"], 1 / 7 + 1 / 5, rtol=1e-5)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0, expected a whole number"),
        ({"autoreset_mode": "SameSteps"}, 'unknown autoreset_mode "SameSteps"; did you mean "SameStep"?'),
        ({"render_mode": "human"}, 'unknown render_mode "human"'),
        ({"guidanc": 1.0}, 'no keyword "guidanc"; did you mean "guidance"?'),
    ],
)
def test_wrong_keywords_are_refused_in_one_line(keywords, message):
    with pytest.raises(WorldsimError) as caught:
        toy_venv(**keywords)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({"options": {"mask": None}}, 'unknown reset option "mask"'),
        ({"options": {"reset_mask": np.ones(3, dtype=bool)}}, 'reset option "reset_mask" is bool [3], expected bool [4]'),
        ({"options": {"reset_mask": np.zeros(4, dtype=bool)}}, "at least one True"),
        ({"options": {"reset_mask": [1, 0, 0, 1]}}, 'reset option "reset_mask" is int64 [4]'),
        ({"options": {"frame": np.zeros((3, 1, 8, 8, 3), np.uint8)}}, 'reset option "frame" has 3 rows, expected 1 or 4'),
        (
            {"options": {"frame": np.zeros((4, 1, 8, 9, 3), np.uint8)}},
            "frames have shape [4, 1, 8, 9, 3], expected [lanes, frames, 8, 8, 3]",
        ),
        ({"options": {"frame": np.zeros((4, 1, 8, 8, 3), np.float32)}}, "frames have dtype float32, expected uint8"),
        ({"seed": [1, 2]}, "2 seeds are given for 4 lanes"),
        ({"seed": -3}, "seed is -3, expected a whole number"),
    ],
)
def test_wrong_resets_are_refused_in_one_line(reset, message):
    with pytest.raises(WorldsimError) as caught:
        toy_venv().reset(**reset)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [3, 5])
def test_actions_need_a_row_per_lane(rows):
    env = toy_venv()
    env.reset()
    with pytest.raises(WorldsimError, match=rf"shape \[{rows}, 2\], expected \[4, 2\]"):
        env.step(np.zeros((rows, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, '"unused" of lane 2 is nan'), (-1.01, '"unused" of lane 2 is -1.01'), ("left", "expected numbers")]
)
def test_a_wrong_action_of_one_lane_is_named_and_changes_nothing(value, message):
    env, other = toy_venv(), toy_venv()
    env.reset(seed=0), other.reset(seed=0)
    actions = RIGHT.tolist()
    actions[2][1] = value
    with pytest.raises(WorldsimError, match=message) as caught:
        env.step(actions)
    assert "\n" not in str(caught.value)
    assert_same(env.step(RIGHT), other.step(RIGHT))


def test_step_render_and_a_partial_reset_need_a_first_reset():
    env = toy_venv(render_mode="rgb_array")
    mask = {"reset_mask": np.array([True, False, True, True])}
    for call in (lambda: env.step(RIGHT), env.render, lambda: env.reset(options=mask)):
        with pytest.raises(ResetNeeded):
            call()
