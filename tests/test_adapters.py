"""What stands between a policy and a world says anew what an action means, remembers per lane, and lets failures through."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from worldsim.errors import InvalidInput, UnknownName
from worldsim.load import load_policy, part_facts
from worldsim.policies.adapters.rotation import turned
from worldsim.registry import ADAPTERS, POLICIES
from worldsim.types import ActionSpec

ARM = ActionSpec(
    ("x", "roll", "pitch", "yaw", "gripper"),
    (-1.0, -0.5, -0.5, -0.5, 0.0),
    (1.0, 0.5, 0.5, 0.5, 1.0),
    5.0,
    rotation="rpy",
    gripper="absolute",
)
TASK = toy.shift_task()


class Script:
    """Says the given actions one after another, in each lane from the beginning of its episode; `broken` lanes fail."""

    def __init__(self, actions, spec: ActionSpec = ARM, broken: tuple[int, ...] = ()) -> None:
        self.action, self.actions = spec, np.float32(actions)
        self.faults, self.at = {lane: "gone" for lane in broken}, {}

    def reset(self, lanes, tasks, seeds):
        self.at |= dict.fromkeys(lanes, 0)

    def act(self, frames, lanes):
        rows = [np.full(self.action.size, np.nan) if lane in self.faults else self.actions[self.at[lane]] for lane in lanes]
        self.at |= {lane: self.at[lane] + 1 for lane in lanes}
        return np.float32(rows)


class Planner:
    """At step t of its episode it plans 10 t, 10 t + 1, ..., and lists whom it was asked about. It sees the step in the picture."""

    def __init__(self, length: int = 3) -> None:
        self.action, self.length, self.calls, self.faults = ActionSpec(("x",), (-1e3,), (1e3,), 5.0), length, [], {}

    def reset(self, lanes, tasks, seeds):
        """Remembers nothing."""

    def plan(self, frames, lanes):
        self.calls.append(list(lanes))
        return np.float32([10 * frame[0, 0, 0] + np.arange(self.length)[:, None] for frame in frames])


def adapted(policy, name: str, action: ActionSpec | None = None, **options):
    return ADAPTERS.config(name, options).build(policy, action)


def played(policy, steps: int, lanes=(0,)) -> np.ndarray:
    """Actions `[steps, lanes, A]` of one episode; frame t is as bright as t."""
    policy.reset(list(lanes), [TASK] * len(lanes), [0] * len(lanes))
    return np.stack([policy.act(np.full((len(lanes), 8, 8, 3), step, np.uint8), list(lanes)) for step in range(steps)])


def grip(values, *, gripper: str = "absolute") -> Script:
    spec = replace(ARM, gripper=gripper, low=(*ARM.low[:4], -1.0 if gripper.startswith("relative") else 0.0))
    return Script([[0, 0, 0, 0, value] for value in values], spec)


# plans


def test_a_plan_is_played_and_then_made_anew():
    planner = Planner()
    policy = adapted(planner, "chunk", execute=2)
    assert played(policy, 5)[:, 0, 0].tolist() == [0, 1, 20, 21, 40]
    assert played(adapted(Planner(), "chunk"), 4)[:, 0, 0].tolist() == [0, 1, 2, 30]
    assert len(planner.calls) == 3


def test_only_lanes_without_a_plan_are_asked_and_episodes_share_none():
    planner = Planner()
    policy = adapted(planner, "chunk")
    played(policy, 1, lanes=(0, 1))
    policy.reset([1], [TASK], [0])
    assert policy.act(np.full((2, 8, 8, 3), 7, np.uint8), [0, 1]).tolist() == [[1], [70]]
    assert planner.calls == [[0, 1], [1]]


@pytest.mark.parametrize(
    ("temperature", "plans", "third"),
    [(0.0, None, (2 + 11 + 20) / 3), (0.0, 2, (11 + 20) / 2), (0.0, 1, 20), (np.log(2), None, (4 * 2 + 2 * 11 + 20) / 7)],
)
def test_an_ensemble_averages_what_all_plans_say_of_a_step(temperature, plans, third):
    said = played(adapted(Planner(), "ensemble", temperature=temperature, plans=plans), 6)[:, 0, 0]
    assert said[0] == 0
    assert said[2] == pytest.approx(third, rel=1e-6)
    assert said[5] == pytest.approx(third + 30, rel=1e-6)


def test_plans_of_the_wrong_size_are_refused():
    with pytest.raises(InvalidInput, match="type execute: 3"):
        played(adapted(Planner(), "chunk", execute=4), 1)
    planner = Planner()
    planner.plan = lambda frames, lanes: np.zeros((1, 2, 3))
    with pytest.raises(InvalidInput, match=r"\[1 lanes, actions, 1\]"):
        played(adapted(planner, "chunk"), 1)
    with pytest.raises(InvalidInput, match="one action at a time"):
        adapted(grip([0]), "chunk")


# the gripper


@pytest.mark.parametrize(
    ("openness", "wait", "said"),
    [
        ([1, 1, 0, 0, 0, 0], False, [0, 0, 1, 1, 1, 0]),
        ([1, 0.6, 0.2, 0.2, 0.2, 0.2], False, [0, 0.4, 0.4, 0, 0, 0]),
        ([1, 0, 1, 1, 1, 1], False, [0, 1, 1, 1, 0, 0]),
        ([1, 0.6, 0.2, 0.2, 0.2, 0.2], True, [0, 0.4, 0.8, 0.8, 0.8, 0]),
    ],
)
def test_a_sticky_gripper_as_in_simpler(openness, wait, said):
    policy = adapted(grip(openness), "sticky_gripper", repeat=3, wait_for_latch=wait)
    for _ in range(2):  # an episode remembers nothing of the one before
        np.testing.assert_allclose(played(policy, 6)[:, 0, 4], said, atol=1e-6)
    assert (policy.action.gripper, policy.action.low[4], policy.action.high[4]) == ("relative", -1, 1)
    closed = adapted(grip(1 - np.array(openness), gripper="absolute_closed"), "sticky_gripper", repeat=3, wait_for_latch=wait)
    np.testing.assert_allclose(played(closed, 6)[:, 0, 4], said, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "values", "to", "said"),
    [
        ("absolute", [1, 0.2], "absolute_closed", [0, 0.8]),
        ("relative", [1, -0.5], "relative_open", [-1, 0.5]),
        ("absolute", [1, 1, 0, 0.5], "relative", [0, 0, 1, -0.5]),
        ("absolute_closed", [0, 0, 1, 0.5], "relative_open", [0, 0, -1, 0.5]),
        ("relative", [0.05, 1, 0.05, -1, 0], "absolute", [1, 0, 0, 1, 1]),
        ("relative_open", [0.05, -1, 0.05, 1, 0], "absolute_closed", [0, 1, 1, 0, 0]),
        ("absolute", [0.3], "absolute", [0.3]),
    ],
)
def test_the_gripper_in_other_words(given, values, to, said):
    policy = adapted(grip(values, gripper=given), "gripper", to=to)
    assert policy.action.gripper == to
    np.testing.assert_allclose(played(policy, len(values))[:, 0, 4], said, atol=1e-6)
    policy.action.check(played(policy, len(values))[:, 0])


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=12))
def test_openness_survives_the_way_to_changes_and_back(openness):
    start = "open" if openness[0] else "closed"
    there = adapted(grip(openness), "gripper", to="relative")
    back = adapted(there, "gripper", to="absolute", begins=start)
    assert played(back, len(openness))[:, 0, 4].tolist() == openness


# turns


@settings(deadline=None)
@given(st_numpy.arrays(np.float64, (4, 3), elements=st.floats(-1.5, 1.5)))
def test_turns_survive_the_way_to_axis_angle_and_back(turns):
    np.testing.assert_allclose(turned(turned(turns, "rpy", "axis_angle"), "axis_angle", "rpy"), turns, atol=1e-7)


def test_a_turn_about_one_axis_is_the_same_in_both_and_two_follow_fixed_axes():
    np.testing.assert_allclose(turned(np.diag([0.3, -0.2, 0.1]), "rpy", "axis_angle"), np.diag([0.3, -0.2, 0.1]), atol=1e-12)
    quarter = np.pi / 2
    rolled_then_yawed = turned(np.array([[quarter, 0, quarter]]), "rpy", "axis_angle")[0]  # about (1, 1, 1) by 120 degrees
    np.testing.assert_allclose(rolled_then_yawed, np.full(3, 2 * np.pi / 3 / np.sqrt(3)), atol=1e-12)


def test_the_rotation_adapter_changes_three_components_and_their_names():
    policy = adapted(Script([[0.5, 0.1, 0.2, 0.3, 1]]), "rotation", to="axis_angle")
    said = played(policy, 1)[0, 0]
    np.testing.assert_allclose(said[1:4], turned(np.array([[0.1, 0.2, 0.3]]), "rpy", "axis_angle")[0], atol=1e-6)
    assert said[[0, 4]].tolist() == [0.5, 1]
    assert policy.action.names == ("x", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper")
    assert adapted(policy, "rotation", to="rpy").action.names == ARM.names
    with pytest.raises(InvalidInput, match="between rpy and axis_angle"):
        adapted(Script([[0]], replace(toy.SPEC.action)), "rotation", to="rpy")


# scale, bounds, order


def test_scale_and_clip():
    policy = adapted(Script([[0.5, 0.25, 0, 0, 1], [9, 0, 0, 0, 0]]), "scale", to={"x": [-0.05, 0.05], "roll": [-1, 1]})
    np.testing.assert_allclose(played(policy, 2)[:, 0, :2], [[0.025, 0.5], [0.05, 0]], atol=1e-6)
    assert policy.action.high[:2] == (0.05, 1)
    world = replace(ARM, high=(0.25, *ARM.high[1:]))
    clipped = adapted(Script([[0.5, 0.1, 0, 0, 1]]), "clip", world)
    assert played(clipped, 1)[0, 0, 0] == 0.25
    assert clipped.action == world


def test_components_are_ordered_renamed_and_filled_up():
    world = replace(ARM, names=("gripper", "base", "dx"), low=(0, -1, -1), high=(1, 1, 1))
    policy = adapted(Script([[0.5, 0.1, 0, 0, 1]]), "components", world, rename={"dx": "x"}, constants={"base": 0.25})
    assert played(policy, 1)[0, 0].tolist() == [1, 0.25, 0.5]
    assert (policy.action.names, policy.action.low, policy.action.high) == (world.names, (0, 0.25, -1), (1, 0.25, 1))
    with pytest.raises(InvalidInput, match='no component "base"; name one'):
        adapted(Script([[0] * 5]), "components", world)


# rates


def test_a_slow_policy_spreads_its_moves_and_holds_the_rest():
    policy = adapted(Script([[0.6, 0.3, 0, 0, 1], [0.3, 0, 0, 0, 0]]), "rate", actions="delta", hz=15)
    said = played(policy, 6)[:, 0]
    np.testing.assert_allclose(said[:, 0], [0.2] * 3 + [0.1] * 3, atol=1e-6)
    assert said[:, 4].tolist() == [1] * 3 + [0] * 3
    assert (policy.action.rate_hz, policy.action.high[0], policy.action.high[4]) == (15, pytest.approx(1 / 3), 1)
    held = adapted(Script([[0.6, 0.3, 0, 0, 1]]), "rate", actions="held", hz=15)
    np.testing.assert_allclose(played(held, 3)[:, 0, 0], [0.6] * 3, atol=1e-6)


def test_a_fast_planner_adds_up_its_moves():
    planner = adapted(Planner(6), "chunk")
    policy = adapted(planner, "rate", actions="delta", hz=2.5)
    assert played(policy, 3)[:, 0, 0].tolist() == [0 + 1, 2 + 3, 4 + 5]
    last = adapted(adapted(Planner(6), "chunk"), "rate", actions="held", hz=2.5)
    assert played(last, 3)[:, 0, 0].tolist() == [1, 3, 5]
    with pytest.raises(InvalidInput, match="chunk right before rate"):
        adapted(grip([0]), "rate", actions="delta", hz=1)
    with pytest.raises(InvalidInput, match="neither is a multiple"):
        adapted(grip([0]), "rate", actions="delta", hz=7)


# together, and in the loader


@pytest.mark.parametrize("name", ["clip", "gripper", "rotation", "scale", "sticky_gripper", "components", "rate"])
def test_a_failure_passes_through_and_other_lanes_do_not_notice(name):
    options = {
        "gripper": {"to": "relative"},
        "rotation": {"to": "axis_angle"},
        "scale": {"to": {"x": [-2, 2]}},
        "components": {"order": ["x", "z"], "constants": {"z": 0}},
        "rate": {"actions": "delta", "hz": 10},
    }.get(name, {})
    rows = [[0.5, 0.1, 0, 0, 1], [0.5, 0.1, 0, 0, 0], [0.1, 0, 0, 0, 0]]
    broken = adapted(Script(rows, broken=(1,)), name, ARM, **options)
    sound = adapted(Script(rows), name, ARM, **options)
    said, expected = played(broken, 3, lanes=(0, 1, 2)), played(sound, 3, lanes=(0, 1, 2))
    assert broken.faults == {1: "gone"}
    assert np.isnan(said[:, 1]).any(axis=-1).all()
    np.testing.assert_array_equal(said[:, [0, 2]], expected[:, [0, 2]])


@pytest.fixture
def registered():
    """A policy called "arm" and a planner called "planner"."""

    @dataclass
    class Arm:
        rotation: str = "rpy"

        def build(self, action):
            return Script([[0.5, 0.1, 0.2, 0.3, 1]] * 9, replace(ARM, rotation=self.rotation))

    @dataclass
    class Plans:
        def build(self, action):
            return Planner()

    POLICIES.register("arm")(Arm)
    POLICIES.register("planner")(Plans)
    yield
    del POLICIES._parts["arm"], POLICIES._parts["planner"]


@pytest.mark.usefixtures("registered")
def test_adapters_are_named_in_the_mapping_of_a_policy():
    world = replace(ARM, names=("x", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper"), rotation="axis_angle", gripper="relative")
    world = replace(world, low=(-1, -1, -1, -1, -1), high=(1, 1, 1, 1, 1))
    spec = {"name": "arm", "as": "mine", "adapters": [{"name": "rotation", "to": "axis_angle"}, "gripper", "clip"]}
    policy = load_policy(spec, world)
    assert policy.action == world
    world.check(played(policy, 2)[0])
    assert part_facts(POLICIES, spec) == {"name": "arm", "adapters": spec["adapters"]}
    assert load_policy("planner").act is not None
    assert played(load_policy({"name": "planner", "adapters": ["ensemble"]}), 2)[1, 0, 0] == (1 + 10) / 2


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("world", "spec", "error", "words"),
    [
        (
            replace(ARM, rotation="axis_angle", names=("x", "a", "b", "c", "gripper")),
            "arm",
            InvalidInput,
            "rotation rpy, the world takes axis_angle; put a converter",
        ),
        (replace(ARM, gripper="relative"), "arm", InvalidInput, r"adapters: \[gripper\]"),
        (replace(ARM, rate_hz=10.0), "arm", InvalidInput, "rate_hz 5.0, the world takes 10.0"),
        (replace(ARM, frame="tool"), "arm", InvalidInput, "no adapter changes that"),
        (replace(ARM, high=(0.5, *ARM.high[1:])), "arm", InvalidInput, r"x in \[-1, 1\], the world takes \[-1, 0.5\].*adapters: \[clip\]"),
        (ARM, {"name": "arm", "adapters": ["clp"]}, UnknownName, 'did you mean "clip"'),
        (ARM, {"name": "arm", "adapters": "clip"}, InvalidInput, "expected a list"),
        (ARM, {"name": "arm", "adapters": [{"name": "rotation"}]}, InvalidInput, 'adapter "rotation" needs to'),
        (ARM, {"name": "arm", "adapters": [{"name": "scale", "to": {"x": 3}}]}, InvalidInput, "a mapping from text to a list of a number"),
        (ARM, {"name": "arm", "adapters": [{"name": "scale", "to": {"x": [1, -1]}}]}, InvalidInput, "of x are 1 and -1"),
        (ARM, {"name": "arm", "adapters": [{"name": "clip", "low": 3, "high": 4}]}, InvalidInput, "low is .*"),
        (ARM, {"name": "arm", "adapters": [{"name": "clip", "low": [float("nan")] * 5, "high": [1] * 5}]}, InvalidInput, "bounds of x"),
        (ARM, {"name": "arm", "adapters": [{"name": "rate", "actions": "delta", "hz": "x"}]}, InvalidInput, "hz is .*a number or null"),
        (ARM, {"name": "arm", "adapters": [{"name": "components", "rename": "x"}]}, InvalidInput, "rename is .*"),
        (ARM, {"name": "arm", "adapters": [{"name": "components", "constants": {"x": "abc"}}]}, InvalidInput, "constants is .*"),
        (ARM, {"name": "arm", "adapters": [{"name": "gripper", "to": 3}]}, InvalidInput, "to is .*text or null"),
        (ARM, {"name": "arm", "adapters": [{"name": "rotation", "to": "rpy", "components": "roll"}]}, InvalidInput, "a list of text"),
        (ARM, {"name": "planner", "adapters": [{"name": "chunk", "execute": "2"}]}, InvalidInput, "execute is .*"),
        (ARM, {"name": "planner", "adapters": [{"name": "ensemble", "temperature": "x"}]}, InvalidInput, "temperature is .*"),
        (ARM, {"name": "arm", "adapters": [{"name": "gripper", "to": "shut"}]}, InvalidInput, 'no "shut"'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(world, spec, error, words):
    with pytest.raises(error, match=words):
        load_policy(spec, world)


@pytest.mark.usefixtures("registered")
def test_narrower_bounds_need_no_adapter():
    world = replace(ARM, low=tuple(2 * v - 1 for v in ARM.low), high=tuple(2 * v for v in ARM.high))
    assert load_policy("arm", world).action == ARM
