"""Continuous batching: lanes are refilled as they end, across policies; a broken world is unscored; and the batch size changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stirred
import tiny
import tiny_runs
import torch
import toy
from breaking import Hungry, Stuck, poison

from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import InvalidInput
from worldsim.evaluate import Cast, Clock, Episode, Genuine, Imagined, judge_missing, roll_out
from worldsim.experiments import cli
from worldsim.policies.random import RandomPolicy
from worldsim.report.page import write_report
from worldsim.report.run_folder import RunFolder
from worldsim.simulator.world_model import NOT_NUMBERS
from worldsim.types import Start, Task, Trajectory
from worldsim.wrappers import FROZEN, PATIENCE

TOLERANCE = 1  # grey levels between batch sizes in `fast`, over the few steps here


@pytest.fixture
def strict() -> Iterator[None]:
    """Torch is put back as it was after a strict command."""
    yield
    torch.use_deterministic_algorithms(mode=False)


def queue(policies: str, starts: int, frames=None) -> list[Episode]:
    """Episodes of each policy, one letter each, seeded 0, 1, 2, ... over all of them."""
    order = [(policy, index) for policy in policies for index in range(starts)]
    frames = [toy.picture(1 + index % 4)[None] for index in range(starts)] if frames is None else frames
    return [Episode(f"{p}{i}", p, "imagined", Start(str(i), frames[i], i), seed) for seed, (p, i) in enumerate(order)]


class Counting(RandomPolicy):
    """A random policy that lists the lanes of each call."""

    def __init__(self) -> None:
        super().__init__(toy.SPEC.action)
        self.calls, self.begun = [], []

    def reset(self, lanes, tasks, seeds):
        super().reset(lanes, tasks, seeds)
        self.begun.append((list(lanes), [task.starts[0].id for task in tasks]))

    def act(self, frames, lanes):
        self.calls.append(list(lanes))
        return super().act(frames, lanes)


def played(model, policies: dict, episodes: list[Episode], batch: int, horizon: int = 4, **options) -> dict[str, Trajectory]:
    task = toy.shift_task(horizon)
    return {each.id: t for each, t in roll_out(Imagined(model), Cast(policies, **options), task, episodes, Clock(), batch=batch)}


def test_lanes_of_several_policies_share_every_call_of_the_model():
    model, a, b = toy.PixelShift(), Counting(), Counting()
    found = played(model, {"a": a, "b": b}, queue("ab", 3), batch=4, horizon=2)
    assert model.calls == [3, 3, 3, 3]  # six episodes in two waves of three rather than in four and two
    assert (a.calls, b.calls) == ([[0, 1, 2]] * 2, [[0, 1, 2]] * 2)
    found = played(model, {"a": a, "b": b}, queue("ab", 4), batch=3, horizon=2)
    assert model.calls[4:] == [3, 3, 3, 3, 2, 2]
    assert a.calls[2:] == [[0, 1, 2], [0, 1, 2], [0], [0]]
    assert b.calls[2:] == [[1, 2], [1, 2], [0, 1], [0, 1]]
    assert list(found) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
    assert all(len(trajectory) == 2 for trajectory in found.values())


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 100])
def test_the_batch_size_does_not_matter_to_the_toy(batch):
    policies = {"a": RandomPolicy(toy.SPEC.action), "b": toy.Seeker()}
    alone = {}
    for episode in queue("ab", 4):
        alone |= played(toy.PixelShift(), policies, [episode], batch=1)
    together = played(toy.PixelShift(), policies, queue("ab", 4), batch)
    assert alone.keys() == together.keys()
    for name, trajectory in together.items():
        np.testing.assert_array_equal(trajectory.frames, alone[name].frames)
        np.testing.assert_array_equal(trajectory.actions, alone[name].actions)
        assert trajectory.metadata == alone[name].metadata


def test_a_lane_that_breaks_is_refilled_at_once_and_the_others_do_not_notice():
    breaks = {1: 1, 4: 2}  # frozen from there, and found two steps later
    policies, inner = {"a": (right := Right())}, toy.PixelShift()
    found = played(Stuck(inner, breaks), policies, queue("a", 7), batch=3, horizon=6)
    sound = played(toy.PixelShift(), policies, queue("a", 7), batch=3, horizon=6)
    assert {name: t.metadata.get("fault") for name, t in found.items() if "fault" in t.metadata} == {"a1": FROZEN, "a4": FROZEN}
    assert {name: len(t) for name, t in found.items()} == {f"a{i}": {1: PATIENCE, 4: 1 + PATIENCE}.get(i, 6) for i in range(7)}
    assert list(found)[0] == "a1"  # handed out as it ends
    for name in sound.keys() - {"a1", "a4"}:
        np.testing.assert_array_equal(found[name].frames, sound[name].frames)
    assert inner.calls == [3] * 10 + [2] * 2 + [1] * 3  # full until the queue is empty
    assert right.begun[1] == ([1], ["3"])  # at step 3, in the lane that broke


class Right:
    """Moves right for ever."""

    def __init__(self) -> None:
        self.action, self.begun = toy.SPEC.action, []

    def reset(self, lanes, tasks, seeds):
        self.begun.append((list(lanes), [task.starts[0].id for task in tasks]))

    def act(self, frames, lanes):
        return np.tile(np.float32([1, 0]), (len(lanes), 1))


@pytest.mark.parametrize("history", ["stream", "window"])
def test_numbers_that_are_none_end_their_episode_and_no_other(history):
    """In a strict world; in `fast` a refilled lane may move the others by a rounding, as every change of the batch may."""
    frames, task = stirred.pictures(9), Task("t", "do it", 5, ())
    episodes, breaks = queue("a", 9, frames), {2: 2, 3: 5, 7: 1}
    cast = Cast({"a": RandomPolicy(stirred.ACTION)})

    def found(model) -> dict[str, Trajectory]:
        return {each.id: t for each, t in roll_out(Imagined(model, strict=True), cast, task, episodes, Clock(), batch=4)}

    broken = found(poison(stirred.world_model(history=history), breaks))
    sound = found(stirred.world_model(history=history))
    assert {name: len(t) for name, t in broken.items() if t.metadata.get("fault") == NOT_NUMBERS} == {"a2": 2, "a3": 5, "a7": 1}
    for name in sound.keys() - {"a2", "a3", "a7"}:
        np.testing.assert_array_equal(broken[name].frames, sound[name].frames)
        assert "fault" not in broken[name].metadata


def test_a_policy_with_memory_keeps_its_lanes_apart():
    """A policy that counts its calls by lane begins to count at each reset, also in a refilled lane and after lanes are dropped."""

    class Counter(Right):
        def reset(self, lanes, tasks, seeds):
            self.counts = getattr(self, "counts", {}) | dict.fromkeys(lanes, 0)

        def act(self, frames, lanes):
            self.counts |= {lane: self.counts[lane] + 1 for lane in lanes}
            return np.array([[self.counts[lane] / 10, 0] for lane in lanes], dtype=np.float32)

    found = played(Stuck(toy.PixelShift(), {0: 1, 3: 1, 5: 1}), {"a": Counter(), "b": Counter()}, queue("ab", 4), batch=3, horizon=5)
    for trajectory in found.values():
        np.testing.assert_allclose(trajectory.actions[:, 0], np.arange(1, len(trajectory) + 1) / 10, rtol=1e-6)


def test_a_policy_that_gives_bad_actions_is_named():
    class Bad(Right):
        def __init__(self, actions):
            super().__init__()
            self.actions = np.float32(actions)

        def act(self, frames, lanes):
            return self.actions

    for actions, words in (([[np.nan, 0]], '"right" of lane 0 is nan'), ([[0, 0, 0]], "expected"), ([[0, 0]] * 2, "2 actions for 1 lanes")):
        with pytest.raises(InvalidInput, match=f'policy "a".*{words}'):
            played(toy.PixelShift(), {"a": Bad(actions)}, queue("a", 1), batch=1)


def test_a_truth_is_reset_as_a_whole():
    world, episode = Genuine(tiny.Slide()), queue("a", 1)[0]
    with pytest.raises(InvalidInput, match="a truth is reset as a whole"):
        world.start({1: episode}, 2)
    task, cast = toy.shift_task(3), Cast({"a": RandomPolicy(tiny.ACTION)})
    found = list(roll_out(world, cast, task, queue("a", 5), Clock(), batch=2))
    assert [len(t.states["opening"]) for _, t in found] == [4] * 5
    again = [list(roll_out(world, cast, task, [each], Clock(), batch=1))[0][1] for each in queue("a", 5)]
    assert all(np.array_equal(t.frames, other.frames) for (_, t), other in zip(found, again, strict=True))


def test_little_memory_changes_no_episode_and_the_world_says_what_it_came_to():
    policies, hungry = {"a": toy.Seeker()}, Hungry(toy.PixelShift(), 2, MemoryError())
    world = Imagined(hungry)
    found = {e.id: t for e, t in roll_out(world, Cast(policies), toy.shift_task(4), queue("a", 6), Clock(), batch=6)}
    expected = played(toy.PixelShift(), policies, queue("a", 6), batch=6)
    assert all(np.array_equal(t.frames, expected[name].frames) for name, t in found.items())
    assert world.limit == 1


# --- the command ---


@pytest.fixture
def tiny_parts(tmp_path, monkeypatch):
    """The parts of a run with two policies; commands run inside their folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_runs.parts(tmp_path, "ab")


