"""`WorldEnv` on the toy world: the interface, the seeds, the verifier's word, the errors."""

import subprocess
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics, TimeLimit
from toy import SPEC, BrightColumn, PixelShift, Seeker, next_frame, picture, shift_task

from worldsim.envs.parts import build_parts, named_task
from worldsim.envs.world_env import WorldEnv
from worldsim.errors import DamagedFile, InvalidInput, WorldsimError
from worldsim.types import Start, Verdict

RIGHT = np.array([1.0, 0.0], dtype=np.float32)
STILL = np.zeros(2, dtype=np.float32)


def toy_env(**keywords) -> WorldEnv:
    return WorldEnv(**{"world_model": PixelShift(), "task": shift_task()} | keywords)


def video(env: WorldEnv, actions, **reset) -> np.ndarray:
    """Frames of one episode."""
    return np.stack([env.reset(**reset)[0], *(env.step(action)[0] for action in actions)])


class Scores:
    """A verifier that says what it is told, and keeps what it was shown."""

    def __init__(self, *scores):
        self.scores, self.shown = list(scores), []

    def judge(self, trajectories):
        self.shown += trajectories
        return [Verdict(self.scores[len(trajectory) - 1], f"after {len(trajectory)}") for trajectory in trajectories]


@pytest.mark.parametrize("verifier", [None, BrightColumn()])
def test_gymnasium_checks_it_without_a_warning(verifier):
    env = gym.make("worldsim/World-v0", world_model=PixelShift(), task=shift_task(), verifier=verifier)
    check_env(env.unwrapped)


def test_spaces_and_metadata_come_from_the_world_model():
    env = toy_env()
    assert env.observation_space == gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    assert env.metadata["render_fps"] == SPEC.fps


def test_frames_are_what_the_world_model_predicts():
    actions = [RIGHT, -RIGHT, STILL, RIGHT]
    env = toy_env()
    frames = video(env, actions, seed=3)
    seed = env.reset(seed=3)[1]["seed"]
    for index, action in enumerate(actions, start=1):
        np.testing.assert_array_equal(frames[index], next_frame(frames[index - 1], action, seed, index))


def test_same_seed_same_video_and_another_seed_another():
    actions = [RIGHT] * 5
    again = video(toy_env(), actions, seed=7)
    np.testing.assert_array_equal(video(toy_env(), actions, seed=7), again)
    assert not np.array_equal(video(toy_env(), actions, seed=8), again)


def test_an_unseeded_reset_draws_a_new_seed():
    assert toy_env().reset()[1]["seed"] != toy_env().reset()[1]["seed"]


def test_an_episode_does_not_depend_on_how_long_the_ones_before_were():
    short, long = toy_env(), toy_env()
    short.reset(seed=5), long.reset(seed=5)
    for steps in (0, 4):
        for _ in range(steps):
            long.step(RIGHT)
        first, second = short.reset(), long.reset()
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1] == second[1]
    np.testing.assert_array_equal(short.step(RIGHT)[0], long.step(RIGHT)[0])


def test_reset_with_a_seed_starts_the_sequence_again():
    env = toy_env()
    first = [env.reset(seed=5)[1], env.reset()[1], env.reset()[1]]
    assert [env.reset(seed=5)[1], env.reset()[1], env.reset()[1]] == first
    assert len({info["seed"] for info in first}) == 3


def test_every_start_of_the_task_is_drawn():
    env = toy_env()
    env.reset(seed=0)
    assert {env.reset()[1]["start"] for _ in range(40)} == {"column-1", "column-2", "column-4"}


def test_info_counts_frames_and_the_horizon_truncates():
    env = toy_env(horizon=3)
    frame, info = env.reset(seed=1)
    assert info.keys() == {"frame_index", "seed", "start"}
    assert info["frame_index"] == 0
    ends = [env.step(STILL)[1:] for _ in range(3)]
    assert [step[:3] for step in ends] == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]
    assert [step[3]["frame_index"] for step in ends] == [1, 2, 3]
    assert {step[3]["seed"] for step in ends} == {info["seed"]}


