"""The policies of an evaluation, each acting in its own lanes of one batch. Knows no world."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.evaluate.planning import Episode
from worldsim.types import ActionSpec, Policy, StatePolicy, Task
from worldsim.wrappers import Halving

ADVICE = "ask for fewer lanes (batch=)"


class Part(Protocol):
    """Who plays in a lane: its episode, and the number that its policy knows the lane by."""

    episode: Episode
    slot: int


class Cast:
    """The policies by name. `one_by_one` asks them lane by lane, so that no bit of an action can depend on the other lanes.

    A policy that runs out of memory is asked for half as many lanes at a time from there on.
    """

    def __init__(self, policies: Mapping[str, Policy], *, one_by_one: bool = False) -> None:
        size = 1 if one_by_one else None
        self._policies = policies
        self._calls = {name: Halving(f'policy "{name}"', "lane", ADVICE, size) for name in policies}

    @property
    def halved(self) -> dict[str, int]:
        """Most lanes in one call of those policies for which the memory was too small."""
        return {f"policy {name}": calls.size for name, calls in self._calls.items() if calls.halved and calls.size}

    def reset(self, parts: Sequence[Part], task: Task) -> None:
        """Tell each policy which episodes begin in which of its lanes."""
        for name, rows in _by_policy(parts).items():
            episodes = [parts[row].episode for row in rows]
            slots, seeds = [parts[row].slot for row in rows], [episode.seed for episode in episodes]
            self._policies[name].reset(slots, [task.at(episode.start) for episode in episodes], seeds)

    def act(self, parts: Sequence[Part], frames: np.ndarray, states: Mapping[str, np.ndarray]) -> tuple[np.ndarray, tuple[str, ...]]:
        """Frames uint8 `[B, H, W, 3]`, row i in the lane of `parts[i]`, and true states `[B, ...]` to actions.

        Returns:
            Actions float32 `[B, A]` and one line per row, empty where the policy could act. Elsewhere the action is the one nearest to
            zero, so that whoever else is in the batch can go on.

        Raises:
            InvalidInput: a policy's actions have the wrong shape, are not finite or out of bounds; the line names it.
        """
        actions: dict[int, np.ndarray] = {}
        faults: dict[int, str] = {}
        for name, rows in _by_policy(parts).items():
            slots = [parts[row].slot for row in rows]
            ask = partial(self._act, name, slots, rows, frames, states)
            actions |= zip(rows, np.concatenate(self._calls[name].over(len(rows), ask)[1]), strict=True)
            faults |= {row: fault for row, fault in zip(rows, self._faults(name, slots), strict=True) if fault}
        rows = range(len(parts))
        return np.stack([actions[row] for row in rows]), tuple(f"the policy failed: {faults[row]}" if row in faults else "" for row in rows)

    def rest(self, policy: str) -> np.ndarray:
        """The legal action of one policy that is nearest to zero, float32 `[A]`."""
        return self._policies[policy].action.rest.astype(np.float32)

    def action(self, policy: str) -> ActionSpec:
        """What the actions of one policy mean."""
        return self._policies[policy].action

    def _act(
        self, name: str, slots: list[int], rows: list[int], frames: np.ndarray, states: Mapping[str, np.ndarray], part: slice
    ) -> np.ndarray:
        """The actions of one policy in a part of its rows."""
        policy, slots, rows = self._policies[name], slots[part], rows[part]
        if isinstance(policy, StatePolicy):
            policy.see({key: values[rows] for key, values in states.items()})
        try:
            actions = policy.action.numbers(policy.act(frames[rows], slots))
            if actions.shape == (len(rows), policy.action.size):
                actions[[bool(fault) for fault in self._faults(name, slots)]] = self.rest(name)
            actions = policy.action.check(actions)
        except InvalidInput as error:
            raise InvalidInput(f'policy "{name}": {error}') from error
        if len(actions) != len(rows):
            raise InvalidInput(f'policy "{name}" gave {len(actions)} actions for {len(rows)} lanes, expected one each')
        return actions

    def _faults(self, name: str, slots: Sequence[int]) -> list[str]:
        known = getattr(self._policies[name], "faults", {})
        return [known.get(slot, "") for slot in slots]


def _by_policy(parts: Sequence[Part]) -> dict[str, list[int]]:
    """Rows by the policy that plays in them."""
    rows: dict[str, list[int]] = {}
    for row, part in enumerate(parts):
        rows.setdefault(part.episode.policy, []).append(row)
    return rows
