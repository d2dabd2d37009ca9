"""The policies of an evaluation, each acting in its own lanes of one batch. Knows no world."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.evaluate.planning import Episode
from worldsim.types import Policy, StatePolicy, Task


class Part(Protocol):
    """Who plays in a lane: its episode, and the number that its policy knows the lane by."""

    episode: Episode
    slot: int


class Cast:
    """The policies by name. `one_by_one` asks them lane by lane, so that no bit of an action can depend on the other lanes."""

    def __init__(self, policies: Mapping[str, Policy], *, one_by_one: bool = False) -> None:
        self._policies, self._one_by_one = policies, one_by_one

    def reset(self, parts: Sequence[Part], task: Task) -> None:
        """Tell each policy which episodes begin in which of its lanes."""
        for name, rows in _by_policy(parts).items():
            episodes = [parts[row].episode for row in rows]
            slots, seeds = [parts[row].slot for row in rows], [episode.seed for episode in episodes]
            self._policies[name].reset(slots, [task.at(episode.start) for episode in episodes], seeds)

    def act(self, parts: Sequence[Part], frames: np.ndarray, states: Mapping[str, np.ndarray]) -> np.ndarray:
        """Frames uint8 `[B, H, W, 3]`, row i in the lane of `parts[i]`, and true states `[B, ...]` to actions float32 `[B, A]`.

        Raises:
            InvalidInput: a policy's actions have the wrong shape, are not finite or out of bounds; the line names it.
        """
        actions: dict[int, np.ndarray] = {}
        for name, rows in _by_policy(parts).items():
            for few in [[row] for row in rows] if self._one_by_one else [rows]:
                actions |= zip(few, self._act(name, [parts[row].slot for row in few], few, frames, states), strict=True)
        return np.stack([actions[row] for row in range(len(parts))])

    def rate_hz(self, policy: str) -> float:
        """Actions per second of one policy."""
        return self._policies[policy].action.rate_hz

    def _act(self, name: str, slots: list[int], rows: list[int], frames: np.ndarray, states: Mapping[str, np.ndarray]) -> np.ndarray:
        policy = self._policies[name]
        if isinstance(policy, StatePolicy):
            policy.see({key: values[rows] for key, values in states.items()})
        try:
            actions = policy.action.check(policy.act(frames[rows], slots))
        except InvalidInput as error:
            raise InvalidInput(f'policy "{name}": {error}') from error
        if len(actions) != len(rows):
            raise InvalidInput(f'policy "{name}" gave {len(actions)} actions for {len(rows)} lanes, expected one each')
        return actions


def _by_policy(parts: Sequence[Part]) -> dict[str, list[int]]:
    """Rows by the policy that plays in them."""
    rows: dict[str, list[int]] = {}
    for row, part in enumerate(parts):
        rows.setdefault(part.episode.policy, []).append(row)
    return rows