def test_the_horizon_is_the_tasks_by_default():
    env = toy_env(task=shift_task(horizon=2))
    env.reset()
    assert [env.step(STILL)[3] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 3), (4, 8, 8, 3)])
def test_an_episode_begins_at_the_last_of_the_given_frames(shape):
    given = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    frame, info = toy_env().reset(options={"frame": given})
    np.testing.assert_array_equal(frame, given.reshape(-1, 8, 8, 3)[-1])
    assert info["start"] == "given"


def test_a_given_frame_keeps_the_seed_of_the_episode():
    env = toy_env()
    assert env.reset(seed=4)[1]["seed"] == env.reset(seed=4, options={"frame": picture(0)})[1]["seed"]


def test_frames_are_never_aliased():
    given = picture(3)
    env = toy_env(render_mode="rgb_array", verifier=(judge := Scores(0.0, 0.0, 0.0)))
    first, _ = env.reset(seed=0, options={"frame": given})
    given[:] = first[:] = 0
    np.testing.assert_array_equal(env.render(), picture(3))
    env.render()[:] = 0
    second = env.step(STILL)[0]
    kept = second.copy()
    second[:] = 0
    env.step(STILL)
    np.testing.assert_array_equal(judge.shown[0].frames, [picture(3), kept])
    np.testing.assert_array_equal(judge.shown[1].frames[:2], [picture(3), kept])


def test_render_returns_the_last_frame_or_none_without_a_mode():
    env, blind = toy_env(render_mode="rgb_array"), toy_env()
    env.reset(seed=0), blind.reset(seed=0)
    np.testing.assert_array_equal(env.step(RIGHT)[0], env.render())
    assert blind.render() is None


def test_a_score_is_a_reward_and_success_terminates():
    env = toy_env(verifier=BrightColumn(target=5))
    frame, _ = env.reset(seed=0, options={"frame": picture(3)})
    first, second = env.step(RIGHT), env.step(RIGHT)
    assert first[1:4] == (pytest.approx(1 / 3), False, False)
    assert first[4]["verifier"] == {"score": pytest.approx(1 / 3), "reason": "1 columns away"}
    assert first[4]["success"] is first[4]["is_success"] is False
    assert second[1:4] == (1.0, True, False)
    assert second[4]["success"] is second[4]["is_success"] is True


def test_could_not_tell_rewards_nothing_and_says_so():
    env = toy_env(verifier=BrightColumn())
    env.reset(options={"frame": np.zeros((8, 8, 3), np.uint8)})
    reward, terminated, truncated, info = env.step(STILL)[1:]
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["verifier"] == {"score": None, "reason": "too dark to tell"}
    assert info["success"] is info["is_success"] is False


@pytest.mark.parametrize(("score", "end"), [(0.2, (False, True)), (None, (False, True)), (0.9, (True, False))])
def test_time_running_out_is_not_success_and_success_is_not_time_running_out(score, end):
    env = toy_env(verifier=Scores(0.0, score), horizon=2)
    env.reset()
    env.step(STILL)
    assert env.step(STILL)[2:4] == end


def test_the_verifier_sees_the_trajectory_so_far_and_it_stays_as_it_was():
    steps = 40
    env = toy_env(verifier=(judge := Scores(*[0.0] * steps)), horizon=steps)
    actions = [RIGHT if step % 3 else STILL for step in range(steps)]
    frames = video(env, actions, seed=9)
    info = env.reset(seed=9)[1]
    assert [len(trajectory) for trajectory in judge.shown] == list(range(1, steps + 1))
    for trajectory in judge.shown:
        np.testing.assert_array_equal(trajectory.frames, frames[: len(trajectory) + 1])
        np.testing.assert_array_equal(trajectory.actions, actions[: len(trajectory)])
        assert (trajectory.task_id, trajectory.seed, trajectory.start_id) == ("shift", info["seed"], info["start"])
    with pytest.raises(ValueError, match="read-only"):
        judge.shown[0].frames[:] = 0