def evaluated(run: str, **values) -> dict[str, Trajectory]:
    """Every episode of the run by policy and start."""
    keys = {"world_model": "world", "policies": "[a,b,random]", "task": "task.h5", "verifier": "judge", "episodes": 5, "report": "false"}
    assert cli.main(["evaluate", f"run={run}", *(f"{key}={value}" for key, value in (keys | values).items())]) == 0
    found = [trajectory for _, trajectory in RunFolder(run).episodes()]
    named = {(t.metadata["world"], t.metadata["policy"], t.start_id): t for t in found}
    return {" ".join(name[1:] if name[0] == "imagined" else name): trajectory for name, trajectory in named.items()}


def scores(run: str) -> dict[str, float | None]:
    return {name: verdict.score for name, verdict in RunFolder(run).verdicts("judge").items()}


def assert_equal(left: dict[str, Trajectory], right: dict[str, Trajectory], tolerance: int = 0) -> None:
    assert left.keys() == right.keys()
    for name, trajectory in left.items():
        assert np.abs(trajectory.frames.astype(int) - right[name].frames).max() <= tolerance, name
        np.testing.assert_allclose(trajectory.actions, right[name].actions, atol=1e-2 * tolerance, rtol=0)


@pytest.mark.slow
def test_strict_results_do_not_depend_on_the_batch_size_bit_for_bit(tiny_parts, strict):
    one, three, seven = (evaluated(f"strict{batch}", batch=batch, determinism="strict") for batch in (1, 3, 7))
    assert_equal(one, three)
    assert_equal(one, seven)
    assert scores("strict1") == scores("strict3") == scores("strict7")
    assert RunFolder("strict1").episode_ids() == RunFolder("strict7").episode_ids()
    assert [row["lanes"] for row in RunFolder("strict7").throughput()] == [1]


