"""The true worlds that `worldsim collect` can record: where an episode begins, who acts in it, and how long. Knows nothing of files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import UnknownName
from worldsim.registry import TRUTHS, did_you_mean


@dataclass(frozen=True)
class RecordedWorld:
    """One true world as it is recorded.

    Attributes:
        instruction: what is asked in it.
        horizon: steps of an episode.
        start: seed to the place that its truth's `place` takes.
        choose_behaviour: a mix and a generator to a behaviour's name, and the behaviour itself, ready to be sent states.
        expert_action: the true state to what the expert would do, kept with each state.
        noisy: which components of the action may be disturbed.
        options: options of the truth while it is recorded.
        nudged: a start as it is when it is set up a second time.
    """

    instruction: str
    horizon: int
    start: Callable[[int], Any]
    choose_behaviour: Callable[[str, np.random.Generator], tuple[str, Any]]
    expert_action: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    noisy: tuple[float, ...]
    options: Mapping[str, Any]
    nudged: Callable[[Any, np.random.Generator], Any]

    def disturb(self, action: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
        """The action with Gaussian noise of that standard deviation on its noisy components, within [-1, 1], float32."""
        return np.clip(action + rng.normal(0, noise, len(self.noisy)) * self.noisy, -1, 1).astype(np.float32)


def _drawer() -> RecordedWorld:
    from worldsim.envs.drawer.behaviours import choose_behaviour, expert_action
    from worldsim.envs.drawer.physics import nudged, wide_start
    from worldsim.envs.drawer.truth import HORIZON, INSTRUCTION

    return RecordedWorld(INSTRUCTION, HORIZON, wide_start, choose_behaviour, expert_action, (1.0, 1.0, 1.0), {}, nudged)


def _drop() -> RecordedWorld:
    from worldsim.envs.drop.behaviours import choose_behaviour, expert_action
    from worldsim.envs.drop.physics import nudged, task_start
    from worldsim.envs.drop.truth import HORIZON, INSTRUCTION

    return RecordedWorld(INSTRUCTION, HORIZON, task_start, choose_behaviour, expert_action, (0.0, 1.0), {"depth": True}, nudged)


WORLDS = {"drawer": _drawer, "drop": _drop}


def recorded_world(truth: str) -> RecordedWorld:
    """How the true world of that name is recorded.

    Raises:
        UnknownName: no such true world, or one that nobody here can act in.
    """
    TRUTHS.config(truth)
    if truth not in WORLDS:
        raise UnknownName(f'nobody here knows how to act in the true world "{truth}"; {did_you_mean(truth, WORLDS)}')
    return WORLDS[truth]()
