"""The true drawer: exact, repeatable, closable, a sound Gymnasium environment, and recorded whole by `worldsim collect`."""

import json
import os
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import worldsim.envs  # noqa: F401  (registers the ids)
from worldsim.data.splits import seed_of
from worldsim.data.trajectory_file import read_trajectory
from worldsim.envs.drawer import rendering
from worldsim.envs.drawer.behaviours import BEHAVIOURS, MIXES, choose_behaviour, expert_action
from worldsim.envs.drawer.physics import ACTION, CLOSED, OPENING, REACH, WORKSPACE, DrawerPhysics, DrawerStart, task_start, wide_start
from worldsim.envs.drawer.truth import HORIZON, DrawerTruth
from worldsim.errors import InvalidInput, MissingDependency, RunMismatch, UnknownName, WorldsimError
from worldsim.evaluate import Cast, Clock, Episode, Genuine, roll_out
from worldsim.experiments.collect import run as run_collect
from worldsim.experiments.schema import CollectConfig
from worldsim.load import load_policy, load_task, load_truth
from worldsim.types import Start

SHOULDER = np.array([-0.40, -0.16, 0.24])


@pytest.fixture(scope="module")
def physics() -> DrawerPhysics:
    return DrawerPhysics()


@pytest.fixture(scope="module")
def truth():
    world = load_truth("drawer")
    yield world
    world.close()


@pytest.fixture
def env():
    world = gymnasium.make("worldsim/DrawerTruth-v0", render_mode="rgb_array")
    yield world
    world.close()


def is_reachable(tip: np.ndarray) -> bool:
    """Two links of 30 cm from the shoulder to the wrist, 14 cm above the tip; 1 mm is left of the stretched arm."""
    return np.linalg.norm(tip + [0, 0, 0.14] - SHOULDER) < 0.599


@settings(max_examples=100, deadline=None)
@given(share=st.tuples(*[st.floats(0, 1)] * 3))
def test_the_arm_puts_its_tip_where_it_is_told(physics, share):
    tip = WORKSPACE[0] + np.array(share) * (WORKSPACE[1] - WORKSPACE[0])
    physics.reset(DrawerStart(0.0, 0.1, tuple(tip)))
    if is_reachable(tip):
        assert np.linalg.norm(physics.state()["hand"] - tip) < 1e-3
    assert np.array_equal(physics.state()["target"], tip)


def test_nearly_all_of_the_workspace_is_reachable():
    tips = np.random.default_rng(0).uniform(*WORKSPACE, (1000, 3))
    assert np.mean([is_reachable(tip) for tip in tips]) > 0.9


def test_every_task_start_is_reachable_open_and_away_from_the_drawer():
    for seed in range(2_000_000, 2_000_200):
        start = task_start(seed)
        assert is_reachable(np.array(start.hand))
        assert 0.11 <= start.opening <= 0.165
        assert start.hand[1] < -0.2


def test_an_action_moves_the_target_by_two_centimetres_and_never_out_of_the_workspace(physics):
    physics.reset(DrawerStart(0.0, 0.1, (0.0, -0.28, 0.2)))
    physics.step(np.array([1.0, -0.5, 0.0]))
    np.testing.assert_allclose(physics.target, [REACH, -0.28 - REACH / 2, 0.2])
    for _ in range(30):
        physics.step(np.array([1.0, 0.0, 1.0]))
    assert (physics.target <= WORKSPACE[1]).all()
    np.testing.assert_allclose(physics.target[[0, 2]], WORKSPACE[1, [0, 2]])


def test_a_drawer_that_nobody_touches_stays_where_it_is(physics):
    for seed in range(5):
        start = task_start(seed)
        physics.reset(start)
        for _ in range(HORIZON):
            physics.step(np.zeros(3))
        assert abs(physics.opening - start.opening) < 1e-3
        assert np.linalg.norm(physics.state()["hand"] - physics.target) < 5e-3


def test_the_expert_closes_twenty_of_twenty(physics):
    closed = 0
    for seed in range(2_000_000, 2_000_020):
        physics.reset(task_start(seed))
        for _ in range(HORIZON):
            physics.step(expert_action(physics.state()))
        closed += physics.success
    assert closed == 20


