"""A judge or a policy that runs out of memory is asked for half as many at a time, the run notes it, and no number is another."""

import logging

import numpy as np
import pytest
import torch
import toy
from test_evaluate import arguments, contents, tiny_parts  # noqa: F401  a fixture
from test_rollout import played, queue

from worldsim.errors import WorldsimError
from worldsim.evaluate import Cast, Clock, Imagined, judge_missing, roll_out, timed
from worldsim.experiments import cli
from worldsim.load import load_verifier
from worldsim.report.run_folder import RunFolder
from worldsim.wrappers import Halving

IDENTITY = {"world_model": {"name": "toy"}, "verifier": {"name": "column"}, "task": {"id": "shift"}, "sampler": {}, "seed": 0}
ERRORS = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    torch.OutOfMemoryError("x"),
]


class Stuffed:
    """`part`, of which a call with more than `most` rows runs out of memory. `calls` lists the rows of each call."""

    def __init__(self, part, most: int, error: Exception) -> None:
        self.part, self.most, self.error, self.calls = part, most, error, []

    def __getattr__(self, name):
        return getattr(self.part, name)

    def _eat(self, rows: int) -> None:
        self.calls.append(rows)
        if rows > self.most:
            raise self.error

    def judge(self, trajectories):
        self._eat(len(trajectories))
        return self.part.judge(trajectories)

    def act(self, frames, lanes):
        self._eat(len(lanes))
        return self.part.act(frames, lanes)


class Counting(toy.Seeker):
    """A policy with a memory: it rests in every second call for a lane, so a lane that is asked twice acts otherwise."""

    def reset(self, lanes, tasks, seeds):
        super().reset(lanes, tasks, seeds)
        self.counts = getattr(self, "counts", {}) | dict.fromkeys(lanes, 0)

    def act(self, frames, lanes):
        self.counts |= {lane: self.counts[lane] + 1 for lane in lanes}
        return super().act(frames, lanes) * np.array([[self.counts[lane] % 2] for lane in lanes])


def test_rows_that_were_answered_are_not_asked_again():
    asked = []

    def call(part: slice) -> range:
        asked.append((part.start, part.stop))
        if part.start >= 8 and part.stop - part.start > 1:  # the memory is full from row 8 on
            raise MemoryError
        return range(part.start, part.stop)

    halving = Halving("it", "row", "buy more", 4)
    parts, made = halving.over(11, call)
    assert [row for each in made for row in each] == list(range(11))
    assert asked == [(0, 4), (4, 8), (8, 11), (8, 9), (9, 10), (10, 11)]
    assert [(part.start, part.stop) for part in parts] == [(0, 4), (4, 8), (8, 9), (9, 10), (10, 11)]
    assert (halving.size, halving.halved) == (1, True)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_policy_is_asked_for_fewer_lanes_and_acts_the_same(error, caplog):
    stuffed, cast_of = Stuffed(Counting(), 2, error), lambda policy: Cast({"a": policy})
    expected = played(toy.PixelShift(), {"a": Counting()}, queue("a", 6), batch=6)
    cast = cast_of(stuffed)
    with caplog.at_level(logging.WARNING):
        rolled = roll_out(Imagined(toy.PixelShift()), cast, toy.shift_task(4), queue("a", 6), Clock(), batch=6)
        found = {episode.id: trajectory for episode, trajectory in rolled}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name].actions, expected[name].actions) for name in expected)
    assert stuffed.calls[:4] == [6, 3, 1, 1]
    assert cast.halved == {"policy a": 1}
    assert [record.getMessage() for record in caplog.records] == [
        'the memory is too small for 6 lanes in one call of policy "a"; going on with 3 at a time',
        'the memory is too small for 3 lanes in one call of policy "a"; going on with 1 at a time',
    ]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_judge_is_shown_fewer_episodes_and_says_the_same_once(tmp_path, error):
    with RunFolder.open(tmp_path / "run", {"identity": IDENTITY}) as run:
        for name, trajectory in played(toy.PixelShift(), {"a": toy.Seeker()}, queue("a", 9), batch=9).items():
            run.add_episode(name, trajectory)
        judge = Stuffed(toy.BrightColumn(), 4, error)
        with timed(run) as clock:
            judge_missing(run, "column", judge, ["imagined"], clock, batch=7)
        assert judge.calls == [7, 3, 3, 3]
        judge_missing(run, "plain", toy.BrightColumn(), ["imagined"], Clock())
        assert run.verdicts("column") == run.verdicts("plain")
        assert run.verdict_path("column").read_bytes().count(b"\n") == 9
        assert [row["halved"] for row in run.throughput()] == [{"verifier column": 3}]


def test_a_memory_too_small_for_one_is_one_line_and_keeps_what_was_judged(tmp_path):
    class Filling(toy.BrightColumn):
        def judge(self, trajectories):
            if trajectories[0].seed >= 2:
                raise MemoryError("no more\nat all")
            return super().judge(trajectories)

    with RunFolder.open(tmp_path / "run", {"identity": IDENTITY}) as run:
        for name, trajectory in played(toy.PixelShift(), {"a": toy.Seeker()}, queue("a", 4), batch=4).items():
            run.add_episode(name, trajectory)
        with pytest.raises(WorldsimError, match="too small for the verifier, even one episode at a time") as caught:
            judge_missing(run, "column", Filling(), ["imagined"], Clock(), batch=2)
        assert "\n" not in str(caught.value)
        assert len(run.verdicts("column")) == 2
        judge_missing(run, "column", toy.BrightColumn(), ["imagined"], Clock(), batch=2)
        assert len(run.verdicts("column")) == 4


def test_another_error_is_not_taken_for_a_small_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        Halving("it", "row", "", 4).over(4, lambda part: (_ for _ in ()).throw(RuntimeError("shapes differ")))


def test_a_run_goes_on_with_less_and_ends_the_same(tiny_parts, monkeypatch, capsys):  # noqa: F811
    from worldsim.experiments import setting

    assert cli.main(arguments("whole")) == 0
    monkeypatch.setattr(setting, "load_verifier", lambda *given: Stuffed(load_verifier(*given), 3, ERRORS[1]))
    assert cli.main(arguments("run")) == 0
    assert contents("run") == contents("whole")
    whole, found = (RunFolder(name).verdicts("judge") for name in ("whole", "run"))
    assert {name: verdict.score for name, verdict in found.items()} == pytest.approx({name: each.score for name, each in whole.items()})
    assert [row.get("halved") for row in RunFolder("run").throughput()] == [{"verifier judge": 2}]
