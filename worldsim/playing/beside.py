"""A true world that follows an imagined one: the same start, the same actions. Knows no model."""

from collections.abc import Sequence

import numpy as np

from worldsim.playing.moments import Moment, TrueMoment
from worldsim.types import Start, Truth
from worldsim.wrappers import stepped


class Beside:
    """One lane of a truth. It cannot be put back to a moment, so after a rewind it begins again at the start and is led there."""

    def __init__(self, truth: Truth) -> None:
        self._truth, self._line = truth, []

    def start(self, id: int, start: Start) -> TrueMoment:
        """The true first frame of the moment `id`."""
        frames = self._truth.reset([start])
        self._line = [id]
        return _lane(frames, self._truth.states())

    def step(self, line: Sequence[Moment], action: np.ndarray, id: int) -> TrueMoment:
        """What is true after `line` and one action more, float32 `[A]`, which led to the moment `id`.

        Raises:
            WorldsimError: the true world broke.
        """
        ids = [moment.id for moment in line]
        if ids != self._line:
            self.start(ids[0], line[0].start)
            for moment in line[1:]:
                stepped(self._truth, moment.action[None])
        self._line = []  # until the step is done, nobody knows where it is
        found = _lane(*stepped(self._truth, action[None]))
        self._line = [*ids, id]
        return found


def _lane(frames: np.ndarray, states: dict[str, np.ndarray]) -> TrueMoment:
    return TrueMoment(frames[0].copy(), {name: np.copy(values[0]) for name, values in states.items()})