def test_success_is_an_opening_below_two_centimetres(physics):
    for opening, success in ((CLOSED - 1e-4, True), (CLOSED + 1e-4, False), (0.15, False)):
        physics.reset(DrawerStart(0.0, opening, (0.0, -0.28, 0.2)))
        assert physics.opening == opening
        assert physics.success is success


def test_the_state_is_all_that_the_future_depends_on(physics):
    """Another world put into the recorded state goes on the same, bit for bit."""
    other, rng = DrawerPhysics(), np.random.default_rng(0)
    physics.reset(task_start(1))
    for _ in range(8):
        physics.step(expert_action(physics.state()))
    state = physics.state()
    other.reset(DrawerStart(float(state["cabinet_x"]), 0.1, (0.0, -0.28, 0.2)))
    other.target, other.data.qpos[:], other.data.qvel[:] = state["target"].copy(), state["qpos"], state["qvel"]
    for action in rng.uniform(-1, 1, (5, 3)):
        physics.step(action)
        other.step(action)
    for name, value in physics.state().items():
        assert np.array_equal(other.state()[name], value), name


def test_starts_follow_their_seed_and_differ_between_splits():
    for make in (task_start, wide_start):
        seeds = [seed_of(split, index) for split in ("train", "validation", "evaluation") for index in range(50)]
        starts = [make(seed) for seed in seeds]
        assert starts == [make(seed) for seed in seeds]
        assert len(set(starts)) == 150


def test_wide_starts_cover_openings_and_stand_clear_of_the_drawer():
    starts = [wide_start(seed) for seed in range(300)]
    openings = np.array([start.opening for start in starts])
    assert OPENING[0] <= openings.min() < 0.03
    assert 0.16 < openings.max() <= OPENING[1]
    for start in starts:
        x, y, z = start.hand
        assert (WORKSPACE[0] <= start.hand).all()
        assert (start.hand <= WORKSPACE[1]).all()
        assert z > 0.20 or y < 0.022 - start.opening - 0.035
    assert np.mean([wide_start(seed).hand == task_start(seed).hand for seed in range(300)]) < 0.8


def begin(*seeds: int) -> list[Start]:
    return [Start(str(seed), np.zeros(0), seed) for seed in seeds]


def played(truth: DrawerTruth, seeds, actions) -> np.ndarray:
    """Frames `[T+1, B, 64, 64, 3]`."""
    return np.stack([truth.reset(begin(*seeds)), *(truth.step(action)[0] for action in actions)])


def test_the_same_start_gives_the_same_frames_bit_for_bit(truth):
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 2, 3)).astype(np.float32)
    first = played(truth, (5, 6), actions)
    assert first.dtype == np.uint8
    assert first.shape == (5, 2, 64, 64, 3)
    played(truth, (7, 8, 9), np.zeros((2, 3, 3), np.float32))
    assert np.array_equal(played(truth, (5, 6), actions), first)
    fresh = DrawerTruth()
    assert np.array_equal(played(fresh, (5, 6), actions), first)
    fresh.close()


def test_lanes_do_not_feel_each_other(truth):
    actions = np.random.default_rng(1).uniform(-1, 1, (4, 3, 3)).astype(np.float32)
    together = played(truth, (11, 12, 13), actions)
    for lane, seed in enumerate((11, 12, 13)):
        assert np.array_equal(played(truth, (seed,), actions[:, [lane]])[:, 0], together[:, lane])
    assert not np.array_equal(together[0, 0], together[0, 1])


def test_the_truth_reports_the_exact_state_of_every_lane(truth, physics):
    truth.reset(begin(21, 22))
    action = np.array([[0.3, 1.0, -0.2], [-1.0, 0.5, 0.0]], dtype=np.float32)
    _, states = truth.step(action)
    for lane, seed in enumerate((21, 22)):
        physics.reset(task_start(seed))
        physics.step(action[lane])
        for name, value in physics.state().items():
            assert np.array_equal(states[name][lane], value), name
    with pytest.raises(InvalidInput, match='action "x" of lane 1 is nan'):
        truth.step(np.array([[0, 0, 0], [np.nan, 0, 0]], dtype=np.float32))


def test_what_moves_is_seen(truth):
    """Closing the drawer changes the picture, and so does moving the cabinet aside."""
    places = ((0.0, 0.0), (0.0, 0.15), (0.05, 0.0))
    frames = truth.place([DrawerStart(x, opening, (0.0, -0.3, 0.24)) for x, opening in places])
    for other in frames[1:]:
        assert (np.abs(frames[0].astype(int) - other).max(axis=-1) > 20).mean() > 0.01


