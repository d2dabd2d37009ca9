"""The true worlds that `worldsim collect` can record: where an episode begins, who acts in it, and how long. Knows nothing of files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.load import part_config, part_facts
from worldsim.registry import TRUTHS, did_you_mean

Actor = Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]  # frame uint8 [H, W, 3] and true state to an action [A]


@dataclass(frozen=True)
class RecordedWorld:
    """One true world as it is recorded.

    Attributes:
        name: what its episodes are called.
        instruction: what is asked in it.
        horizon: steps of an episode.
        start: seed to the place that its truth's `place` takes.
        choose_behaviour: a mix and a generator to a behaviour's name, and the behaviour itself, ready to be sent states.
        expert: what would best be done, kept with each state; None where nobody knows.
        noisy: by how much noise of standard deviation 1 disturbs each component of the action.
        options: options of the truth while it is recorded.
        nudged: a start as it is when it is set up a second time.
        low: smallest value of each component of the action.
        high: largest value.
        most_noise: largest standard deviation of the noise of an episode.
    """

    name: str
    instruction: str
    horizon: int
    start: Callable[[int], Any]
    choose_behaviour: Callable[[str, np.random.Generator], tuple[str, Any]]
    expert: Actor | None
    noisy: tuple[float, ...]
    options: Mapping[str, Any]
    nudged: Callable[[Any, np.random.Generator], Any]
    low: tuple[float, ...] | float = -1.0
    high: tuple[float, ...] | float = 1.0
    most_noise: float = 0.4

    def disturb(self, action: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
        """The action with Gaussian noise of that standard deviation on its noisy components, within its bounds, float32."""
        return np.clip(action + rng.normal(0, noise, len(self.noisy)) * self.noisy, self.low, self.high).astype(np.float32)


def _seeing(expert: Callable[[Mapping[str, np.ndarray]], np.ndarray]) -> Actor:
    """An expert that needs the true state only."""
    return lambda frame, state: expert(state)


def _drawer(truth: Any) -> RecordedWorld:
    from worldsim.envs.drawer.behaviours import choose_behaviour, expert_action
    from worldsim.envs.drawer.physics import nudged, wide_start
    from worldsim.envs.drawer.truth import HORIZON, INSTRUCTION

    return RecordedWorld("drawer", INSTRUCTION, HORIZON, wide_start, choose_behaviour, _seeing(expert_action), (1.0, 1.0, 1.0), {}, nudged)


def _drop(truth: Any) -> RecordedWorld:
    from worldsim.envs.drop.behaviours import choose_behaviour, expert_action
    from worldsim.envs.drop.physics import nudged, task_start
    from worldsim.envs.drop.truth import HORIZON, INSTRUCTION

    return RecordedWorld(
        "drop", INSTRUCTION, HORIZON, task_start, choose_behaviour, _seeing(expert_action), (0.0, 1.0), {"depth": True}, nudged
    )


def _table(config: Any) -> RecordedWorld:
    from worldsim.envs.table.behaviours import choose_behaviour
    from worldsim.envs.table.experts import EXPERTS
    from worldsim.envs.table.physics import nudged, wide_start
    from worldsim.envs.table.truth import horizon_of, instruction_of

    task = config.id
    name, start, act = f"table-{task}", partial(wide_start, task=task), partial(choose_behaviour, task)
    return RecordedWorld(name, instruction_of(task), horizon_of(task), start, act, _seeing(EXPERTS[task]), (1.0, 1.0, 1.0), {}, nudged)


def _gym(config: Any) -> RecordedWorld:
    from worldsim.envs.gym_truth.behaviours import choose_behaviour

    truth = config.build()
    truth.close()
    spec = truth.action
    reach = tuple((np.array(spec.high) - np.array(spec.low)) / 2)
    act, instruction = partial(choose_behaviour, spec), config.instruction or config.name
    return RecordedWorld(config.name, instruction, truth.horizon, int, act, None, reach, {}, _not_nudged, spec.low, spec.high)


def _not_nudged(start: Any, rng: np.random.Generator) -> Any:
    raise InvalidInput("a Gymnasium environment begins at seeds, and no seed lies near another, so its episodes have no second take")


WORLDS = {"drawer": _drawer, "drop": _drop, "table": _table, "gym": _gym}


def recorded_world(truth: Any) -> RecordedWorld:
    """How a true world, given by name or mapping, is recorded.

    Raises:
        UnknownName: no such true world, or one that nobody here can act in.
    """
    name, config = part_facts(TRUTHS, truth)["name"], part_config(TRUTHS, truth)
    if name not in WORLDS:
        raise UnknownName(f'nobody here knows how to act in the true world "{name}"; {did_you_mean(name, WORLDS)}')
    return WORLDS[name](config)
