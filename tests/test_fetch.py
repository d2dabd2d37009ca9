"""gymnasium-robotics' Fetch arm as a true world: it opens beside the pinned MuJoCo, its experts do its tasks, and its suite is sound."""

import sys

import numpy as np
import pytest

from worldsim.data.files import write_json
from worldsim.data.splits import seed_of
from worldsim.envs.gym_truth import fetch
from worldsim.envs.gym_truth.robotics import mend_robotics
from worldsim.experiments import cli
from worldsim.experiments.evaluate_suite import chosen
from worldsim.experiments.reproduce_fetch import EPISODES, GRADES, name_of, truth_of
from worldsim.experiments.schema import EvaluateConfig
from worldsim.load import load_truth

pytestmark = pytest.mark.slow  # as a file

SEEDS = [seed_of("validation", 905 + index) for index in range(4)]  # none begins at its goal
SMALL = {"size": 16, "make": {"width": 16, "height": 16}}


@pytest.fixture(scope="module")
def worlds():
    """The true world of each task, in 16 x 16 pixels."""
    pytest.importorskip("gymnasium_robotics")
    opened = {task: load_truth(truth_of(task) | SMALL) for task in EPISODES}
    opened["push as made"] = load_truth(truth_of("push") | SMALL | {"frame_skip": 1, "before": 0, "before_action": None})
    yield opened
    for truth in opened.values():
        truth.close()


def succeeded(truth, act) -> list[bool]:
    """Whether each of the seeds ends in success when `act` says what to do."""
    truth.place(SEEDS)
    for _ in range(truth.horizon):
        known = truth.states()
        rows = [{name: values[lane] for name, values in known.items()} for lane in range(len(SEEDS))]
        truth.step(np.stack([act(row) for row in rows]).astype(np.float32))
    return truth.states()["success"].astype(bool).tolist()


def test_experts_do_the_tasks_and_who_goes_wrong_does_not(worlds):
    assert succeeded(worlds["reach"], fetch.reach) == [True] * 4
    assert succeeded(worlds["push"], fetch.push) == [True] * 4
    assert succeeded(worlds["push"], fetch.push_beside) == [False] * 4
    assert sum(succeeded(worlds["push"], fetch.push_slow)) < 4
    assert succeeded(worlds["push"], lambda states: np.zeros(4)) == [False] * 4


def test_the_arm_moves_as_it_is_told(worlds):
    """Along each axis of the world and no other: its weld to what drives it has been found."""
    truth = worlds["push as made"]
    for axis in range(3):
        truth.place(SEEDS[:1])
        before = truth.states()["observation.observation"][0, :3]
        for _ in range(4):
            truth.step(np.eye(4, dtype=np.float32)[axis][None])
        moved = truth.states()["observation.observation"][0, :3] - before
        assert moved[axis] > 0.03
        assert np.abs(np.delete(moved, axis)).max() < 0.02


def test_a_seed_is_a_start_and_actions_are_its_episode(worlds):
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 1, 4)).astype(np.float32)

    def episode(seed: int) -> list[np.ndarray]:
        return [worlds["push"].place([seed]), *(worlds["push"].step(action)[0] for action in actions)]

    first, other, again = episode(SEEDS[0]), episode(SEEDS[1]), episode(SEEDS[0])
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], other[0])


def test_only_the_kinds_of_joints_are_shown_as_numbers(worlds):
    import mujoco
    from gymnasium_robotics.utils import mujoco_utils

    kinds = (mujoco_utils.mujoco.mjtJoint.mjJNT_HINGE, mujoco_utils.mujoco.mjtJoint.mjJNT_SLIDE)
    assert np.int32(mujoco.mjtJoint.mjJNT_SLIDE) in kinds
    assert np.int32(mujoco.mjtJoint.mjJNT_FREE) not in kinds
    assert mujoco_utils.mujoco.mjtObj is mujoco.mjtObj
    mended = mujoco_utils.mujoco
    mend_robotics()
    assert mujoco_utils.mujoco is mended


def test_nothing_is_imported_that_nobody_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "gymnasium_robotics", raising=False)
    mend_robotics()
    assert "gymnasium_robotics" not in sys.modules


def test_the_suite_says_what_makes_it(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", "suite=fetch", "run=here"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "needs build/fetch/world_model/self-context, which is not here or not finished" in line
    assert line.endswith("type: worldsim reproduce world=fetch out=build/fetch")
    assert not list(tmp_path.iterdir())


def test_the_suite_names_what_is_made_and_its_tasks_as_recorded(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = ["world_model/self-context", "judges/reach", "judges/push", "policies/push-beside"]
    for task, (*grades, _) in GRADES.items():
        made += [f"policies/{task}-panel", *(f"policies/{task}-panel-{grade}" for grade in grades)]
    for folder in made:
        write_json(tmp_path / "build" / "fetch" / folder / "config.json", {})
    _, cases = chosen(EvaluateConfig(suite="fetch"))
    assert [name_of(case.name) for case in cases] == ["FetchReach-v4", "FetchPush-v4"]
    named = {value for case in cases for value in (case.keys["world_model"], case.keys["verifier"], *case.keys["policies"])}
    assert named == {f"build/fetch/{folder}" for folder in made}


def test_nothing_of_fetch_is_installed(tmp_path, capsys):
    assert cli.main(["reproduce", "world=fetch", f"out={tmp_path}", "install=true"]) == 2
    assert "install=true was given for world=fetch" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
