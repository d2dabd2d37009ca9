"""A policy of somebody else's that is asked for one action at a time, from the last frames or from the true state. Knows no kind of it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.policies.foreign import ForeignPolicy
from worldsim.registry import did_you_mean
from worldsim.types import ActionSpec, Task

OBSERVATIONS = ("frame", "state")


class ObservingPolicy(ForeignPolicy):
    """Gives what `answer` says: of the last `stack` frames, uint8 `[stack, H, W, 3]` (an episode's first stands for those before it), or
    of the true state by name (`worldsim.types.StatePolicy`).

    Args:
        spec: what an action means.
        answer: from what is observed to an action `[A]`.
        observation: "frame" or "state".
        stack: frames that are shown at once.

    Raises:
        UnknownName, InvalidInput: another observation, or a stack below 1.
    """

    def __init__(self, spec: ActionSpec, answer: Callable[[Any], Any], observation: str, stack: int = 1) -> None:
        super().__init__(spec)
        if observation not in OBSERVATIONS:
            raise UnknownName(f'observation is "{observation}"; {did_you_mean(observation, OBSERVATIONS)}')
        if stack < 1:
            raise InvalidInput(f"stack is {stack}, expected 1 frame or more")
        self._answer, self._reads_state, self._stack = answer, observation == "state", stack
        self._past: dict[int, deque[np.ndarray]] = {}
        self._states: Mapping[str, np.ndarray] = {}
        self._rows: dict[int, int] = {}

    def begin(self, lane: int, task: Task, seed: int) -> None:
        """Forget what the lane showed before."""
        self._past.pop(lane, None)

    def see(self, states: Mapping[str, np.ndarray]) -> None:
        """The true states now, `[B, ...]` by name; empty in an imagined world."""
        self._states = states

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`, NaN in lanes at fault.

        Raises:
            InvalidInput: it reads the true state, and there is none.
        """
        if self._reads_state and not self._states:
            raise InvalidInput(
                "it reads the true state, which an imagined world lacks; let it act in worldsim collect only, or clone it into one that "
                "sees frames: worldsim collect expert=..., then worldsim train-policy"
            )
        self._rows = {lane: row for row, lane in enumerate(lanes)}
        return super().act(frames, lanes)

    def ask(self, frame: np.ndarray, lane: int) -> Any:
        """What it does at this frame, or in this state."""
        if self._reads_state:
            return self._answer({name: values[self._rows[lane]] for name, values in self._states.items()})
        past = self._past.setdefault(lane, deque([frame] * self._stack, maxlen=self._stack))
        past.append(frame)
        return self._answer(np.stack(past))
