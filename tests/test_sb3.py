"""The Stable-Baselines3 adapter says what `DummyVecEnv` says of single environments, with one model call a step, and agents learn on it."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import tiny
from breaking import Stuck
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor
from toy import BrightColumn, PixelShift, Seeker, picture, shift_task

import worldsim
from worldsim.envs.sb3 import WorldVecEnv
from worldsim.envs.world_env import WorldEnv
from worldsim.envs.world_vector_env import WorldVectorEnv
from worldsim.errors import WorldsimError
from worldsim.types import Start, Task, Verdict
from worldsim.wrappers import FROZEN, PATIENCE

pytestmark = pytest.mark.slow  # as a file

LANES, SIZE = 3, 48  # Stable-Baselines3's CnnPolicy needs 36 x 36


def toy(**keywords) -> dict:
    """Keywords of a toy world."""
    return {"world_model": PixelShift(), "task": shift_task()} | keywords


def moves(steps: int, size: int = 2, lanes: int = LANES) -> np.ndarray:
    """float32 `[steps, lanes, size]` in [-1, 1]."""
    return np.random.default_rng(1).uniform(-1, 1, (steps, lanes, size)).astype(np.float32)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> dict:
    """Keywords of a small random video model of 48 x 48 frames, and a task of five pictures."""
    model = worldsim.load_world_model(tiny.world_model(tmp_path_factory.mktemp("world"), size=SIZE), precision="fp32")
    frames = np.random.default_rng(0).integers(0, 256, (5, 1, SIZE, SIZE, 3), dtype=np.uint8)
    starts = tuple(Start(f"{index}", each, index) for index, each in enumerate(frames))
    return {"world_model": model, "task": Task("drawn", "do something", 4, starts)}


class Parity:
    """The judge of the drawn world: an episode whose last frame has an even first pixel has succeeded."""

    def judge(self, trajectories):
        return [Verdict(float(each.frames[-1][0, 0, 0] % 2 == 0), "parity") for each in trajectories]


def played(env, actions: np.ndarray) -> list:
    """Everything that a `VecEnv` says over these actions."""
    return [[env.reset(), [*env.reset_infos]], *([*env.step(action), [*env.reset_infos]] for action in actions)]


def assert_same(mine, theirs):
    assert data_equivalence(mine, theirs, exact=True), f"{mine} is not {theirs}"


@pytest.mark.parametrize("verifier", [None, BrightColumn(target=3)])
@pytest.mark.parametrize("seed", [20, 0])
def test_it_says_what_dummy_vec_env_says_of_single_envs(verifier, seed):
    ours = WorldVecEnv(LANES, **toy(verifier=verifier, horizon=4))
    theirs = DummyVecEnv([lambda: WorldEnv(**toy(verifier=verifier, horizon=4))] * LANES)
    assert ours.seed(seed) == theirs.seed(seed) == [seed, seed + 1, seed + 2]
    for _ in range(2):  # the second reset goes on to the next episodes
        for mine, reference in zip(played(ours, moves(15)), played(theirs, moves(15)), strict=True):
            assert_same([*mine], [*reference])
            assert [type(each) for each in mine] == [type(each) for each in reference]
            assert [getattr(each, "dtype", None) for each in mine] == [getattr(each, "dtype", None) for each in reference]


def test_seeds_and_options_are_used_once_as_by_dummy_vec_env():
    ours, theirs = WorldVecEnv(LANES, **toy()), DummyVecEnv([lambda: WorldEnv(**toy())] * LANES)
    for options in ({"frame": picture(6)}, [{"frame": picture(column)} for column in range(LANES)], [{}, {"frame": picture(0)}, {}]):
        for env in (ours, theirs):
            env.seed(9)
            env.set_options(options)
        for _ in range(2):
            assert_same([ours.reset(), ours.reset_infos], [theirs.reset(), theirs.reset_infos])


def test_a_lane_is_the_single_env_of_seed_plus_lane(drawn):
    env, actions = WorldVecEnv(LANES, **drawn), moves(9, size=3)
    env.seed(5)
    (begun, _), *steps = played(env, actions)
    for lane in range(LANES):
        single = WorldEnv(**drawn)
        np.testing.assert_array_equal(begun[lane], single.reset(seed=5 + lane)[0])
        for action, (frames, _, dones, infos, fresh) in zip(actions[:, lane], steps, strict=True):
            frame, _, _, truncated, info = single.step(action)
            assert dones[lane] == truncated
            assert infos[lane].items() >= info.items()
            shown = infos[lane]["terminal_observation"] if truncated else frames[lane]
            assert np.abs(shown.astype(int) - frame).max() <= 1  # a batch of another size may round another way
            if truncated:
                frame, info = single.reset()
                np.testing.assert_array_equal(frames[lane], frame)
                assert fresh[lane] == info


def test_one_lane_is_the_single_env_bit_by_bit(drawn):
    env, single = WorldVecEnv(1, verifier=Parity(), **drawn), WorldEnv(verifier=Parity(), **drawn)
    env.seed(3)
    np.testing.assert_array_equal(env.reset()[0], single.reset(seed=3)[0])
    for action in moves(10, size=3, lanes=1):
        frames, rewards, dones, infos = env.step(action)
        frame, reward, terminated, truncated, info = single.step(action[0])
        assert (rewards[0], dones[0]) == (reward, terminated or truncated)
        if dones[0]:
            assert infos[0]["TimeLimit.truncated"] == truncated != terminated
            np.testing.assert_array_equal(infos[0]["terminal_observation"], frame)
            frame, info = single.reset()
            assert env.reset_infos[0] == info
        np.testing.assert_array_equal(frames[0], frame)


def test_the_batch_is_that_of_the_vector_env_bit_by_bit(drawn):
    env, batch = WorldVecEnv(LANES, **drawn), WorldVectorEnv(LANES, autoreset_mode="SameStep", **drawn)
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), batch.reset(seed=3)[0])
    for action in moves(10, size=3):
        frames, _, dones, infos = env.step(action)
        reference, _, _, _, theirs = batch.step(action)
        np.testing.assert_array_equal(frames, reference)
        for lane in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[lane]["terminal_observation"], theirs["final_obs"][lane])


def test_time_running_out_is_truncation_and_success_is_not():
    env = WorldVecEnv(2, **toy(verifier=BrightColumn(target=3), horizon=2))
    env.set_options([{"frame": picture(1)}, {"frame": picture(6)}])
    env.reset()
    still, right = np.zeros(2, np.float32), np.array([1, 0], np.float32)
    _, _, dones, infos = env.step(np.stack([right, still]))
    assert dones.tolist() == [False, False]
    assert [info["TimeLimit.truncated"] for info in infos] == [False, False]
    assert not any("terminal_observation" in info for info in infos)
    frames, rewards, dones, infos = env.step(np.stack([right, still]))
    assert dones.tolist() == [True, True]
    assert [info["TimeLimit.truncated"] for info in infos] == [False, True]
    assert [info["is_success"] for info in infos] == [True, False]
    assert rewards.dtype == np.float32
    np.testing.assert_array_equal(rewards, np.float32([1, 1 / 7]))
    assert infos[0]["terminal_observation"].mean(axis=(0, 2)).argmax() == 3
    assert [info["frame_index"] for info in infos] == [2, 2]
    assert [info["frame_index"] for info in env.reset_infos] == [0, 0]
    assert not np.array_equal(frames[0], infos[0]["terminal_observation"])


def test_resetting_a_lane_leaves_the_others_bit_identical(drawn):
    reset, untouched = WorldVecEnv(LANES, **drawn), WorldVecEnv(LANES, **drawn)
    for env in (reset, untouched):
        env.seed(2)
        env.reset()
    actions = moves(4, size=3)
    reset.step(actions[0]), untouched.step(actions[0])
    ((frame, info),) = reset.env_method("reset", seed=40, indices=1)
    single = WorldEnv(**drawn)
    assert_same([frame, info], [*single.reset(seed=40)])
    for action in actions[1:3]:
        frames, others = reset.step(action)[0], untouched.step(action)[0]
        np.testing.assert_array_equal(frames[[0, 2]], others[[0, 2]])
        assert np.abs(frames[1].astype(int) - single.step(action[1])[0]).max() <= 1
        assert not np.array_equal(frames[1], others[1])


def test_a_strict_lane_is_the_single_env_bit_by_bit(drawn):
    env, actions = WorldVecEnv(LANES, determinism="strict", verifier=Parity(), **drawn), moves(9, size=3)
    env.seed(5)
    (begun, _), *steps = played(env, actions)
    for lane in range(LANES):
        single = WorldEnv(determinism="strict", verifier=Parity(), **drawn)
        np.testing.assert_array_equal(begun[lane], single.reset(seed=5 + lane)[0])
        for action, (frames, rewards, dones, infos, _) in zip(actions[:, lane], steps, strict=True):
            frame, reward, terminated, truncated, _ = single.step(action)
            assert (rewards[lane], dones[lane]) == (reward, terminated or truncated)
            np.testing.assert_array_equal(infos[lane]["terminal_observation"] if dones[lane] else frames[lane], frame)
            if dones[lane]:
                np.testing.assert_array_equal(frames[lane], single.reset()[0])


def test_a_world_that_breaks_is_time_running_out_and_says_so():
    seeds = [WorldEnv(**toy()).reset(seed=5 + lane)[1]["seed"] for lane in range(2)]
    env = WorldVecEnv(2, **toy(world_model=Stuck(PixelShift(), {seeds[1]: 1}), verifier=BrightColumn(target=20), horizon=9))
    env.seed(5)
    env.reset()
    for step in range(1, PATIENCE + 1):
        _, rewards, dones, infos = env.step(np.tile(np.float32([1, 0]), (2, 1)))
        assert dones.tolist() == [False, step == PATIENCE]
    assert rewards[1] == 0
    assert infos[1]["unscored"] == FROZEN
    assert infos[1]["TimeLimit.truncated"]
    assert not infos[1]["is_success"]
    assert "unscored" not in infos[0]


def test_an_episode_depends_on_seed_and_number_only(drawn):
    early, late = WorldVecEnv(2, **drawn), WorldVecEnv(2, **drawn)
    for env in (early, late):
        env.seed(7)
        env.reset()
    again = early.env_method("reset", indices=0)  # lane 0 gives up its first episode at once, in `late` after two steps
    for action in moves(2, size=3, lanes=2):
        late.step(action)
    assert_same(again, late.env_method("reset", indices=0))
    action = moves(1, size=3, lanes=2)[0]
    np.testing.assert_array_equal(early.step(action)[0][0], late.step(action)[0][0])
    assert_same(early.reset(), late.reset())  # lane 0: third episode; lane 1: second


def test_frames_are_never_aliased():
    env, other = (WorldVecEnv(LANES, render_mode="rgb_array", **toy(verifier=BrightColumn(), horizon=2)) for _ in range(2))
    env.seed(0), other.seed(0)
    assert_same(first := env.reset(), other.reset())
    first[:] = 0
    for action in moves(6):
        mine, reference = env.step(action), other.step(action)
        assert_same([*mine], [*reference])
        kept = mine[0].copy()
        for image in env.get_images():
            image[:] = 0
        np.testing.assert_array_equal(env.get_images(), kept)
        mine[0][:] = 0
        for info in mine[3]:
            info.get("terminal_observation", np.zeros(1))[...] = 0
            info.clear()
    before = env.step(moves(1)[0])[0]
    kept = before.copy()
    env.step(moves(1)[0])
    np.testing.assert_array_equal(before, kept)


def test_actions_may_change_between_async_and_wait():
    env, other = WorldVecEnv(LANES, **toy()), WorldVecEnv(LANES, **toy())
    env.seed(0), other.seed(0)
    env.reset(), other.reset()
    actions = moves(1)[0]
    env.step_async(actions)
    expected = other.step(actions)
    actions[:] = 0
    assert_same([*env.step_wait()], [*expected])


def test_one_batched_call_a_step():
    model = PixelShift()
    env = WorldVecEnv(LANES, **toy(world_model=model, horizon=2))
    env.reset()
    for action in moves(5):
        env.step(action)
    assert model.calls == [LANES] * 5


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_an_existing_vector_env_is_adapted_whatever_its_mode(mode):
    inner = gymnasium.make_vec("worldsim/World-v0", num_envs=LANES, autoreset_mode=mode, **toy(horizon=2))
    env, made = WorldVecEnv(inner), WorldVecEnv(LANES, **toy(horizon=2))
    env.seed(1), made.seed(1)
    for mine, reference in zip(played(env, moves(6)), played(made, moves(6)), strict=True):
        assert_same([*mine], [*reference])


def test_attributes_and_methods_are_those_of_single_envs():
    env = WorldVecEnv(LANES, render_mode="rgb_array", **toy())
    single = DummyVecEnv([lambda: WorldEnv(render_mode="rgb_array", **toy())] * LANES)
    for name in ("render_mode", "observation_space", "action_space"):
        assert env.get_attr(name) == single.get_attr(name)
    assert env.observation_space == single.observation_space
    assert env.action_space == single.action_space
    assert env.metadata == single.metadata
    assert env.get_attr("task", indices=[0, 2]) == [env.env.task] * 2
    assert env.get_attr("world_model", 1) == [env.env.world_model]
    env.set_attr("difficulty", 3, indices=[0, 2])
    env.set_attr("difficulty", 1, indices=1)
    assert env.get_attr("difficulty") == [3, 1, 3]
    assert (env.has_attr("difficulty"), env.has_attr("nothing")) == (True, False)
    with pytest.raises(AttributeError):
        env.set_attr("world_model", PixelShift())
    assert env.env_is_wrapped(Monitor) == [False] * LANES
    env.reset()
    np.testing.assert_array_equal(env.env_method("render", indices=1)[0], env.get_images()[1])
    assert env.render().shape == (2 * 8, 2 * 8, 3)
    assert WorldVecEnv(2, **toy()).get_images() == [None, None]


def test_errors_are_one_line():
    env = WorldVecEnv(LANES, **toy())
    with pytest.raises(ResetNeeded):
        env.step(moves(1)[0])
    env.reset()
    calls = {
        "step_wait() has no actions": env.step_wait,
        "expected [3, 2]": lambda: env.step(moves(1)[0, :2]),
        '"right" of lane 0 is nan': lambda: env.step(np.full((LANES, 2), np.nan)),
        "cannot step alone": lambda: env.env_method("step", moves(1)[0, 0], indices=0),
        'unknown reset option "frames"': lambda: (env.set_options({"frames": picture(0)}), env.reset()),
        "num_envs is 0": lambda: WorldVecEnv(0, **toy()),
        "horizon given beside": lambda: WorldVecEnv(env.env, horizon=3),
        "render_mode given beside": lambda: WorldVecEnv(env.env, render_mode="rgb_array"),
    }
    for message, call in calls.items():
        with pytest.raises(WorldsimError) as caught:
            call()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_reset_cancels_a_step_that_was_asked_for():
    env = WorldVecEnv(LANES, **toy())
    env.reset()
    env.step_async(moves(1)[0])
    env.reset()
    with pytest.raises(WorldsimError, match="no actions"):
        env.step_wait()


def test_without_stable_baselines3_one_line_says_what_to_type():
    code = """