def test_the_toy_policy_solves_the_toy_task():
    env, policy = toy_env(verifier=BrightColumn()), Seeker()
    for _ in range(6):
        frame, _ = env.reset()
        ended = False
        while not ended:
            frame, reward, terminated, truncated, _ = env.step(policy.act(frame[None], [0])[0])
            ended = terminated or truncated
        assert (reward, terminated) == (1.0, True)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan, 0], '"right" of lane 0 is nan'),
        ([1.5, 0], r'"right" of lane 0 is 1.5, expected a number in \[-1, 1\]'),
        ([-1.5, 0], r'"right" of lane 0 is -1.5, expected a number in \[-1, 1\]'),
        ([np.inf, 0], '"right" of lane 0 is inf'),
        ([0.0, 0.0, 0.0], r"shape \[1, 3\], expected \[1, 2\] for right, unused"),
        (0.5, r"shape \[1\], expected \[1, 2\]"),
        ([[0.0, 0.0]], r"shape \[1, 1, 2\], expected \[1, 2\]"),
        ("left", r"actions are \['left'\], expected numbers"),
        ([[0.0], [0.0, 0.0]], "expected numbers"),
        (None, r"shape \[1\], expected \[1, 2\]"),
    ],
)
def test_a_wrong_action_is_refused_in_one_line_and_changes_nothing(action, message):
    env = toy_env()
    env.reset(seed=2)
    with pytest.raises(InvalidInput, match=message) as caught:
        env.step(action)
    assert "\n" not in str(caught.value)
    other = toy_env()
    other.reset(seed=2)
    np.testing.assert_array_equal(env.step(RIGHT)[0], other.step(RIGHT)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": picture(0)}, 'unknown reset option "frames"; did you mean "frame"?'),
        ({"frame": np.zeros((9, 8, 3), np.uint8)}, r'reset option "frame": frames have shape \[1, 1, 9, 8, 3\]'),
        ({"frame": np.zeros((8, 8), np.uint8)}, r'reset option "frame": frames have shape \[8, 8\]'),
        ({"frame": np.zeros((8, 8, 3))}, 'reset option "frame": frames have dtype float64, expected uint8'),
        ({"frame": np.zeros((2, 1, 8, 8, 3), np.uint8)}, 'reset option "frame" has 2 rows, expected 1'),
    ],
)
def test_wrong_reset_options_are_refused_in_one_line(options, message):
    with pytest.raises(WorldsimError, match=message) as caught:
        toy_env().reset(options=options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 1.5, "one"])
def test_a_wrong_seed_is_refused(seed):
    with pytest.raises(InvalidInput, match="expected a whole number, 0 or more"):
        toy_env().reset(seed=seed)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"verifer": None}, 'no keyword "verifer"; did you mean "verifier"?'),
        ({"render_mode": "rgb_aray"}, 'unknown render_mode "rgb_aray"; did you mean "rgb_array"?'),
        ({"horizon": 0}, "horizon is 0, expected a whole number"),
        ({"horizon": 2.5}, "horizon is 2.5, expected a whole number"),
        ({"steps": 3}, "steps=3 is for a world model given by name or path"),
        ({"window": 8}, "window=8 is for a world model given by name or path"),
        ({"precision": "fp32"}, "precision='fp32' is for a world model given by name or path"),
        ({"precision": "fp16"}, 'unknown precision "fp16"; did you mean "bf16"?'),
        ({"determinism": "strikt"}, 'unknown determinism "strikt"; did you mean "strict"?'),
        ({"device": "cuda"}, "device='cuda' is for a world model given by name or path"),
        (
            {"task": replace(shift_task(), starts=(Start("big", np.zeros((1, 9, 9, 3), np.uint8)),))},
            'start "big" of task "shift" does not fit',
        ),
    ],
)
def test_wrong_keywords_are_refused_in_one_line(keywords, message):
    with pytest.raises(WorldsimError) as caught:
        toy_env(**keywords)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_without_starts_needs_a_frame():
    env = toy_env(task=replace(shift_task(), starts=()))
    with pytest.raises(InvalidInput, match='task "shift" has no starts; pass reset'):
        env.reset()
    np.testing.assert_array_equal(env.reset(options={"frame": picture(2)})[0], picture(2))


