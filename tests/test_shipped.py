"""What ships: every checkpoint loads, is what its hash promises, leaks nothing, and stands behind Gymnasium without a warning."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import worldsim
from worldsim.data.splits import split_of
from worldsim.load import shipped_panel
from worldsim.models.causal import causality_leak

WEIGHTS = Path(worldsim.__file__).parent / "weights"


@pytest.fixture(scope="module")
def model():
    return worldsim.load_world_model("drawer")


def test_the_shipped_network_leaks_nothing(model) -> None:
    assert causality_leak(model.network, lengths=(1, 3, 6)) == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    assert model.card["leak"] == {"latents": 0.0, "levels": 0.0, "actions": 0.0}


@pytest.mark.parametrize("name", ["worldsim/Drawer-v0", "worldsim/World-v0", "worldsim/DrawerTruth-v0"])
def test_gymnasium_finds_nothing_to_complain_about(name: str) -> None:
    env = gymnasium.make(name)
    check_env(env.unwrapped)
    env.close()


def test_a_batch_of_worlds(model) -> None:
    envs = gymnasium.make_vec("worldsim/Drawer-v0", num_envs=3, world_model=model)
    frames, _ = envs.reset(seed=0)
    after, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert after.shape == frames.shape == (3, 64, 64, 3)
    assert not terminated.any()
    assert not truncated.any()
    assert not rewards.any()


def test_the_panel_is_in_training_order() -> None:
    panel = shipped_panel()
    assert len(panel) >= 8
    assert panel[0] == "begin"
    assert panel[-1] == "converged"
    action = worldsim.load_world_model("drawer").spec.action
    assert all(worldsim.load_policy(name, action).action == action for name in panel)


def test_starts_are_held_out() -> None:
    task = worldsim.load_task("drawer")
    assert len(task.starts) >= 100
    assert {split_of(start.seed) for start in task.starts} == {"evaluation"}
    assert len({start.id for start in task.starts}) == len(task.starts)


def test_a_first_step_is_near_the_truth(model) -> None:
    """One predicted frame against MuJoCo from the same start: better than claiming that nothing moved."""
    from worldsim.envs.drawer.truth import DrawerTruth

    starts, actions = worldsim.load_task("drawer").starts[:4], np.full((4, 3), 0.8, np.float32)
    truth = DrawerTruth()
    before = truth.reset(starts)
    after, _ = truth.step(actions)
    truth.close()
    _, predicted = model.step(model.start(np.stack([start.frames for start in starts]), np.arange(4)), actions)
    error, copying = (np.square(frames.astype(float) - after).mean() for frames in (predicted, before))
    assert error < copying


def test_every_checkpoint_has_its_card_and_all_are_small() -> None:
    configs = sorted(WEIGHTS.rglob("config.json"))
    assert len(configs) >= 10
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 40e6
    for path in configs:
        text = path.read_text(encoding="utf-8")
        assert '": "/' not in text  # no path of a machine
        assert json.loads(text)["sha256"]
    for kind in ("world_models/drawer", "verifiers/classifier", "policies"):
        assert (WEIGHTS / kind / "README.md").exists(), kind
