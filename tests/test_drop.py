"""The true drop world: falls by the formula, repeats itself, measures what it shows, is a sound environment, and is recorded whole."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import worldsim.envs  # noqa: F401  (registers the ids)
from worldsim.data.splits import split_of
from worldsim.data.trajectory_file import read_trajectory
from worldsim.envs.drawer.rendering import import_mujoco
from worldsim.envs.drop.behaviours import BEHAVIOURS, MIXES, choose_behaviour, expert_action
from worldsim.envs.drop.physics import ACTION, LINE, RADIUS, DropPhysics, DropStart, task_start
from worldsim.envs.drop.rendering import DepthCamera
from worldsim.envs.drop.truth import HORIZON, DropTruth
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.collect import run as run_collect
from worldsim.experiments.schema import CollectConfig
from worldsim.load import load_task, load_verifier
from worldsim.types import Trajectory

LET_GO, STEP = np.array([1.0, 0.0]), 1 / ACTION.rate_hz


@pytest.fixture(scope="module")
def physics():
    return DropPhysics()


@pytest.fixture(scope="module")
def truth():
    world = DropTruth(depth=True)
    yield world
    world.close()


def test_a_held_ball_stays_and_a_free_one_falls_by_the_formula(physics):
    physics.reset(DropStart(0.0, 1.2))
    physics.step(np.array([-1.0, 1.0]))
    assert physics.state()["ball"].tolist() == [0.0, 0.0, 1.2]
    for step in range(1, 5):
        physics.step(LET_GO)
        assert physics.state()["ball"][2] == pytest.approx(1.2 - 9.81 * (step * STEP) ** 2 / 2, abs=5e-3)
    physics.step(np.array([-1.0, 0.0]))  # once free, always free
    assert physics.state()["released"] == 1


def test_a_push_accelerates_by_force_over_mass(physics):
    physics.reset(DropStart(-0.6, 1.2))
    for _ in range(4):
        physics.step(np.array([1.0, 1.0]))
    assert physics.state()["speed"][0] == pytest.approx(1.0 / 0.2 * 4 * STEP, rel=1e-6)


def test_the_ball_comes_back_from_floor_walls_and_block_and_never_sinks_in(physics):
    for start, push in ((DropStart(0.2, 1.0), 0.0), (DropStart(-0.35, 1.0), 0.0), (DropStart(-0.6, 1.2), -1.0), (DropStart(0.1, 1.2), 1.0)):
        physics.reset(start)
        rows = []
        for _ in range(3 * HORIZON):
            physics.step(np.array([1.0, push]))
            rows.append(np.concatenate([physics.state()["ball"], physics.state()["speed"]]))
        rows = np.array(rows)
        if push == 0:  # a ball that is pressed against a wall rubs along it
            assert rows[:, 5].max() > 1.5  # upward after falling
        assert rows[:, 2].min() > RADIUS - 0.04
        assert np.abs(rows[:, 0]).max() < 0.90 - RADIUS + 0.04


def test_the_same_start_and_actions_give_the_same_frames(truth):
    actions = np.random.default_rng(0).uniform(-1, 1, (HORIZON, 1, 2)).astype(np.float32)
    runs = []
    for _ in range(2):
        first = truth.place([task_start(5)])
        runs.append(np.stack([first, *(truth.step(action)[0] for action in actions)]))
    assert np.array_equal(*runs)


def test_lanes_do_not_disturb_one_another(truth):
    starts, action = [DropStart(0.0, 1.0), DropStart(-0.5, 0.7)], np.array([[1, 0.3], [1, -0.4]], np.float32)
    truth.place(starts)
    both, _ = truth.step(action)
    truth.place(starts[1:])
    assert np.array_equal(truth.step(action[1:])[0][0], both[1])


def test_a_state_can_be_taken_up_again(physics):
    physics.reset(DropStart(0.0, 1.2))
    for _ in range(3):
        physics.step(np.array([1.0, 0.5]))
    state = physics.state()
    physics.step(np.array([1.0, 0.5]))
    later = physics.state()["ball"]
    physics.reset(DropStart(state["ball"][0], state["ball"][2], (state["speed"][0], state["speed"][2]), released=True))
    physics.step(np.array([1.0, 0.5]))
    assert physics.state()["ball"] == pytest.approx(later, abs=1e-9)


def test_depth_segmentation_and_camera_agree_with_the_balls_place(truth):
    """The ball's pixels, put back into space by the lens, lie on the sphere that the state names; others do not."""
    ball = truth.place([DropStart(0.0, 1.0)]) is not None and truth._lanes[0].model.geom("ball").id
    state = {name: values[0] for name, values in truth.states().items()}
    rows, columns = np.nonzero(state["segmentation"] == ball)
    assert len(rows) > 15
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    seen = np.linalg.inv(state["intrinsics"]) @ pixels * state["depth"][rows, columns]  # camera axes
    placed = state["camera_pose"][:3, :3] @ seen + state["camera_pose"][:3, 3:]
    away = np.linalg.norm(placed.T - state["ball"], axis=1)
    assert away == pytest.approx(np.full(len(away), RADIUS), abs=0.012)
    assert np.abs(placed.mean(axis=1) - state["ball"])[[0, 2]].max() < 0.05
    assert (state["depth"].dtype, state["segmentation"].dtype) == (np.float32, np.uint8)
    assert np.isfinite(state["depth"]).all()


