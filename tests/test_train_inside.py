"""`worldsim train-policy algorithm=ppo`: the base policy is the first actor, the last actor is the saved policy, and the guards guard."""

import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import tiny_runs
import torch
from toy import PixelShift, shift_task

import worldsim
from worldsim.envs.sb3 import WorldVecEnv
from worldsim.experiments.cli import main
from worldsim.experiments.inside.actor import acted, load_base
from worldsim.experiments.inside.doubt import Doubting
from worldsim.experiments.inside.learning_curve import main as draw_curves
from worldsim.experiments.inside.reward import GuardedReward, Prices, logit
from worldsim.experiments.inside.session import make_ppo
from worldsim.experiments.inside.settings import open_setting
from worldsim.experiments.inside.spot import alarm
from worldsim.experiments.schema import TrainPolicyConfig
from worldsim.types import Verdict

pytestmark = pytest.mark.slow  # as a file
SMALL = ("lanes=3", "batch=4", "epochs=2", "warmup=0", "check_episodes=2", "truth=null", "doubt_every=2")


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> SimpleNamespace:
    """Folders of a world model, a task, two judges and a policy, all random."""
    root = tmp_path_factory.mktemp("inside")
    return SimpleNamespace(
        world=tiny.world_model(root / "world"),
        task=tiny.task_file(root / "task.h5"),
        judge=tiny.classifier(root / "judge"),
        watcher=tiny.classifier(root / "watcher", seed=1),
        policy=tiny.policy(root / "policy"),
    )


def words(parts: SimpleNamespace, out: Path, *more: str) -> list[str]:
    named = [f"world_model={parts.world}", f"task={parts.task}", f"verifier={parts.judge}", f"policy={parts.policy}", f"out={out}"]
    return ["train-policy", "algorithm=ppo", *named, *SMALL, *more]


def settings(parts: SimpleNamespace, **more) -> TrainPolicyConfig:
    named = {"world_model": str(parts.world), "task": str(parts.task), "verifier": str(parts.judge), "policy": str(parts.policy)}
    return TrainPolicyConfig(algorithm="ppo", **named | {"lanes": 3, "batch": 4, "truth": None, "check_episodes": 2} | more)


def learner(parts: SimpleNamespace, folder: Path):
    """PPO on the small world, and the policy that it begins as."""
    config, base = settings(parts), load_base(str(folder))
    setting = open_setting(config)
    env = WorldVecEnv(3, world_model=setting.model, task=setting.task, verifier=setting.judge)
    return make_ppo(config, base, GuardedReward(env, Prices(0.1, 0.0), None), setting.task.horizon), base


