"""A policy that fails in some of its lanes: those episodes are unscored with the reason, all others are as if nothing had happened."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_runs
import toy

from worldsim.evaluate import Cast, Clock, Episode, Genuine, Imagined, roll_out
from worldsim.experiments import cli
from worldsim.policies.random import RandomPolicy
from worldsim.registry import POLICIES
from worldsim.report.run_folder import RunFolder
from worldsim.types import Start


class Flaky(RandomPolicy):
    """Random, but out of reach from the given step of the episodes with the given seeds on."""

    def __init__(self, action, breaks: dict[int, int]) -> None:
        super().__init__(action)
        self.breaks, self.faults, self.lanes = breaks, {}, {}

    def reset(self, lanes, tasks, seeds):
        super().reset(lanes, tasks, seeds)
        self.lanes |= {lane: [seed, 0] for lane, seed in zip(lanes, seeds, strict=True)}
        self.faults = {lane: line for lane, line in self.faults.items() if lane not in lanes}

    def act(self, frames, lanes):
        actions = super().act(frames, lanes)
        for row, lane in enumerate(lanes):
            seed, step = self.lanes[lane]
            if step == self.breaks.get(seed):
                self.faults[lane], actions[row] = "nobody answers", np.nan
            self.lanes[lane][1] += 1
        return actions


def episodes(count: int, world: str) -> list[Episode]:
    return [Episode(f"e{i}", "a", world, Start(str(i), toy.picture(1 + i % 4)[None], i), i) for i in range(count)]


def played(world, action, breaks, batch):
    cast = Cast({"a": Flaky(action, breaks), "b": Flaky(action, {})})
    queue = episodes(7, world.name)
    return {e.id: t for e, t in roll_out(world, cast, toy.shift_task(4), queue, Clock(), batch=batch)}


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("kind", ["imagined", "truth"])
def test_an_episode_ends_where_its_policy_fails_and_the_others_go_on(kind, batch):
    def world():
        return (Imagined(toy.PixelShift()), toy.SPEC.action) if kind == "imagined" else (Genuine(tiny.Slide()), tiny.ACTION)

    breaks = {0: 2, 2: 0, 6: 3}
    found, sound = played(*world(), breaks, batch), played(*world(), {}, batch)
    assert {name: len(t) for name, t in found.items()} == {f"e{i}": breaks.get(i, 4) for i in range(7)}
    for name, trajectory in found.items():
        steps = len(trajectory)
        np.testing.assert_array_equal(trajectory.frames, sound[name].frames[: steps + 1])
        np.testing.assert_array_equal(trajectory.actions, sound[name].actions[:steps])
        assert trajectory.metadata.get("fault") == ("the policy failed: nobody answers" if steps < 4 else None)


@dataclass
class FlakyConfig:
    """Out of reach while the file `off` is there."""

    def build(self, action):
        return Flaky(action, {1: 2, 3: 0} if Path("off").exists() else {})


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_runs.parts(tmp_path, policies="")
    POLICIES.register("flaky")(FlakyConfig)
    with tiny_runs.slide():
        yield lambda *more: cli.main(
            ["evaluate", "run=run", "world_model=world", "policies=[flaky,random]", "task=task.h5", "verifier=judge", "episodes=5", *more]
        )
    del POLICIES._parts["flaky"]


def test_a_run_counts_them_and_plays_them_again_on_request(command):
    Path("off").touch()
    assert command("truth=slide", "workers=1") == 0
    results = json.loads(Path("run/results.json").read_text())
    assert [(p["name"], p["scored"], p["unscored"]) for p in results["policies"]] == [("flaky", 3, 2), ("random", 5, 0)]
    assert results["faults"] == {"the policy failed: nobody answers": 4}  # in both worlds
    assert "the policy failed: nobody answers" in Path("run/report/index.html").read_text()
    Path("off").unlink()
    assert command("truth=slide", "workers=1", "report=false") == 0  # the same command keeps what it has
    assert json.loads(Path("run/results.json").read_text())["faults"] == results["faults"]
    assert command("truth=slide", "workers=1", "report=false", "--retry") == 0
    again = json.loads(Path("run/results.json").read_text())
    assert [(p["name"], p["scored"], p["unscored"]) for p in again["policies"]] == [("flaky", 5, 0), ("random", 5, 0)]
    assert again["faults"] == {}
    assert len(RunFolder("run").episode_ids()) == 20
    assert RunFolder("run").quarantined() == []


def test_a_policy_that_cannot_begin_is_refused_before_an_episode_is_played(command, monkeypatch, capsys):
    monkeypatch.setattr(FlakyConfig, "build", lambda self, action: Flaky(action, dict.fromkeys(range(99), 0)))
    assert command() == 2
    assert 'policy "flaky" does not fit task "tiny": it cannot act: nobody answers' in capsys.readouterr().err
    assert not Path("run").exists()
