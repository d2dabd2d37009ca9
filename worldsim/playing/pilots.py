"""The policies that a person may hand over to, loaded when first asked. Knows no world."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.errors import UnknownName, WorldsimError
from worldsim.evaluate.cast import Cast
from worldsim.evaluate.planning import Episode
from worldsim.playing.moments import Moment
from worldsim.registry import did_you_mean
from worldsim.types import Policy, Task

YOU = "you"  # who acts where no policy does; no policy can be called so


@dataclass(frozen=True)
class _Seat:
    """The one lane that a policy acts in."""

    episode: Episode
    slot: int = 0


class Pilots:
    """Policies by name; `loaders` load each. A policy is told of a new episode whenever it takes over, and after every rewind."""

    def __init__(self, loaders: Mapping[str, Callable[[], Policy]]) -> None:
        self._loaders, self._casts = loaders, {}
        self._last: tuple[str, int] | None = None  # who acted last, and the moment that it led to

    @property
    def names(self) -> list[str]:
        """Who can be handed over to."""
        return list(self._loaders)

    def act(self, name: str, line: Sequence[Moment], task: Task) -> np.ndarray:
        """The action float32 `[A]` of a policy that sees the last moment of a line.

        Raises:
            UnknownName: no such policy.
            WorldsimError: it cannot be loaded, does not fit the world, or failed.
        """
        cast, here = self._cast(name), line[-1]
        seats = [_Seat(Episode("play", name, "imagined", here.start, here.seed))]
        if self._last != (name, here.id):
            cast.reset(seats, task)
        self._last = None
        states = {key: values[None] for key, values in here.truth.states.items()} if here.truth else {}
        actions, (fault,) = cast.act(seats, here.frame[None], states)
        if fault:
            raise WorldsimError(fault)
        return actions[0]

    def led_to(self, name: str, id: int) -> None:
        """The policy's action was taken and led to this moment, so it may go on from there."""
        self._last = (name, id)

    def _cast(self, name: str) -> Cast:
        if name not in self._loaders:
            raise UnknownName(f'no policy "{name[:60]}" can be handed over to; {did_you_mean(name[:60], self.names)}')
        if name not in self._casts:
            self._casts[name] = Cast({name: self._loaders[name]()}, one_by_one=True)
        return self._casts[name]