@pytest.mark.slow
def test_fast_results_depend_on_the_batch_size_in_their_rounding_only(tiny_parts):
    one, three, seven = (evaluated(f"fast{batch}", batch=batch, precision="fp32") for batch in (1, 3, 7))
    assert_equal(one, three, TOLERANCE)
    assert_equal(one, seven, TOLERANCE)
    assert [row["lanes"] for row in RunFolder("fast7").throughput()] == [5]  # 15 episodes in at most 7 lanes are three calls of 5


@pytest.mark.slow
def test_strict_resuming_plays_only_what_is_missing(tiny_parts, strict):
    whole = evaluated("whole", batch=3, determinism="strict")
    evaluated("torn", batch=4, determinism="strict")
    said = scores("torn")
    for path in sorted(Path("torn", "episodes").glob("*.h5"))[::2]:
        path.unlink()
    assert_equal(evaluated("torn", batch=2, determinism="strict"), whole)
    assert scores("torn") == scores("whole") == said
    assert [row["rollouts"] for row in RunFolder("torn").throughput()] == [15, 8]


@pytest.mark.slow
def test_a_strict_truth_does_not_depend_on_the_batch_either(tiny_parts, strict):
    with tiny_runs.slide():
        found = [evaluated(f"run{batch}", batch=batch, determinism="strict", truth="slide", policies="[a,b]") for batch in (2, 9)]
        before = RunFolder("run2").episode_ids()
        for name in before[::3]:
            RunFolder("run2").episode_path(name).unlink()
        found.append(evaluated("run2", batch=3, determinism="strict", truth="slide", policies="[a,b]"))
    assert RunFolder("run2").episode_ids() == before
    assert_equal(found[0], found[1])
    assert_equal(found[0], found[2])


