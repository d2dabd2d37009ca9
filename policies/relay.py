"""Several policies one after another in one episode: each acts for its share of the steps. Knows no task and no world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.load import load_policy, part_config, part_facts
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Policy, StatePolicy, Task


@dataclass
class Turn:
    """Where an episode is: whose turn it is, the steps that are left of it, and what the others begin with."""

    member: int
    left: int
    task: Task
    seed: int


class Relay:
    """Hands each episode from one policy to the next; each begins anew where its turn comes, and the last goes on to the end.

    Args:
        members: the policies in order.
        steps: how many steps each but the last acts; None shares the task's horizon evenly.
    """

    def __init__(self, members: Sequence[Policy], steps: Sequence[int] | None = None) -> None:
        self.action, self.members, self._steps = members[0].action, members, steps
        self._turns: dict[int, Turn] = {}
        self._acted: dict[int, np.ndarray] = {}  # lane to action, where another's memory did not suffice for the same step

    @property
    def faults(self) -> dict[int, str]:
        """The lanes whose policy can no longer act, by what is wrong."""
        return {lane: line for lane, turn in self._turns.items() if (line := getattr(self.members[turn.member], "faults", {}).get(lane))}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes`, with the first policy."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            self._acted.pop(lane, None)
            self._begin(lane, 0, task, seed)

    def _begin(self, lane: int, member: int, task: Task, seed: int) -> None:
        """A policy's turn, which is its whole episode."""
        share = self._shares(task.horizon)[member]
        self._turns[lane] = Turn(member, share, task, seed)
        self.members[member].reset([lane], [replace(task, horizon=share)], [seed])

    def _shares(self, horizon: int) -> list[int]:
        """Steps of each turn; the last is what is left, or one."""
        before = self._steps or [max(1, horizon // len(self.members))] * (len(self.members) - 1)
        return [*before, max(1, horizon - sum(before))]

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`, each row by the policy whose turn it is there."""
        for lane in lanes:
            turn = self._turns[lane]
            if turn.left == 0 and turn.member + 1 < len(self.members):
                self._begin(lane, turn.member + 1, turn.task, turn.seed)
        for number in range(len(self.members)):
            rows = [row for row, lane in enumerate(lanes) if self._turns[lane].member == number and lane not in self._acted]
            if rows:
                asked = [lanes[row] for row in rows]
                self._acted |= zip(asked, self._ask(number, frames, asked, rows), strict=True)
        for lane in lanes:
            self._turns[lane].left -= 1
        return np.stack([self._acted.pop(lane) for lane in lanes])

    def _ask(self, number: int, frames: np.ndarray, lanes: Sequence[int], rows: Sequence[int]) -> np.ndarray:
        """What a policy does in its lanes, which are these rows: float32 `[len(rows), A]`."""
        return self.members[number].act(frames[rows], lanes)


class SeeingRelay(Relay):
    """One of whose policies some want the true state (`worldsim.types.StatePolicy`)."""

    _states: Mapping[str, np.ndarray] = {}

    def see(self, states: Mapping[str, np.ndarray]) -> None:
        """The true states now, `[B, ...]` by name; empty in an imagined world."""
        self._states = states

    def _ask(self, number: int, frames: np.ndarray, lanes: Sequence[int], rows: Sequence[int]) -> np.ndarray:
        member = self.members[number]
        if isinstance(member, StatePolicy):
            member.see({name: values[rows] for name, values in self._states.items()})
        return super()._ask(number, frames, lanes, rows)


@POLICIES.register("relay")
@dataclass
class RelayConfig:
    """Several policies one after another, for tasks that follow one another in an episode.

    Attributes:
        of: the policies in order, each a name, path or mapping.
        steps: how many steps each but the last acts; None shares the task's horizon evenly.

    Raises:
        InvalidInput: fewer than two policies, or another number of steps than there are handovers.
    """

    of: list[Any] = field(default_factory=list)
    steps: list[int] | None = None

    def __post_init__(self) -> None:
        if len(self.of) < 2:
            raise InvalidInput(f"a relay needs two policies or more, got of={self.of!r}; type {{name: relay, of: [FIRST, SECOND]}}")
        if self.steps is not None and (len(self.steps) != len(self.of) - 1 or min(self.steps) < 1):
            raise InvalidInput(
                f"a relay of {len(self.of)} has steps {self.steps}, expected {len(self.of) - 1} of 1 or more: all but the last's"
            )

    @property
    def needs_recording(self) -> bool:
        """Whether one of its policies acts at recorded starts only."""
        return any(getattr(part_config(POLICIES, member), "needs_recording", False) for member in self.of)

    @property
    def needs_horizon(self) -> bool:
        """Whether a turn ends at a share of the horizon, which who serves policies does not know."""
        return self.steps is None

    def facts(self) -> dict[str, Any]:
        """What identifies it: what identifies each of its policies."""
        return {"of": [part_facts(POLICIES, member) for member in self.of]}

    def build(self, action: ActionSpec | None = None) -> Relay:
        """Load every policy; all take the world's actions."""
        members = [load_policy(member, action) for member in self.of]
        return (SeeingRelay if any(isinstance(member, StatePolicy) for member in members) else Relay)(members, self.steps)
