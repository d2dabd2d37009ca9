"""Policies one after another in an episode, and two of the table's tasks in a row."""

import numpy as np
import pytest
import tiny

from worldsim.envs.table.truth import TableTruth
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments import cli
from worldsim.experiments.evaluate_suite import chosen
from worldsim.experiments.fitting import check_fit
from worldsim.experiments.schema import EvaluateConfig
from worldsim.load import load_policy, load_task, load_truth, load_verifier, load_world_model, part_facts
from worldsim.policies.adapters.bounds import Clipped
from worldsim.policies.relay import Relay, SeeingRelay
from worldsim.registry import POLICIES
from worldsim.types import Start, Task, Trajectory
from worldsim.wrappers.halving import Halving

TASK = Task("t", "", 6, (Start("0", np.zeros((1, 2, 2, 3), np.uint8)),))
FRAMES = np.zeros((3, 2, 2, 3), np.uint8)


class Counting:
    """Tells who acts and for how long already, and keeps what it was told."""

    def __init__(self, number: int) -> None:
        self.action, self.number, self.steps, self.begun, self.faults = tiny.ACTION, number, {}, [], {}

    def reset(self, lanes, tasks, seeds):
        self.begun += zip(lanes, seeds, strict=True)
        self.steps |= dict.fromkeys(lanes, 0)

    def act(self, frames, lanes):
        for lane in lanes:
            self.steps[lane] += 1
        return np.array([[self.number, self.steps[lane], frame[0, 0, 0]] for lane, frame in zip(lanes, frames, strict=True)], np.float32)


class Watching(Counting):
    """It also wants the true state."""

    def see(self, states):
        self.seen = states["x"].tolist()


def begun(members, steps=None, lanes=(0, 1, 2), kind=Relay) -> Relay:
    relay = kind(members, steps)
    relay.reset(lanes, [TASK] * len(lanes), [10 + lane for lane in lanes])
    return relay


@pytest.mark.parametrize(("count", "steps", "who"), [(2, None, [0, 0, 0, 1, 1, 1, 1, 1]), (3, [1, 4], [0, 1, 1, 1, 1, 2, 2, 2])])
def test_each_acts_for_its_share_and_the_last_to_the_end(count, steps, who):
    members = [Counting(number) for number in range(count)]
    relay = begun(members, steps)
    acted = np.stack([relay.act(FRAMES, [0, 1, 2])[0] for _ in who])
    assert acted[:, 0].tolist() == who
    assert acted[:, 1].tolist() == [who[: place + 1].count(number) for place, number in enumerate(who)]
    assert [sorted(member.begun) for member in members] == [[(0, 10), (1, 11), (2, 12)]] * count  # each episode begins once with each


def test_lanes_hand_over_at_their_own_time_and_keep_their_frames():
    relay = begun([Counting(0), Counting(1)])
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    for _ in range(3):
        relay.act(frames[:2], [0, 1])
    relay.reset([1], [TASK], [21])
    acted = relay.act(frames[[2, 0, 1]], [2, 0, 1])
    assert acted[:, 0].tolist() == [0, 1, 0]
    assert acted[:, 2].tolist() == [2, 0, 1]


def test_a_member_sees_the_states_of_its_own_lanes_only():
    watching = Watching(1)
    relay = begun([Counting(0), watching], [2], kind=SeeingRelay)
    for _ in range(2):
        relay.see({"x": np.array([5.0, 6.0])})
        relay.act(FRAMES[:2], [0, 1])
    relay.see({"x": np.array([5.0, 6.0, 7.0])})
    relay.act(FRAMES, [0, 2, 1])
    assert watching.seen == [5.0, 7.0]


def test_the_fault_of_whose_turn_it_is_is_the_lanes():
    first, second = Counting(0), Counting(1)
    relay = begun([first, second], [1])
    first.faults, second.faults = {0: "broken"}, {1: "not yet"}
    assert relay.faults == {0: "broken"}
    relay.act(FRAMES, [0, 1, 2])
    relay.act(FRAMES, [0, 1, 2])
    assert relay.faults == {1: "not yet"}


def test_a_step_for_which_memory_did_not_suffice_is_asked_again_of_nobody_who_answered():
    """Lanes 0 and 2 have handed over, lane 1 has not; the second policy runs out of memory once, for two lanes."""

    class Large(Counting):
        def act(self, frames, lanes):
            if len(lanes) > 1:
                raise MemoryError("two are too many")
            return super().act(frames, lanes)

    first = Counting(0)
    relay = begun([first, Large(1)], [1], lanes=(0, 2))
    relay.act(FRAMES[:2], [0, 2])
    relay.reset([1], [TASK], [11])
    _, made = Halving("it", "lane", "").over(3, lambda part: relay.act(FRAMES[part], [0, 1, 2][part]))
    assert np.concatenate(made)[:, :2].tolist() == [[1, 1], [0, 1], [1, 1]]
    assert first.steps == {0: 1, 1: 1, 2: 1}
    _, made = Halving("it", "lane", "", 1).over(3, lambda part: relay.act(FRAMES[part], [0, 1, 2][part]))
    assert np.concatenate(made)[:, :2].tolist() == [[1, 2], [1, 1], [1, 2]]