def test_the_environment_passes_gymnasiums_check(env):
    check_env(env.unwrapped)


def test_an_episode_ends_by_closing_the_drawer(env):
    frame, info = env.reset(seed=3)
    assert env.observation_space.contains(frame)
    assert not info["success"]
    for _ in range(HORIZON):
        frame, reward, terminated, truncated, info = env.step(expert_action(info).astype(np.float32))
        assert np.array_equal(env.render(), frame)
        assert reward == float(terminated) == float(info["success"]) == float(info["is_success"])
        if terminated or truncated:
            break
    assert terminated
    assert not truncated
    assert info["opening"] < CLOSED


def test_closing_at_the_last_step_terminates_and_does_not_truncate(env):
    """The same episode with a horizon that ends exactly when the drawer shuts, and one step earlier."""

    def last(horizon):
        world = gymnasium.make("worldsim/DrawerTruth-v0", horizon=horizon).unwrapped
        _, info = world.reset(options={"start": 2_000_001})
        steps, terminated, truncated = 0, False, False
        while not (terminated or truncated):
            _, _, terminated, truncated, info = world.step(expert_action(info).astype(np.float32))
            steps += 1
        world.close()
        return steps, terminated, truncated

    needed, terminated, truncated = last(HORIZON)
    assert (terminated, truncated) == (True, False)
    assert last(needed) == (needed, True, False)
    assert last(needed - 1) == (needed - 1, False, True)


