"""A world model and a truth as one thing: lanes in which episodes begin, take actions and may break. Knows no policy."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.evaluate.planning import Episode
from worldsim.types import State, Truth, WorldModel
from worldsim.wrappers import Chunked, Watched, faults_of, start_lanes


class World(Protocol):
    """Lanes of episodes, stepped together.

    Attributes:
        name: "imagined" or "truth".
        limit: most lanes in one call of the world model; None is no limit.
        whole: it begins in all lanes at once or not at all.
        faults: one line per lane, empty while it is sound.
    """

    name: str
    limit: int | None
    whole: bool
    faults: tuple[str, ...]

    def start(self, begun: Mapping[int, Episode], count: int) -> dict[int, np.ndarray]:
        """Begin these episodes in their lanes, of `count`; the others go on undisturbed. Returns first frames uint8 `[H, W, 3]` by lane."""

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with these lanes only, numbered anew from 0."""

    def step(self, actions: np.ndarray) -> np.ndarray:
        """Actions float32 `[B, A]` to the next frames uint8 `[B, H, W, 3]`."""

    def states(self) -> dict[str, np.ndarray]:
        """The true states `[B, ...]` by name, where there is a truth."""


class Imagined:
    """A world model as a world; `strict` computes each lane by itself."""

    name = "imagined"
    whole = False

    def __init__(self, model: WorldModel, *, strict: bool = False) -> None:
        self._chunked = Chunked(model, 1 if strict else None)
        self._model, self._state = Watched(self._chunked), None

    @property
    def model(self) -> WorldModel:
        """The world model, of as many lanes a call as it can hold, whose states say which lanes broke."""
        return self._model

    @property
    def limit(self) -> int | None:
        """Most lanes in one call of the model."""
        return self._chunked.size

    @property
    def faults(self) -> tuple[str, ...]:
        """One line per lane, empty while it is sound."""
        return self._state.faults

    def start(self, begun: Mapping[int, Episode], count: int) -> dict[int, np.ndarray]:
        """Begin from the real first frames; returns the newest of each lane."""
        given = {lane: (episode.start.frames, episode.seed) for lane, episode in begun.items()}
        self._state: State = start_lanes(self._model, self._state, count, given)
        return {lane: frames[-1] for lane, (frames, _) in given.items()}

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with these lanes only."""
        self._state = self._state.select(lanes)

    def step(self, actions: np.ndarray) -> np.ndarray:
        """The next frames `[B, H, W, 3]`."""
        self._state, frames = self._model.step(self._state, actions)
        return frames

    def states(self) -> dict[str, np.ndarray]:
        """Nothing is known to be true here."""
        return {}


class Genuine:
    """A truth as a world: it is placed at the same starts and needs no randomness. It begins in all its lanes together."""

    name = "truth"
    limit = None
    whole = True

    def __init__(self, truth: Truth) -> None:
        self.action = truth.action
        self._truth, self._states = truth, {}
        self.faults: tuple[str, ...] = ()

    def start(self, begun: Mapping[int, Episode], count: int) -> dict[int, np.ndarray]:
        """The true first frames.

        Raises:
            InvalidInput: not all lanes; a truth is reset as a whole.
        """
        if sorted(begun) != list(range(count)):
            raise InvalidInput(f"lanes {sorted(begun)} of {count} cannot begin alone: a truth is reset as a whole")
        frames = self._truth.reset([begun[lane].start for lane in range(count)])
        self._states, self.faults = self._truth.states(), ("",) * count
        return dict(enumerate(frames))

    def keep(self, lanes: Sequence[int]) -> None:
        """Refused, for the same reason.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput("a truth cannot go on with some of its lanes")

    def step(self, actions: np.ndarray) -> np.ndarray:
        """The next frames `[B, H, W, 3]`."""
        frames, self._states = self._truth.step(actions)
        self.faults = faults_of(self._truth, len(frames))
        return frames

    def states(self) -> dict[str, np.ndarray]:
        """The true states now."""
        return self._states