import sys, worldsim.envs, worldsim.envs.world_vector_env
assert "stable_baselines3" not in sys.modules
sys.modules["stable_baselines3"] = None
from worldsim.errors import MissingDependency
try:
    import worldsim.envs.sb3
except MissingDependency as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == 'worldsim.envs.sb3 needs stable-baselines3; type: pip install -c constraints.txt -e ".[rl]"\n'


def test_stable_baselines3_checks_the_single_env_without_a_warning(drawn):
    env = gymnasium.make("worldsim/World-v0", render_mode="rgb_array", verifier=Parity(), **drawn)
    check_env(env, skip_render_check=False)
    check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize("prefix", ["", "worldsim:"])
@pytest.mark.parametrize("name", ["worldsim/World-v0", "worldsim/Drawer-v0", "worldsim/DrawerTruth-v0"])
def test_stable_baselines3_checks_what_ships_without_a_warning(name, prefix):
    env = gymnasium.make(prefix + name)
    check_env(env)
    env.close()


@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy"])
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_on_policy_agents_learn_for_a_few_steps(drawn, algorithm, policy):
    env = VecMonitor(WorldVecEnv(2, verifier=Parity(), **drawn))
    batch = {"batch_size": 6, "n_epochs": 1} if algorithm is PPO else {}
    agent = algorithm(policy, env, n_steps=6, seed=0, device="cpu", **batch)
    before = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    agent.learn(24)
    assert agent.num_timesteps == 24
    assert any((value != before[name]).any() for name, value in agent.policy.state_dict().items())
    assert all(value.isfinite().all() for value in agent.policy.state_dict().values())
    episodes = list(agent.ep_info_buffer)
    assert len(episodes) >= 4
    assert all(1 <= episode["l"] <= 4 for episode in episodes)
    assert len(agent.ep_success_buffer) == len(episodes)