def test_step_and_render_need_a_reset_and_a_finished_episode_needs_another():
    env = toy_env(horizon=1, render_mode="rgb_array")
    for call in (lambda: env.step(STILL), env.render):
        with pytest.raises(ResetNeeded):
            call()
    env.reset()
    env.step(STILL)
    with pytest.raises(ResetNeeded, match="is over"):
        env.step(STILL)


def test_names_are_loaded_with_the_sampler_keywords_and_objects_are_not(monkeypatch):
    seen = {}
    loaders = type(sys)("worldsim.load")
    loaders.load_world_model = lambda name, **options: seen.update(world_model=(name, options)) or PixelShift()
    loaders.load_task = lambda name, camera: seen.update(task=name) or shift_task()
    loaders.load_verifier = lambda name: seen.update(verifier=name) or BrightColumn()
    monkeypatch.setitem(sys.modules, "worldsim.load", loaders)
    sampler = {"steps": 4, "guidance": 1.5, "history": "window", "window": 8, "anchor": "window", "rescale": 0.7, "rescale_over": "frame"}
    sampler |= {"eta": 1.0, "history_level": 0.1, "device": "meta", "precision": "bf16"}
    build_parts({"world_model": "drawer", "verifier": "classifier", **sampler})
    assert seen == {"world_model": ("drawer", sampler), "task": "drawer", "verifier": "classifier"}
    seen.clear()
    model, task, verifier = PixelShift(), shift_task(), BrightColumn()
    parts = build_parts({"world_model": model, "task": task, "verifier": verifier})
    assert (parts.world_model, parts.task, parts.verifier) == (model, task, verifier)
    assert seen == {}


def test_the_default_task_is_the_one_that_the_folder_names(tmp_path):
    assert named_task("drawer") == named_task(tmp_path) == named_task(PixelShift()) == "drawer"
    (tmp_path / "config.json").write_text('{"task": "shift"}')
    assert named_task(tmp_path) == named_task(str(tmp_path)) == "shift"
    (tmp_path / "config.json").write_text('["shift"]')
    with pytest.raises(DamagedFile, match="is not the JSON object of a world model"):
        named_task(tmp_path)


def test_make_passes_objects_through_and_wrappers_compose():
    model = PixelShift()
    env = gym.make("worldsim/Drawer-v0", world_model=model, task=shift_task(), verifier=BrightColumn(), render_mode="rgb_array")
    assert env.unwrapped.world_model is model
    env = FrameStackObservation(RecordEpisodeStatistics(TimeLimit(env, 2)), 3)
    frames, _ = env.reset(seed=0, options={"frame": picture(2)})
    assert frames.shape == (3, 8, 8, 3)
    assert env.step(STILL)[3] is False
    frames, reward, terminated, truncated, info = env.step(RIGHT)
    assert (terminated, truncated) == (False, True)
    assert info["episode"]["l"] == 2
    assert info["episode"]["r"] == pytest.approx(1 / 7 + 1 / 5)
    np.testing.assert_array_equal(frames[-1], env.render())


def test_ids_are_known_after_the_import_that_the_id_names():
    code = """
import sys, gymnasium
gymnasium.spec("CartPole-v1")
from gymnasium.envs.registration import _find_spec
import worldsim.envs
for id in ("worldsim/World-v0", "worldsim/Drawer-v0", "worldsim:worldsim/Drawer-v0", "worldsim.envs:worldsim/DrawerTruth-v0"):
    assert _find_spec(id).namespace == "worldsim"
heavy = [name for name in ("torch", "mujoco", "worldsim.load", "worldsim.envs.world_env") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
