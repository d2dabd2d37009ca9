"""The frames of a game and how each came about: a tree, since a person may go back to any frame and act anew. Knows no model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.types import Start, State


@dataclass(frozen=True)
class TrueMoment:
    """The true world at one step: its frame uint8 `[H, W, 3]` and its states by name."""

    frame: np.ndarray
    states: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Moment:
    """One frame, and all that the next one follows from.

    Attributes:
        id: its number; later moments have larger ones.
        parent: the moment that it was made from; None at a start.
        step: how many actions lie between it and its start.
        number: which start of the task that is.
        start: the initial condition.
        seed: that all draws since the start follow from.
        action: what led here, float32 `[A]`; None at a start.
        by: who chose the action: "you", or a policy's name; empty at a start.
        tuning: how the frame was drawn; None where the world model has nothing to tune.
        state: of the world model, one lane.
        frame: uint8 `[H, W, 3]`.
        fault: one line where the world broke, else empty.
        truth: what the true world showed after the same actions, where there is one.
        apart: mean difference between the frame and the true one in grey levels, where there is one.
    """

    id: int
    parent: int | None
    step: int
    number: int
    start: Start
    seed: int
    action: np.ndarray | None
    by: str
    tuning: Any
    state: State
    frame: np.ndarray
    fault: str
    truth: TrueMoment | None
    apart: float | None


class Story:
    """Moments by number, at most `most` of them: when there is no room, the oldest start is forgotten with all that followed from it."""

    def __init__(self, most: int) -> None:
        self._most, self._moments, self._next = most, {}, 0

    def __iter__(self):
        return iter(list(self._moments.values()))

    def __len__(self) -> int:
        return len(self._moments)

    def new_id(self) -> int:
        """A number that no moment had before."""
        self._next += 1
        return self._next - 1

    def moment(self, id: int) -> Moment:
        """The moment of that number.

        Raises:
            UnknownName: there never was one, or it is forgotten.
        """
        try:
            return self._moments[id]
        except KeyError:
            raise UnknownName(f"frame {id} is not held, or not any more; take a new start") from None

    def line(self, id: int) -> list[Moment]:
        """The moments from a start up to this one."""
        line = [self.moment(id)]
        while line[-1].parent is not None:
            line.append(self.moment(line[-1].parent))
        return line[::-1]

    def make_room(self, at: int | None) -> None:
        """Forget what must be forgotten for one more moment after `at` (None: a new start).

        Raises:
            InvalidInput: there is one start only, and it is the one to go on from.
        """
        kept = None if at is None else self.line(at)[0].id
        while len(self._moments) >= self._most:
            oldest = next((each.id for each in self if each.parent is None and each.id != kept), None)
            if oldest is None:
                raise InvalidInput(f"all {self._most} frames that frames= allows are held; record what you want to keep and begin anew")
            self._forget(oldest)

    def add(self, moment: Moment) -> Moment:
        """Keep a moment."""
        self._moments[moment.id] = moment
        return moment

    def _forget(self, root: int) -> None:
        gone = {root}
        for each in self:  # parents come before their children
            if each.parent in gone:
                gone.add(each.id)
        self._moments = {id: moment for id, moment in self._moments.items() if id not in gone}