@pytest.mark.slow
def test_one_checkpoint_under_two_names_acts_alike_bit_for_bit_in_strict(tiny_parts, strict):
    found = evaluated("run", batch=4, determinism="strict", policies="[a,{name: a, as: twin},{name: cloned, path: a, as: third}]")
    for start in range(5):
        frames = {found[f"{name} {start:07d}"].frames.tobytes() for name in ("a", "twin", "third")}
        assert len(frames) == 1


def test_broken_episodes_are_kept_short_unscored_and_reported(tiny_parts, monkeypatch):
    from worldsim.experiments import setting

    opened = setting.open_model
    monkeypatch.setattr(setting, "open_model", lambda config: poison(opened(config), {1: 2, 3: 1}))
    found = evaluated("run", policies="[a,b]", batch=4, precision="fp32")
    broken = {name: len(trajectory) for name, trajectory in found.items() if "fault" in trajectory.metadata}
    assert broken == {"a 0000001": 2, "a 0000003": 1, "b 0000001": 2, "b 0000003": 1}
    verdicts = RunFolder("run").verdicts("judge")
    assert sorted(verdict.reason for verdict in verdicts.values() if verdict.score is None) == [NOT_NUMBERS] * 4
    results = json.loads(Path("run", "results.json").read_text())
    assert [(policy["episodes"], policy["scored"], policy["unscored"]) for policy in results["policies"]] == [(5, 3, 2)] * 2
    assert results["faults"] == {NOT_NUMBERS: 4}
    assert sum(row["frames"] for row in RunFolder("run").throughput()) == 6 * 4 + 2 * (2 + 1)
    page = write_report(RunFolder("run")).read_text(encoding="utf-8")
    assert f"Unscored because they broke off: 4 episodes ({NOT_NUMBERS})" in page


def test_no_judge_is_asked_about_a_broken_episode(tmp_path):
    class Nosy(toy.BrightColumn):
        def judge(self, trajectories):
            assert all(len(trajectory) == 4 for trajectory in trajectories)
            return super().judge(trajectories)

    identity = {"world_model": {"name": "toy"}, "verifier": {"name": "nosy"}, "task": {"id": "shift"}, "sampler": {}, "seed": 0}
    with RunFolder.open(tmp_path / "run", {"identity": identity}) as run:
        for name, trajectory in played(Stuck(toy.PixelShift(), {0: 1, 1: 1}), {"a": Right()}, queue("a", 3), batch=2).items():
            run.add_episode(name, trajectory)
        judge_missing(run, "nosy", Nosy(), ["imagined"], Clock())
        said = run.verdicts("nosy")
    assert {name: verdict.score is None for name, verdict in said.items()} == {"a0": True, "a1": True, "a2": False}
    assert said["a0"].reason == FROZEN


def test_fast_resuming_is_bit_equal_also_after_lanes_broke(tiny_parts, monkeypatch):
    from worldsim.experiments import setting

    opened = setting.open_model
    monkeypatch.setattr(setting, "open_model", lambda config: poison(opened(config), {1: 2, 3: 1}))
    whole = evaluated("whole", batch=2)
    evaluated("torn", batch=2)
    for path in sorted(Path("torn", "episodes").glob("*.h5"))[::3]:
        path.unlink()
    assert_equal(evaluated("torn", batch=2), whole)


def test_a_run_keeps_what_a_full_memory_came_to(tiny_parts, monkeypatch):
    from worldsim.experiments import setting

    opened = setting.open_model
    monkeypatch.setattr(setting, "open_model", lambda config: Hungry(opened(config), 3, MemoryError()))
    found = evaluated("run", policies="[a]", batch=5)
    assert len(found) == 5
    assert [row["lanes"] for row in RunFolder("run").throughput()] == [2]
    assert json.loads(Path("run", "results.json").read_text())["throughput"]["lanes_per_call"] == 2
    assert read_trajectory(next(Path("run", "episodes").glob("*.h5"))).frames.shape == (5, 16, 16, 3)
