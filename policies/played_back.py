"""Actions that are known beforehand, played as they are from the start that they belong to. For probes; it is no registered policy."""

from collections.abc import Mapping

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.replay import ReplayPolicy
from worldsim.types import ActionSpec, Task


class PlayedBack(ReplayPolicy):
    """Plays `actions[start.id]`, float32 `[T, A]`, whatever it sees; after the last it holds that action."""

    def __init__(self, action: ActionSpec, actions: Mapping[str, np.ndarray]) -> None:
        super().__init__(action)
        self._by_start = dict(actions)

    def recorded(self, task: Task) -> np.ndarray:
        """The actions of the task's one start.

        Raises:
            InvalidInput: it has none.
        """
        start = task.starts[0]
        if start.id not in self._by_start:
            raise InvalidInput(f'start "{start.id}" has no actions to be played back')
        return self._by_start[start.id]