def test_the_camera_sees_what_mujocos_own_renderer_sees(physics):
    """Which draws depth and segmentation apart; and a second camera changes nothing for the first."""
    mujoco = import_mujoco()
    camera, other = (DepthCamera(physics.model, "main", size) for size in (40, 24))
    own = mujoco.Renderer(physics.model, 40, 40)
    for seed in range(3):
        physics.reset(task_start(seed))
        found, _ = camera.measure(physics.data) | {"colour": camera.render(physics.data)}, other.render(physics.data)
        own.update_scene(physics.data, camera="main")
        assert np.array_equal(own.render(), found["colour"])
        own.enable_segmentation_rendering()
        assert np.array_equal(own.render()[..., 0], found["segmentation"])
        own.enable_depth_rendering()
        np.testing.assert_allclose(found["depth"], own.render(), atol=4e-6)
        own.disable_depth_rendering()
    for each in (own, camera, other):
        each.close()


def test_the_environment_passes_both_checks():
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    world = gymnasium.make("worldsim/DropTruth-v0", render_mode="rgb_array", size=48)
    check_env(world.unwrapped)
    check_for_sb3(world.unwrapped)
    world.close()


def test_an_episode_of_the_expert_ends_right_of_the_line():
    world = gymnasium.make("worldsim/DropTruth-v0").unwrapped
    _, info = world.reset(options={"start": 2_000_001})
    rewards, over = [], False
    while not over:
        _, reward, terminated, truncated, info = world.step(expert_action(info).astype(np.float32))
        rewards.append(reward)
        over = terminated or truncated
    assert (len(rewards), sum(rewards), terminated, truncated) == (HORIZON, 1.0, True, False)
    assert info["ball"][0] > LINE
    world.close()


def test_what_is_wrong_is_refused_in_one_line(truth):
    with pytest.raises(InvalidInput, match="size is 8, expected 16 to 256"):
        gymnasium.make("worldsim/DropTruth-v0", size=8)
    truth.place([DropStart(0.0, 1.0)])
    with pytest.raises(InvalidInput, match='action "push" of lane 0 is 2'):
        truth.step(np.array([[0, 2]], np.float32))
    with pytest.raises(UnknownName, match='unknown mix "defalt"; did you mean "default"'):
        choose_behaviour("defalt", np.random.default_rng(0))


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_behaviours_act_within_the_bounds_and_follow_their_generator(physics, name):
    def act() -> np.ndarray:
        behaviour, actions = BEHAVIOURS[name](np.random.default_rng(4)), []
        next(behaviour)
        physics.reset(task_start(4))
        for _ in range(HORIZON):
            actions.append(behaviour.send(physics.state()))
            physics.step(actions[-1])
        return np.stack(actions)

    actions = act()
    assert actions.shape == (HORIZON, 2)
    assert np.abs(actions).max() <= 1
    assert np.array_equal(act(), actions)
    assert (physics.state()["released"] == 0) == (name == "hold")


def test_mixes_add_up():
    assert all(sum(weights.values()) == pytest.approx(1) and set(weights) <= set(BEHAVIOURS) for weights in MIXES.values())


def test_the_shipped_starts_are_held_out_and_those_of_the_truth(truth):
    task = load_task("drop")
    assert (task.id, task.horizon, len(task.starts)) == ("drop", HORIZON, 200)
    assert {split_of(start.seed) for start in task.starts} == {"evaluation"}
    shown = truth.reset(task.starts[:3]).astype(int)
    assert np.abs(shown - np.concatenate([start.frames for start in task.starts[:3]])).mean() < 1  # another OpenGL may shade otherwise


def test_the_state_judge_knows_the_line():
    def ended(miss: float, task: str = "drop") -> Trajectory:
        return Trajectory(task, np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 2)), states={"miss": np.array([-9.0, miss])})

    verdicts = load_verifier("state").judge([ended(-0.01), ended(0.01), ended(-0.01, "other")])
    assert [verdict.success for verdict in verdicts] == [True, False, None]


@pytest.mark.slow
def test_collecting_keeps_frames_states_depth_and_what_actions_mean(tmp_path, truth):
    run_collect(CollectConfig(out=str(tmp_path), episodes=2, truth="drop", split="validation", seed=3, workers=1))
    episode = read_trajectory(tmp_path / "validation" / "01000" / "1000003.h5")
    assert (len(episode), episode.task_id, episode.frames.shape) == (HORIZON, "drop", (HORIZON + 1, 32, 32, 3))
    frames = [truth.place([task_start(1_000_003)])[0], *(truth.step(action[None])[0][0] for action in episode.actions)]
    assert np.array_equal(np.stack(frames), episode.frames)
    for name, values in truth.states().items():
        assert np.array_equal(values[0], episode.states[name][-1]), name
    assert json.loads((tmp_path / "summary.json").read_text())["action"]["names"] == ["release", "push"]
