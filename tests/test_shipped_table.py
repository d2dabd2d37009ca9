"""What ships for the table: one world model, three panels, three judges, held-out starts; each fits the other and knows its task."""

import numpy as np
import pytest

import worldsim
from worldsim.data.splits import seed_of, split_of
from worldsim.envs.table.physics import TASKS
from worldsim.experiments.collect import record_episode
from worldsim.experiments.evaluate_suite import chosen
from worldsim.experiments.recorded_worlds import recorded_world
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import chosen_verifier, policy_specs
from worldsim.load import load_truth, shipped_panel


@pytest.fixture(scope="module")
def model():
    return worldsim.load_world_model("table")


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_its_starts_its_panel_and_its_judge(task, model):
    found = worldsim.load_task(f"table:{task}")
    assert found.id == f"table-{task}"
    assert len(found.starts) >= 100
    assert {split_of(start.seed) for start in found.starts} == {"evaluation"}
    panel = shipped_panel(found.id)
    assert len(panel) >= 8
    assert panel == list(policy_specs([], found.id))
    assert panel[0] == f"{task}-begin"
    assert not set(panel) & set(shipped_panel())
    assert all(worldsim.load_policy(name, model.spec.action).action == model.spec.action for name in panel)
    assert chosen_verifier(None, {}, found.id) == found.id


def test_a_task_without_a_panel_or_a_judge_of_its_own_takes_the_drawers():
    assert shipped_panel("bridge") == shipped_panel() == shipped_panel("drawer")
    assert chosen_verifier(None, {}, "bridge") == chosen_verifier(None, {}) == "classifier"
    assert chosen_verifier(None, {"verifier": "own"}, "table-open") == "own"


def test_the_suite_is_what_ships():
    _, cases = chosen(EvaluateConfig(suite="drawer"))
    assert [case.name for case in cases] == list(TASKS)
    assert [case.keys for case in cases] == [{"world_model": "table", "truth": f"table:{task}"} for task in TASKS]


@pytest.mark.parametrize("task", TASKS)
def test_a_first_step_is_near_the_truth(task, model):
    starts, actions = worldsim.load_task(f"table:{task}").starts[:4], np.full((4, 3), 0.8, np.float32)
    truth = load_truth(f"table:{task}")
    before = truth.reset(starts)
    after, _ = truth.step(actions)
    truth.close()
    assert np.array_equal(before, np.stack([start.frames[-1] for start in starts]))
    _, predicted = model.step(model.start(np.stack([start.frames for start in starts]), np.arange(4)), actions)
    error, copying = (np.square(frames.astype(float) - after).mean() for frames in (predicted, before))
    assert error < copying


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_judge_agrees_with_the_true_state(task):
    """Episodes of seeds that nothing was trained on: the verdict on the last frames is nearly always the state's."""
    truth, world, episodes = load_truth(f"table:{task}"), recorded_world(f"table:{task}"), []
    for index in range(500, 520):
        rng = np.random.default_rng(index)
        name, behaviour = world.choose_behaviour("default", rng)
        seed = seed_of("evaluation", index)
        episodes.append(record_episode(truth, seed, lambda frame, state, acts=behaviour: acts.send(state), rng, name, world))
    truth.close()
    said, true = (worldsim.load_verifier(name).judge(episodes) for name in (f"table-{task}", "state"))
    assert {verdict.success for verdict in true} == {True, False}
    assert sum(one.success == other.success for one, other in zip(said, true, strict=True)) >= 18
