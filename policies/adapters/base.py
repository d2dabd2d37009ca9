"""What all adapters share: a policy around a policy. Knows no convention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.types import ActionSpec, StatePolicy, Task


class Adapted:
    """A policy that begins, acts and fails as the one inside it; subclasses say what becomes of its actions.

    Raises:
        InvalidInput: the policy inside wants true states, which pass through no adapter.
    """

    def __init__(self, policy: Any, action: ActionSpec) -> None:
        if isinstance(policy, StatePolicy):
            raise InvalidInput("a policy that looks at true states takes no adapter; leave adapters away")
        self.policy, self.action = policy, action

    @property
    def faults(self) -> Mapping[int, str]:
        """The lanes that the policy inside can no longer act in, with the reason."""
        return getattr(self.policy, "faults", {})

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes`."""
        self.policy.reset(lanes, tasks, seeds)


class Converted(Adapted):
    """The actions of a policy put in other words by a function of them alone: float32 `[B, A]` to `[B, A']`. NaN stays NaN."""

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A']`."""
        return self.convert(np.asarray(self.policy.act(frames, lanes), dtype=np.float32)).astype(np.float32)

    def convert(self, actions: np.ndarray) -> np.ndarray:
        """The actions in the words of `self.action`."""
        raise NotImplementedError


def component(spec: ActionSpec, name: str) -> int:
    """The place of a component.

    Raises:
        InvalidInput: the action has no such component.
    """
    if name not in spec.names:
        raise InvalidInput(f'an action of {", ".join(spec.names)} has no component "{name}"; name one that it has')
    return spec.names.index(name)
