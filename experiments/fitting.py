"""Whether truth, starts and policies fit a world model: asked before anything is played. Knows no command and no run."""

from typing import Any

from worldsim.errors import InvalidInput
from worldsim.load import load_truth, part_name
from worldsim.types import Policy, Task, Truth, WorldSpec


def open_truth(given: Any, task: Task, spec: WorldSpec) -> Truth:
    """A true world by name or mapping, at the task's first start.

    Raises:
        InvalidInput: it cannot be placed at the task's starts, or its actions or frames are not the world model's.
        UnknownName, MissingDependency: there is none of that name, or what it needs is not installed.
    """
    name = part_name(given)
    if task.starts[0].recording:
        raise InvalidInput(f'truth "{name}" cannot be placed at the recorded starts of task "{task.id}"; drop truth={name}')
    truth = load_truth(given)
    if truth.action != spec.action:
        raise InvalidInput(f'truth "{name}" takes {truth.action}, the world model {spec.action}; name the world it was learned from')
    shape = truth.reset(task.starts[:1]).shape[1:]
    if shape != (spec.height, spec.width, 3):
        raise InvalidInput(f'truth "{name}" makes frames {list(shape)}, expected [{spec.height}, {spec.width}, 3]; use one of that size')
    return truth


def check_fit(policies: dict[str, Policy], task: Task, spec: WorldSpec) -> None:
    """Refuse starts of another size, and policies that cannot act at the first start: wrong frames, wrong actions, no recording."""
    for start in task.starts:
        try:
            spec.check_frames(start.frames[None])
        except InvalidInput as error:
            raise InvalidInput(f'start "{start.id}" of task "{task.id}" does not fit the world model: {error}') from error
    first = task.starts[0]
    for name, policy in policies.items():
        try:
            for each in (*getattr(policy, "members", ()), policy):
                _act_once(each, task.at(first), spec)
        except InvalidInput as error:
            raise InvalidInput(f'policy "{name}" does not fit task "{task.id}": {error}') from error


def _act_once(policy: Policy, task: Task, spec: WorldSpec) -> None:
    """Begin an episode and ask for one action.

    Raises:
        InvalidInput: it cannot act, or what it gives is no action of the world's.
    """
    (first,) = task.starts
    policy.reset([0], [task], [first.seed])
    actions = policy.act(first.frames[-1:], [0])
    if fault := getattr(policy, "faults", {}).get(0):
        raise InvalidInput(f"it cannot act: {fault}")
    spec.action.check(actions)