def test_a_turn_is_a_whole_episode_to_its_policy():
    """It is told its own share, which a relay inside a relay shares out once more."""
    members = [Counting(number) for number in range(3)]
    relay = begun([members[0], Relay(members[1:])], [4])
    assert [int(relay.act(FRAMES, [0, 1, 2])[0, 0]) for _ in range(6)] == [0, 0, 0, 0, 1, 2]


def test_a_relay_is_known_by_its_policies_and_their_steps():
    spec = {"name": "relay", "of": ["close-begin", "push-begin"]}
    others = [spec | {"of": ["close-begin", "push-beside"]}, spec | {"steps": [7]}]
    known = [part_facts(POLICIES, each) for each in (spec, spec, *others)]
    assert known[0] == known[1]
    assert all(each != known[0] for each in known[2:])
    assert isinstance(load_policy(spec), Relay)


def test_every_policy_of_a_relay_must_fit_before_anything_is_played():
    task, spec = load_task("table:close-push"), load_world_model("table").spec
    check_fit({"fits": load_policy({"name": "relay", "of": ["close-begin", "push-begin"]})}, task, spec)
    for of in (["push-begin", "table-scripted"], ["table-scripted", "push-begin"]):
        with pytest.raises(
            InvalidInput, match='policy "late" does not fit task "table-close-push": a scripted policy needs the true state'
        ):
            check_fit({"late": load_policy({"name": "relay", "of": of})}, task, spec)
    assert isinstance(load_policy({"name": "relay", "of": ["close-begin", "push-begin"], "adapters": ["clip"]}, spec.action), Clipped)


@pytest.mark.parametrize(
    ("of", "words"), [(["begin", "begin"], "clients do not say theirs"), (["replay", "begin"], "recorded starts only")]
)
def test_what_clients_cannot_give_is_not_served(of, words, capsys):
    assert cli.main(["serve-policy", f"policy={{name: relay, of: [{', '.join(of)}]}}"]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("words", "said"), [((), "no policies ship for table-close-push"), (("policies=[random]",), "no judge ships")])
def test_two_tasks_in_a_row_have_no_panel_and_no_judge_of_their_own(words, said, capsys, tmp_path):
    assert cli.main(["evaluate", "world_model=table", "truth=table:close-push", f"run={tmp_path / 'run'}", *words]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs two policies or more"),
        ({"of": "begin"}, "of is 'begin', expected a list"),
        ({"of": ["begin"]}, "needs two policies or more"),
        ({"of": ["begin", "begin"], "steps": [3, 4]}, "has steps [3, 4], expected 1"),
        ({"of": ["begin", "begin"], "steps": [0]}, "has steps [0], expected 1"),
    ],
)
def test_what_is_no_relay_is_refused_in_one_line(options, words):
    with pytest.raises(InvalidInput) as caught:
        load_policy({"name": "relay", **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_tasks_in_a_row_begin_where_the_first_does():
    both, close = load_task("table:close-push"), load_task("table:close")
    assert both.id == "table-close-push"
    assert both.instruction == "close the drawer, then push the block into the zone"
    assert both.horizon == 2 * close.horizon
    assert all(a.seed == b.seed and np.array_equal(a.frames, b.frames) for a, b in zip(both.starts, close.starts, strict=True))
    with pytest.raises(UnknownName, match='has no task "push-close"'):
        load_truth("table:push-close")


@pytest.mark.slow
def test_both_must_be_done():
    """The expert does both; who does one of them only fails, whichever it is."""
    task, starts = load_task("table:close-push"), load_task("table:close-push").starts[:3]
    truth = TableTruth("close-push", size=16)
    lanes = list(range(len(starts)))
    ended = {}
    for done in ("close-push", "close", "push"):
        policy, frames = load_policy({"name": "table-scripted", "id": done}), truth.reset(starts)
        policy.reset(lanes, [task] * len(lanes), lanes)
        for _ in range(task.horizon):
            policy.see(truth.states())
            frames, states = truth.step(policy.act(frames, lanes))
        ended[done] = states["miss"] < 0
        played = [Trajectory(task.id, FRAMES[:2], np.zeros((1, 3), np.float32), states={"miss": [0.0, miss]}) for miss in states["miss"]]
        assert [verdict.success for verdict in load_verifier("state").judge(played)] == ended[done].tolist()
    truth.close()
    assert ended["close-push"].all()
    assert not ended["close"].any()
    assert not ended["push"].any()


def test_the_suite_of_two_tasks_asks_both_judges():
    _, cases = chosen(EvaluateConfig(suite="table_horizon"))
    assert [case.keys["horizon"] for case in cases] == [64, 100, 200]
    assert all(case.keys["verifier"]["rule"] == "all" for case in cases)
    assert all(load_task(case.keys["truth"]).id == "table-close-push" for case in cases)
    assert len({str(part_facts(POLICIES, spec)) for spec in cases[0].keys["policies"]}) == 10
