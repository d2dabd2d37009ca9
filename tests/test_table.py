"""The table: one scene, three tasks. Experts do them, other plans fail, nothing moves untouched, recordings are told apart by task."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import worldsim.envs  # noqa: F401  (registers the ids)
from worldsim.data.windows import focus_of
from worldsim.envs.behaviours import chosen
from worldsim.envs.table.behaviours import BEHAVIOURS, MIXES, choose_behaviour
from worldsim.envs.table.experts import EXPERT, EXPERTS, Plan
from worldsim.envs.table.physics import OPENED, PLACED, TASKS, TablePhysics, TableStart, nudged, task_start, wide_start
from worldsim.envs.table.truth import HORIZON
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.labelled_clips import Source
from worldsim.experiments.recorded_worlds import recorded_world
from worldsim.experiments.recordings import episodes_of, read_split
from worldsim.experiments.reproduce_table import BESIDE, GRADES, panel
from worldsim.experiments.schema import CollectConfig
from worldsim.load import load_policy, load_truth, load_verifier
from worldsim.types import Trajectory
from worldsim.verifiers.state import StateVerifier

AT = TableStart(0.0, 0.0, (-0.1, -0.28, 0.2), (-0.05, -0.15), (0.09, -0.15))


@pytest.fixture(scope="module", params=TASKS)
def physics(request):
    return TablePhysics(request.param)


def played(physics: TablePhysics, start: TableStart, plan: Plan = EXPERT) -> TablePhysics:
    physics.reset(start)
    for _ in range(HORIZON):
        physics.step(EXPERTS[physics.task](physics.state(), plan))
    return physics


def test_experts_do_their_tasks_from_every_start(physics):
    assert all(played(physics, task_start(seed, physics.task)).success for seed in range(2_000_000, 2_000_025))


def test_who_aims_beside_seldom_succeeds(physics):
    plan = Plan(tuple(BESIDE[physics.task]))
    assert sum(played(physics, task_start(seed, physics.task), plan).success for seed in range(12)) <= 3


@pytest.mark.parametrize("task", TASKS)
def test_every_grade_of_a_panel_has_a_name_of_its_own(task):
    named = panel(task)
    assert len(named) == len(set(named.values())) == len(GRADES[task]) + 1 >= 8
    assert (named["begin"], named["converged"]) == ("panel-0", "panel")


def test_who_stops_short_does_not_succeed(physics):
    plan = Plan(short={"close": 0.06, "open": 0.08, "push": 0.08}[physics.task])
    assert not any(played(physics, task_start(seed, physics.task), plan).success for seed in range(6))


def test_a_block_pushed_too_far_is_not_placed():
    physics = TablePhysics("push")
    assert not any(played(physics, task_start(seed, "push"), Plan(short=-0.07)).success for seed in range(6))


def test_nothing_moves_that_is_not_touched(physics):
    for seed in range(40):
        physics.reset(wide_start(seed, physics.task))
        before = physics.state()
        for _ in range(3):
            physics.step(np.zeros(3))
        after = physics.state()
        assert abs(after["opening"] - before["opening"]) < 1e-3, seed
        assert np.abs(after["block"] - before["block"]).max() < 2e-3, seed


def test_a_second_run_is_the_first(physics):
    start = task_start(7, physics.task)
    first = played(physics, start).state()
    played(physics, task_start(8, physics.task))
    again = played(physics, start).state()
    assert all(np.array_equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    ("task", "start", "miss"),
    [
        ("close", replace(AT, opening=0.05), 0.03),
        ("close", replace(AT, opening=0.01), -0.01),
        ("open", replace(AT, opening=0.02), OPENED - 0.02),
        ("open", replace(AT, opening=0.15), OPENED - 0.15),
        ("push", AT, 0.14 - PLACED),
        ("push", replace(AT, block=(0.08, -0.17)), 0.02 - PLACED),
    ],
)
def test_what_is_wanting_is_measured(task, start, miss):
    physics = TablePhysics(task)
    physics.reset(start)
    assert physics.miss == pytest.approx(miss)
    assert physics.success == (miss < 0)


def test_starts_are_those_of_the_task_and_second_takes_are_near():
    for seed in range(30):
        starts = {task: task_start(seed, task) for task in TASKS}
        assert starts["close"].opening > 0.1 > 0.013 > starts["open"].opening == starts["push"].opening
        assert starts["close"].block == starts["push"].block
        again = nudged(starts["push"], np.random.default_rng(seed))
        assert 0 < np.abs(np.subtract(again.block, starts["push"].block)).max() <= 0.002
    out = [task_start(seed, "open", beyond=0.05).cabinet_x for seed in range(50)]
    assert not any(-0.07 < x < 0.09 for x in out)
    assert min(out) >= -0.12
    assert max(out) <= 0.14


def test_every_behaviour_acts_within_bounds(physics):
    assert set(MIXES["default"]) <= set(BEHAVIOURS)
    assert sum(MIXES["default"].values()) == pytest.approx(1)
    for name, make in BEHAVIOURS.items():
        _, behaviour = chosen({name: lambda rng, make=make: make(physics.task, rng)}, {"one": {name: 1.0}}, "one", np.random.default_rng(3))
        physics.reset(wide_start(5, physics.task))
        for _ in range(20):
            action = behaviour.send(physics.state())
            assert np.abs(action).max() <= 1
            physics.step(action)


def test_the_truth_goes_by_its_short_name_and_shows_what_a_shift_changes():
    worlds = {name: load_truth(name) for name in ("table:push", "table:open")}
    dark = load_truth({"name": "table", "id": "push", "light": 0.5})
    frames = {name: world.place([task_start(3, "push")])[0] for name, world in (worlds | {"dark": dark}).items()}
    assert np.array_equal(frames["table:push"], frames["table:open"])  # one scene, whatever the task
    assert frames["dark"].mean() < 0.8 * frames["table:push"].mean()
    assert "miss" in worlds["table:push"].states()
    for world in (*worlds.values(), dark):
        world.close()
    with pytest.raises(UnknownName, match='the table has no task "opne"; did you mean "open"'):
        load_truth("table:opne")


def test_the_environment_passes_the_check_and_counts_at_the_end():
    env = gymnasium.make("worldsim/TableTruth-v0", task="push", render_mode="rgb_array").unwrapped
    check_env(env)
    _, info = env.reset(options={"start": 2_000_000})
    rewards = []
    for _ in range(HORIZON):
        _, reward, terminated, truncated, info = env.step(EXPERTS["push"](info).astype(np.float32))
        rewards.append(reward)
    assert (sum(rewards[:-1]), rewards[-1], terminated, truncated) == (0, 1, True, False)
    env.close()
    with pytest.raises(UnknownName, match="did you mean"):
        gymnasium.make("worldsim/TableTruth-v0", task="pus")


def ended(task: str, **states: float) -> Trajectory:
    held = {name: np.array([9.0, value]) for name, value in states.items()}
    return Trajectory(task, np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 3)), states=held)


def test_the_state_judge_asks_what_is_wanting_unless_told_otherwise():
    opened = ended("table-open", miss=-0.02, opening=0.13)
    assert load_verifier("state").judge([opened, ended("table-open", miss=0.1, opening=0.01)])[0].success
    assert not load_verifier("state").judge([ended("table-open", miss=0.1, opening=0.01)])[0].success
    assert not StateVerifier("opening", 0.05).judge([opened])[0].success


def test_clips_are_drawn_where_anything_moves():
    assert focus_of([ended("table-push", block=1, opening=1)]) == ("opening", "block")
    assert focus_of([ended("table-push", block=1, opening=1), ended("drawer", opening=1)]) == ("opening",)
    assert focus_of([ended("bridge", gripper=1)]) == ()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    from worldsim.experiments.collect import run

    data = tmp_path_factory.mktemp("table")
    for number, task in enumerate(("open", "push")):
        run(CollectConfig(out=str(data), episodes=2, truth=f"table:{task}", seed=100 * number, workers=1))
    return data


@pytest.mark.slow
def test_recordings_of_several_tasks_lie_together_and_are_told_apart(recorded):
    assert [each.task_id for each in read_split(recorded, "train")] == ["table-open"] * 2 + ["table-push"] * 2
    pushes = read_split(recorded, "train", task="table-push")
    assert [each.metadata["instruction"] for each in pushes] == ["push the block into the zone"] * 2
    assert [start for start, _ in Source(recorded, "state", 3, 0.3, "table-push").episodes("train")] == ["0000100", "0000101"]
    assert len(read_split(recorded, "train", limit=1, task="table-push")) == 1
    with pytest.raises(InvalidInput, match=r'is of task "table-pish"; did you mean "table-push"'):
        list(episodes_of(recorded, "table-pish"))


@pytest.mark.slow
def test_the_expert_is_asked_at_every_frame(recorded):
    episode = read_split(recorded, "train", task="table-push")[0]
    state = {name: values[4] for name, values in episode.states.items()}
    assert np.array_equal(EXPERTS["push"](state), episode.states["expert"][4])
    assert recorded_world("table:push").instruction == episode.metadata["instruction"]


def test_a_scripted_policy_acts_by_its_plan():
    physics = TablePhysics("push")
    physics.reset(task_start(1, "push"))
    states = {name: np.asarray(value)[None] for name, value in physics.state().items()}
    for options in ({}, {"offset": [0.0, 0.05, 0.0], "speed": 0.5, "short": 0.02}):
        policy = load_policy({"name": "table-scripted", "id": "push", **options})
        policy.see(states)
        plan = Plan(tuple(options["offset"]), 0.5, 0.02) if options else Plan()
        assert np.allclose(policy.act(np.zeros((1, 64, 64, 3), np.uint8), [0])[0], EXPERTS["push"](physics.state(), plan))
    with pytest.raises(InvalidInput, match="expected three numbers in metres"):
        load_policy({"name": "table-scripted", "id": "push", "offset": [0.1]})


def test_a_mix_that_is_not_there_is_refused():
    with pytest.raises(UnknownName, match='did you mean "default"'):
        choose_behaviour("open", "defualt", np.random.default_rng(0))
