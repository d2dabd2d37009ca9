"""Several policies one after another in one episode: each acts for its share of the steps. Knows no task and no world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.load import load_policy, part_facts
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Policy, StatePolicy, Task


@dataclass
class Turn:
    """Where an episode is: whose turn it is, the steps that are left of it, and what the next ones begin with."""

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
        self.action, self._members, self._steps = members[0].action, members, steps
        self._turns: dict[int, Turn] = {}

    @property
    def faults(self) -> dict[int, str]:
        """The lanes whose policy can no longer act, by what is wrong."""
        return {lane: line for number, member in enumerate(self._members) for lane, line in self._faults_of(number, member)}

    def _faults_of(self, number: int, member: Policy) -> list[tuple[int, str]]:
        known = getattr(member, "faults", {})
        return [(lane, line) for lane, line in known.items() if lane in self._turns and self._turns[lane].member == number]

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes`, with the first policy."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            self._turns[lane] = Turn(0, self._share(0, task), task, seed)
        self._members[0].reset(lanes, tasks, seeds)

    def _share(self, number: int, task: Task) -> int:
        """Steps of a policy's turn."""
        if number == len(self._members) - 1:
            return np.iinfo(np.int64).max
        return self._steps[number] if self._steps else max(1, task.horizon // len(self._members))

    def see(self, states: Mapping[str, np.ndarray]) -> None:
        """The true states now, kept for those policies that want them."""
        self._states = states

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`, each row by the policy whose turn it is there."""
        for lane in lanes:
            self._hand_over(lane)
        actions = np.empty((len(lanes), self.action.size), np.float32)
        for number, member in enumerate(self._members):
            rows = [row for row, lane in enumerate(lanes) if self._turns[lane].member == number]
            if not rows:
                continue
            if isinstance(member, StatePolicy):
                member.see({name: values[rows] for name, values in self._states.items()})
            actions[rows] = member.act(frames[rows], [lanes[row] for row in rows])
        for lane in lanes:
            self._turns[lane].left -= 1
        return actions

    def _hand_over(self, lane: int) -> None:
        """Give the lane to the next policy where a turn is over."""
        turn = self._turns[lane]
        if turn.left == 0:
            self._members[turn.member + 1].reset([lane], [turn.task], [turn.seed])
            self._turns[lane] = Turn(turn.member + 1, self._share(turn.member + 1, turn.task), turn.task, turn.seed)


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

    def facts(self) -> dict[str, Any]:
        """What identifies it: what identifies each of its policies."""
        return {"of": [part_facts(POLICIES, member) for member in self.of]}

    def build(self, action: ActionSpec | None = None) -> Relay:
        """Load every policy; all take the world's actions."""
        return Relay([load_policy(member, action) for member in self.of], self.steps)