def test_the_same_seed_learns_the_same_agent(drawn):
    def weights():
        env = WorldVecEnv(2, verifier=Parity(), **drawn)
        return A2C("MlpPolicy", env, n_steps=3, seed=4, device="cpu").learn(12).policy.state_dict()

    first, second = weights(), weights()
    assert all((first[name] == second[name]).all() for name in first)


def test_an_off_policy_agent_keeps_the_last_frames_of_episodes():
    env = WorldVecEnv(2, **toy(horizon=2))
    agent = SAC("MlpPolicy", env, buffer_size=40, learning_starts=4, batch_size=4, seed=0, device="cpu").learn(16)
    buffer = agent.replay_buffer
    for row in range(buffer.pos - 1):
        follows = np.array_equal(buffer.next_observations[row], buffer.observations[row + 1])
        assert follows == (not buffer.dones[row].any())
    assert buffer.timeouts[1].all()


def test_wrappers_of_stable_baselines3_compose():
    env = VecMonitor(VecFrameStack(WorldVecEnv(2, **toy(verifier=BrightColumn(), horizon=40)), 3))
    assert env.reset().shape == (2, 8, 8, 9)
    seeker = Seeker()

    class Agent:
        def predict(self, frames, state=None, **others):
            return seeker.act(frames[..., -3:], [0, 1]), state

    mean, deviation = evaluate_policy(Agent(), env, n_eval_episodes=4)
    assert mean >= 1.0
    assert np.isfinite(deviation)