def test_a_start_can_be_chosen_and_is_that_of_the_truth(env, truth):
    frame, info = env.reset(options={"start": 2_000_005})
    assert info["start"] == 2_000_005
    assert np.array_equal(frame, truth.reset(begin(2_000_005))[0])
    drawn = [env.reset(seed=seed)[1]["start"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(2_000_000 <= start < 3_000_000 for start in drawn)


def test_the_frame_size_can_be_chosen_within_reason():
    world = gymnasium.make("worldsim/DrawerTruth-v0", size=96)
    assert world.reset(seed=0)[0].shape == (96, 96, 3)
    world.close()
    with pytest.raises(InvalidInput, match="size is 8, expected 16 to 256"):
        gymnasium.make("worldsim/DrawerTruth-v0", size=8)


@pytest.mark.parametrize(
    ("options", "words"), [({"strat": 3}, 'did you mean "start"?'), ({"start": "a"}, "is 'a', expected the seed"), ({"start": -1}, "is -1")]
)
def test_wrong_reset_options_are_refused_in_one_line(env, options, words):
    with pytest.raises(WorldsimError) as caught:
        env.reset(options=options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", [[np.nan, 0, 0], [0, 1.2, 0], [0, 0], "left", [[1, 2], [3]]])
def test_wrong_actions_are_refused_in_one_line(env, action):
    env.reset(seed=0)
    with pytest.raises(InvalidInput) as caught:
        env.unwrapped.step(action)
    assert "\n" not in str(caught.value)


def test_stepping_before_reset_is_refused():
    world = gymnasium.make("worldsim/DrawerTruth-v0").unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        world.step(np.zeros(3, np.float32))
    world.close()


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_behaviours_act_within_the_bounds_and_follow_their_generator(physics, name):
    def act() -> np.ndarray:
        behaviour, actions = BEHAVIOURS[name](np.random.default_rng(4)), []
        next(behaviour)
        physics.reset(wide_start(4))
        for _ in range(HORIZON):
            actions.append(behaviour.send(physics.state()))
            physics.step(np.clip(actions[-1], -1, 1))
        return np.stack(actions)

    actions = act()
    assert actions.shape == (HORIZON, 3)
    assert np.isfinite(actions).all()
    assert np.array_equal(act(), actions)


def test_a_mix_draws_its_behaviours_by_weight():
    for mix, weights in MIXES.items():
        assert sum(weights.values()) == pytest.approx(1)
        names = [choose_behaviour(mix, np.random.default_rng(seed))[0] for seed in range(200)]
        assert set(names) <= set(weights)
        assert abs(names.count("expert") / 200 - weights["expert"]) < 0.1
    with pytest.raises(UnknownName, match='unknown mix "defalt"; did you mean "default"'):
        choose_behaviour("defalt", np.random.default_rng(0))


@pytest.mark.parametrize(("found", "gpu", "chosen"), [
    ({"EGL", "OSMesa"}, False, "osmesa"),
    ({"EGL", "OSMesa"}, True, "egl"),
    ({"EGL"}, False, "egl"),
    ({"OSMesa"}, True, "osmesa"),
])  # fmt: skip
def test_opengl_is_chosen_by_what_is_there(monkeypatch, found, gpu, chosen):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(rendering, "find_library", lambda name: name if name in found else None)
    monkeypatch.setattr(rendering.Path, "exists", lambda path: gpu)
    assert rendering.choose_gl() == chosen
    assert os.environ["MUJOCO_GL"] == chosen


def test_a_users_opengl_is_respected(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.setattr(rendering, "find_library", lambda name: None)
    assert rendering.choose_gl() == "glfw"


def test_without_opengl_the_error_names_the_package(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(rendering, "find_library", lambda name: None)
    with pytest.raises(MissingDependency, match="apt-get install -y --no-install-recommends libosmesa6"):
        DrawerPhysics()
    assert os.environ["MUJOCO_GL"] == ""


def test_without_mujoco_the_error_names_the_extra(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingDependency, match=r'pip install .*"\.\[mujoco\]"'):
        DrawerPhysics()


def collect(out, episodes: int, **options) -> None:
    run_collect(CollectConfig(out=str(out), episodes=episodes, split="validation", seed=3, workers=1, **options))


@pytest.mark.slow
def test_collecting_records_episodes_and_continues_where_it_was(tmp_path, truth):
    collect(tmp_path, 2)
    paths = [tmp_path / "validation" / "01000" / f"{seed:07d}.h5" for seed in (1_000_003, 1_000_004)]
    assert sorted(tmp_path.rglob("*.h5")) == paths
    episode = read_trajectory(paths[0])
    assert (len(episode), episode.seed, episode.task_id) == (HORIZON, 1_000_003, "drawer")
    assert episode.metadata["behaviour"] in BEHAVIOURS
    frames = [truth.place([wide_start(1_000_003)])[0], *(truth.step(action[None])[0][0] for action in episode.actions)]
    assert np.array_equal(np.stack(frames), episode.frames)  # the file holds what happens when its actions are played
    assert np.array_equal(truth.states()["opening"][0], episode.states["opening"][-1])
    expert = expert_action({name: values[4] for name, values in episode.states.items()})
    assert np.array_equal(expert, episode.states["expert"][4])
    ACTION.check(episode.actions)
    kept, other = paths[0].stat().st_mtime_ns, read_trajectory(paths[1])
    paths[1].unlink()
    collect(tmp_path, 3)
    assert paths[0].stat().st_mtime_ns == kept
    assert np.array_equal(read_trajectory(paths[1]).frames, other.frames)
    assert len(list(tmp_path.rglob("*.h5"))) == 3
    assert json.loads((tmp_path / "collect-validation-3.json").read_text())["mix"] == "default"
    with pytest.raises(RunMismatch, match="choose another out= or seed="):
        collect(tmp_path, 3, mix="expert")


def test_the_scripted_policy_closes_the_true_drawer(truth):
    task = load_task("drawer")
    episodes = [Episode(str(i), "scripted", "truth", start, i) for i, start in enumerate(task.starts[:4])]
    cast = Cast({"scripted": load_policy("scripted", ACTION)})
    for _, trajectory in roll_out(Genuine(truth), cast, task, episodes, Clock(), batch=4):
        assert trajectory.states["opening"][-1] < CLOSED


def test_the_scripted_policy_is_refused_where_nothing_is_known_to_be_true():
    policy = load_policy("scripted", ACTION)
    policy.see({})
    with pytest.raises(InvalidInput, match="scripted.*needs the true state"):
        policy.act(np.zeros((1, 64, 64, 3), np.uint8), [0])


@pytest.mark.parametrize(("key", "value"), [("policies", ["nope"]), ("truth", "nope"), ("mix", "nope")])
def test_collect_refuses_unknown_parts_before_it_starts_workers(tmp_path, key, value):
    config = CollectConfig(out=str(tmp_path / "data"), episodes=1, workers=1, **{key: value})
    with pytest.raises(UnknownName, match="nope"):
        run_collect(config)
    assert not list(tmp_path.rglob("*.h5"))
