"""What ships: every checkpoint loads, is what its hash promises, leaks nothing, and stands behind Gymnasium without a warning."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

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


@pytest.mark.parametrize("prefix", ["", "worldsim:"])
@pytest.mark.parametrize("name", ["worldsim/Drawer-v0", "worldsim/World-v0", "worldsim/DrawerTruth-v0"])
def test_gymnasium_finds_nothing_to_complain_about(name: str, prefix: str) -> None:
    env = gymnasium.make(prefix + name)
    check_env(env.unwrapped)
    env.close()


def test_nor_where_everything_is_asked_for() -> None:
    sampler = {"steps": 1, "guidance": 1.5, "history": "window", "window": 3, "anchor": "episode", "rescale": 0.5, "eta": 0.5}
    keywords = sampler | {"rescale_over": "frame", "history_level": 0.05, "precision": "fp32", "determinism": "strict", "device": "cpu"}
    env = gymnasium.make("worldsim/Drawer-v0", verifier="classifier", horizon=5, render_mode="rgb_array", **keywords)
    check_env(env.unwrapped)
    assert env.unwrapped.world_model.precision == "fp32"
    assert vars(env.unwrapped.world_model.sampler).items() >= sampler.items()


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_strict_batch_is_what_gymnasium_makes_of_single_envs(model, mode) -> None:
    """Bit for bit, on the shipped world: observations, rewards of the shipped judge, ends and infos."""
    keywords = {"world_model": model, "verifier": "classifier", "horizon": 2, "determinism": "strict"}
    ours = gymnasium.make_vec("worldsim/Drawer-v0", num_envs=3, autoreset_mode=mode, **keywords)
    theirs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("worldsim/Drawer-v0", **keywords)] * 3, autoreset_mode=mode)
    assert data_equivalence(ours.reset(seed=5), theirs.reset(seed=5), exact=True)
    theirs.action_space.seed(1)
    for _ in range(4):
        action = theirs.action_space.sample()
        mine, reference = ours.step(action), theirs.step(action)
        assert data_equivalence(mine, reference, exact=True)
        over = mine[2] | mine[3]
        if mode is AutoresetMode.DISABLED and over.any():
            options = [{"reset_mask": over.copy()} for _ in range(2)]
            assert data_equivalence(ours.reset(options=options[0]), theirs.reset(options=options[1]), exact=True)
    theirs.close()


def test_wrappers_compose_around_what_ships(model) -> None:
    env = gymnasium.make("worldsim:worldsim/Drawer-v0", world_model=model, max_episode_steps=3)
    env = wrappers.FrameStackObservation(wrappers.RecordEpisodeStatistics(env), 4)
    frames, _ = env.reset(seed=0)
    assert frames in env.observation_space
    for step in range(3):
        *_, truncated, info = env.step(env.action_space.sample())
        assert truncated == (step == 2)
    assert info["episode"]["l"] == 3
    batch = wrappers.vector.RecordEpisodeStatistics(
        gymnasium.make_vec("worldsim:worldsim/Drawer-v0", num_envs=2, world_model=model, horizon=2)
    )
    batch.reset(seed=0)
    batch.step(batch.action_space.sample())
    assert batch.step(batch.action_space.sample())[4]["episode"]["l"].tolist() == [2, 2]


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


@pytest.mark.slow
def test_the_shipped_judge_agrees_with_the_true_state() -> None:
    """Episodes of seeds that nothing was trained on: the verdict on the last frames is that of the drawer's opening."""
    from worldsim.data.splits import seed_of
    from worldsim.envs.drawer.behaviours import choose_behaviour
    from worldsim.envs.drawer.truth import DrawerTruth
    from worldsim.experiments.collect import record_episode

    truth, episodes = DrawerTruth(), []
    for index in range(500, 520):
        rng = np.random.default_rng(index)
        name, behaviour = choose_behaviour("default", rng)
        episodes.append(
            record_episode(truth, seed_of("evaluation", index), lambda frame, state, acts=behaviour: acts.send(state), rng, name)
        )
    truth.close()
    said, true = (worldsim.load_verifier(name).judge(episodes) for name in ("classifier", "state"))
    assert {verdict.success for verdict in true} == {True, False}
    assert [verdict.success for verdict in said] == [verdict.success for verdict in true]
    card = worldsim.load_verifier("classifier").card
    assert card["held_out"]["calibration_error"] <= card["held_out"]["calibration_error_before"] + 0.01
    assert card["threshold_by"]


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