def curve_of(out: Path) -> dict:
    return json.loads((out / "cloned-training" / "curve.json").read_text(encoding="utf-8"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_base(str(folder)).network.state_dict()


def same(first: Path, second: Path) -> bool:
    mine, theirs = weights(first), weights(second)
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("normalised", [False, True])
def test_before_training_ppo_acts_as_the_policy_it_begins_from(parts, tmp_path, normalised):
    folder = tiny.policy(tmp_path / "policy", normalised=normalised)
    ppo, _ = learner(parts, folder)
    frames = np.random.default_rng(0).integers(0, 256, (7, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    expected = worldsim.load_policy(str(folder)).act(frames, range(7))
    assert np.abs(expected).min() < 1  # not all of them are clipped
    np.testing.assert_allclose(acted(ppo.policy, frames), expected, atol=1e-6 if normalised else 0)


def test_the_divergence_is_that_of_two_gaussians(parts):
    ppo, _ = learner(parts, parts.policy)
    obs = torch.randint(0, 256, (5, 3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8)
    assert torch.equal(ppo.policy.divergence(obs), torch.zeros(5))
    before = ppo.policy.get_distribution(obs).distribution
    with torch.no_grad():
        ppo.policy.actor.head.bias += 0.1
    now = ppo.policy.get_distribution(obs).distribution
    expected = torch.distributions.kl_divergence(now, before).sum(1)
    torch.testing.assert_close(ppo.policy.divergence(obs), expected)
    torch.testing.assert_close(-ppo.policy.evaluate_actions(obs, now.sample())[2], expected)


def test_the_critic_learns_at_its_own_rate_and_alone_in_the_warm_up(parts):
    ppo, base = learner(parts, parts.policy)
    ppo.policy.freeze_actor(frozen=True)
    ppo.learn(12)
    assert [group["lr"] for group in ppo.policy.optimizer.param_groups] == [1e-4, 1e-3]
    now, before = ppo.policy.actor.state_dict(), base.network.state_dict()
    assert all(torch.equal(now[name], before[name]) for name in before)
    assert ppo.policy.critic.head.bias.abs() > 0


def test_the_saved_policy_is_the_trained_one_and_can_be_evaluated(parts, tmp_path, capsys):
    assert main(words(parts, tmp_path, "iterations=2", f"watcher={parts.watcher}", "learning_rate=0.01")) == 0, capsys.readouterr().err
    saved = tmp_path / "cloned"
    assert not same(saved, parts.policy)
    curve = curve_of(tmp_path)
    assert [row["steps"] for row in curve["iterations"]] == [12, 24]
    assert [row["iteration"] for row in curve["checks"]] == [0, 2]
    assert all(row[who]["episodes"] == 2 for row in curve["checks"] for who in ("imagined", "watched"))
    assert (tmp_path / "cloned-training" / "curve.png").read_bytes().startswith(b"\x89PNG")
    draw_curves([str(tmp_path / "two.png"), *[str(tmp_path / "cloned-training")] * 2])
    assert (tmp_path / "two.png").stat().st_size > 1000
    run = [f"world_model={parts.world}", f"task={parts.task}", f"verifier={parts.judge}", "episodes=2", f"run={tmp_path / 'run'}"]
    assert main(["evaluate", *run, f"policies=[{saved}]"]) == 0, capsys.readouterr().err


def test_a_training_that_stopped_goes_on_as_if_it_had_not(parts, tmp_path, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(words(parts, whole, "iterations=2")) == 0
    for iterations in (1, 2):
        assert main(words(parts, stopped, f"iterations={iterations}")) == 0
    assert same(whole / "cloned", stopped / "cloned")
    assert curve_of(whole)["iterations"] == curve_of(stopped)["iterations"]
    assert main(words(parts, stopped, "iterations=2", "kl=2")) == 1
    assert "kl=" in capsys.readouterr().err


def test_a_large_kl_pins_the_policy(parts, tmp_path):
    moved = {}
    for kl in (0, 1000):
        assert main(words(parts, tmp_path / f"{kl}", "iterations=2", f"kl={kl}", "learning_rate=0.003", "target_kl=10", "epochs=8")) == 0
        moved[kl] = curve_of(tmp_path / f"{kl}")["iterations"][-1]["kl_to_base"]
    assert moved[1000] < 0.5 * moved[0]


class Blinking(PixelShift):
    """The toy world, but the noise of lane 0 of a step is large: there the model disagrees with itself."""

    def step(self, state, actions):
        after, frames = super().step(state, actions)
        frames[0] = np.clip(frames[0] + np.int16(20) * (1 if int(state.seeds[0]) % 2 else -1), 0, 255)
        return after, frames


class Sure:
    """A judge that always says the same."""

    def judge(self, trajectories):
        return [Verdict(0.25, "a quarter")] * len(trajectories)


def test_doubt_lowers_the_reward_where_the_model_disagrees():
    model = Doubting(Blinking(), every=1)
    env = GuardedReward(WorldVecEnv(1, world_model=model, task=shift_task(), verifier=Sure()), Prices(shaping=1.0, doubt=0.1), model)
    calm_model = Doubting(PixelShift(), every=1)
    calm = GuardedReward(WorldVecEnv(1, world_model=calm_model, task=shift_task(), verifier=Sure()), Prices(1.0, 0.1), calm_model)
    for each in (env, calm):
        each.seed(1), each.reset()
    still = np.zeros((1, 2), dtype=np.float32)
    doubted, trusted = env.step(still)[1][0], calm.step(still)[1][0]
    assert trusted == pytest.approx(-0.1 * calm_model.latest[0])
    assert doubted < trusted - 3


def test_doubting_changes_no_frame_and_asks_every_nth_step_only(parts):
    model = worldsim.load_world_model(str(parts.world))
    doubting, frames = Doubting(model, every=2), np.stack([tiny.picture(seed) for seed in range(2)])[:, None]
    plain, state = model.start(frames, np.array([1, 2])), doubting.start(frames, np.array([1, 2]))
    doubts = []
    for action in np.random.default_rng(0).uniform(-1, 1, (4, 2, 3)).astype(np.float32):
        plain, expected = model.step(plain, action)
        state, seen = doubting.step(state, action)
        np.testing.assert_array_equal(seen, expected)
        doubts.append(doubting.latest.all())
    assert doubts == [False, True, False, True]


@dataclass
class Rising:
    """A judge whose score is read from a list, one for each step of an episode."""

    scores: tuple

    def judge(self, trajectories):
        return [Verdict(self.scores[len(each.actions) - 1], "as listed") for each in trajectories]


def test_shaping_pays_the_gain_of_the_logit_once_and_success_once():
    scores = (0.1, 0.3, None, 0.2, 0.9)
    env = GuardedReward(WorldVecEnv(1, world_model=PixelShift(), task=shift_task(), verifier=Rising(scores)), Prices(0.5, 0.0), None)
    env.seed(0), env.reset()
    rewards = [float(env.step(np.zeros((1, 2), dtype=np.float32))[1][0]) for _ in scores]
    a, b, c, d = logit(np.array([0.1, 0.3, 0.2, 0.9]))
    np.testing.assert_allclose(rewards, [0, (b - a) / 2, 0, (c - b) / 2, 1 + (d - c) / 2], rtol=1e-5)
    assert env.tally.successes == env.tally.episodes == env.tally.unscored == 1


def test_an_alarm_is_raised_where_only_the_imagined_rate_rises():
    first, now = (
        {name: {"rate": rate} for name, rate in pairs} for pairs in ((("imagined", 0.5), ("true", 0.4)), (("imagined", 0.9), ("true", 0.5)))
    )
    assert alarm(first, now, limit=0.35) is None
    assert "rose by +0.40, in the truth by +0.10" in alarm(first, now, limit=0.25)
    watched = [{"imagined": {"rate": rate}, "watched": {"rate": 0.5}} for rate in (0.5, 0.9)]
    assert "held-out judge" in alarm(*watched, limit=0.3)


def test_training_stops_at_an_alarm_and_stays_stopped(parts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("worldsim.experiments.inside.session.alarm", lambda first, now, limit: "look out" if now["iteration"] else None)
    for _ in range(2):
        assert main(words(parts, tmp_path, "iterations=3", "check_every=1")) == 0
        assert "stopped after 1 iterations: look out" in capsys.readouterr().out


def test_the_truth_chooses_only_when_asked(parts, tmp_path, monkeypatch):
    with tiny_runs.slide():
        assert main(words(parts, tmp_path, "iterations=1", "truth=slide", "select=truth", "learning_rate=0.01")) == 0
    assert all(row["true"]["episodes"] == 2 for row in curve_of(tmp_path)["checks"])
    assert same(tmp_path / "cloned", parts.policy)  # in four steps no drawer is shut: the first of equals is kept


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("policy=null",), 2, "type policy=2pct"),
        (("policy=2pctt",), 2, 'did you mean "2pct"'),
        (("env=worldsim/Draw-v0",), 2, 'did you mean "worldsim/Drawer-v0"'),
        (("select=truth",), 2, "type truth=NAME"),
        (("batch=5",), 2, "expected a divisor of lanes x horizon = 12"),
        (("check_episodes=5",), 2, "too few to check from 5"),
        (("policy=2pct",), 2, "the policy sees 64 x 64 frames"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(parts, tmp_path, capsys, more, code, message):
    assert main([*words(parts, tmp_path), *more]) == code
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


def test_a_judge_cannot_watch_itself(parts, tmp_path, capsys):
    assert main(words(parts, tmp_path, f"watcher={parts.judge}")) == 2
    assert "name another judge" in capsys.readouterr().err


def test_the_example_of_one_file_learns(parts, capsys):
    example = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "ppo_inside.py"))
    named = ["--world-model", str(parts.world), "--task", str(parts.task), "--verifier", str(parts.judge)]
    example["main"]([*named, "--num-envs", "2", "--steps", "6", "--iterations", "2"])
    assert capsys.readouterr().out.count("successes") == 2
