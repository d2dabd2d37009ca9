"""The drawer's expert as a policy. It reads the true state, so it acts in the true world only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.envs.drawer.behaviours import expert_action
from worldsim.envs.drawer.physics import ACTION
from worldsim.errors import InvalidInput
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Task


class ScriptedPolicy:
    """Does what `expert` says of the true state, by default come in front of the handle and push (`worldsim.types.StatePolicy`)."""

    action = ACTION

    def __init__(self, expert: Callable[[Mapping[str, np.ndarray]], np.ndarray] = expert_action) -> None:
        self._expert = expert
        self._states: Mapping[str, np.ndarray] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Nothing to forget."""

    def see(self, states: Mapping[str, np.ndarray]) -> None:
        """The true states now, `[B, ...]` by name; empty in an imagined world."""
        self._states = states

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, 3]`; the frames are not looked at.

        Raises:
            InvalidInput: this world has no true state.
        """
        if not self._states:
            raise InvalidInput("a scripted policy needs the true state, which an imagined world lacks; clone it: worldsim train-policy")
        rows = [self._expert({name: values[i] for name, values in self._states.items()}) for i in range(len(lanes))]
        return np.stack(rows).astype(np.float32)


@POLICIES.register("scripted")
@dataclass
class ScriptedConfig:
    """The scripted expert; in the true drawer world only."""

    def build(self, action: ActionSpec | None = None) -> ScriptedPolicy:
        """The policy."""
        return ScriptedPolicy()
