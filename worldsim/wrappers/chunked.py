"""A world model that computes its lanes a few at a time: for bits that no batch-mate can change, and for machines with little memory."""

from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.types import State, Truth, WorldModel
from worldsim.wrappers.halving import Halving, first_line, is_out_of_memory

ADVICE = "ask for fewer lanes (num_envs=, batch=), history=window with a smaller window=, or precision=bf16"


@dataclass(frozen=True)
class ChunkedState:
    """Lanes in order, cut into the states of chunks; selected and merged through the chunks' own `select` and `merge`.

    Attributes:
        parts: the state of each chunk.
        sizes: its number of lanes.
        limit: most lanes in a chunk that is made from here; None is no limit.
    """

    parts: tuple[State, ...]
    sizes: tuple[int, ...]
    limit: int | None = None

    def __len__(self) -> int:
        """Number of lanes."""
        return sum(self.sizes)

    @property
    def faults(self) -> tuple[str, ...]:
        """One line per lane, empty while it is sound."""
        return tuple(line for part, size in zip(self.parts, self.sizes, strict=True) for line in faults_of(part, size))

    def select(self, lanes: Sequence[int]) -> "ChunkedState":
        """Some lanes, in the given order."""
        size = self.limit or max(1, len(lanes))
        chunks = [lanes[begin : begin + size] for begin in range(0, len(lanes), size)]
        with _room(len(lanes)):
            return replace(self, parts=tuple(map(self.gathered, chunks)), sizes=tuple(map(len, chunks)))

    def merge(self, lanes: Sequence[int], other: "ChunkedState") -> "ChunkedState":
        """This state with `lanes` replaced by the lanes of `other`; chunks without any of them stay the very same."""
        chunks = zip(self.parts, self._begins(), self.sizes, strict=True)
        pairs = [[(row, lane - begin) for row, lane in enumerate(lanes) if begin <= lane < begin + size] for _, begin, size in chunks]
        with _room(len(self)):
            return replace(self, parts=tuple(self._merged(part, found, other) for part, found in zip(self.parts, pairs, strict=True)))

    def gathered(self, lanes: Sequence[int]) -> State:
        """One state of these lanes, in the given order; a whole chunk is handed out as it is."""
        if len(self.parts) == 1 and lanes == range(len(self)):  # as a rule
            return self.parts[0]
        begins = self._begins()
        chunks = [bisect(begins, lane) - 1 for lane in lanes]
        rows = [int(lane) - begins[chunk] for lane, chunk in zip(lanes, chunks, strict=True)]
        first = chunks[0]
        if chunks.count(first) == len(rows) and rows == list(range(self.sizes[first])):
            return self.parts[first]
        state = self.parts[first].select([row if chunk == first else 0 for row, chunk in zip(rows, chunks, strict=True)])
        for other in sorted({*chunks} - {first}):
            places = [place for place, chunk in enumerate(chunks) if chunk == other]
            state = state.merge(places, self.parts[other].select([rows[place] for place in places]))
        return state

    def _begins(self) -> list[int]:
        """The first lane of each chunk."""
        return [0, *accumulate(self.sizes)][:-1]

    @staticmethod
    def _merged(part: State, pairs: list[tuple[int, int]], other: "ChunkedState") -> State:
        """One chunk with a lane replaced for each pair of (lane of `other`, lane of the chunk)."""
        return part.merge([mine for _, mine in pairs], other.gathered([theirs for theirs, _ in pairs])) if pairs else part


class Chunked:
    """`model`, of which at most `size` lanes are in one call; None is no limit.

    With a size of 1 a lane's bits cannot depend on its batch-mates. A call that runs out of memory is made again with half as many
    lanes, which a line of warning says; `size` is then what it came to.

    Raises:
        InvalidInput: a size below 1.
    """

    def __init__(self, model: WorldModel, size: int | None = None) -> None:
        self._calls = Halving("the world model", "lane", ADVICE, size)
        self.model, self.spec = model, model.spec

    @property
    def size(self) -> int | None:
        """Most lanes in one call."""
        return self._calls.size

    def start(self, frames: np.ndarray, seeds: np.ndarray, *actions: np.ndarray) -> ChunkedState:
        """As the model's own `start`.

        Raises:
            WorldsimError: what the model says, or a memory too small for one lane.
        """
        frames = self.spec.check_frames(frames)
        if len(seeds) != len(frames):
            raise InvalidInput(f"{len(frames)} lanes need as many seeds, got {len(seeds)}")
        rows, parts = self._calls.over(
            len(frames), lambda lanes: self.model.start(frames[lanes], seeds[lanes], *(each[lanes] for each in actions))
        )
        return ChunkedState(tuple(parts), _sizes(rows), self.size)

    def step(self, state: ChunkedState, actions: np.ndarray) -> tuple[ChunkedState, np.ndarray]:
        """As the model's own `step`.

        Raises:
            WorldsimError: what the model says, or a memory too small for one lane.
        """
        actions = self.spec.action.check(actions)
        if len(actions) != len(state):
            raise InvalidInput(f"{len(state)} lanes need as many actions, got {len(actions)}")
        rows, stepped = self._calls.over(
            len(state), lambda lanes: self.model.step(state.gathered(range(lanes.start, lanes.stop)), actions[lanes])
        )
        parts, frames = zip(*stepped, strict=True)
        return ChunkedState(parts, _sizes(rows), self.size), frames[0] if len(frames) == 1 else np.concatenate(frames)


def faults_of(state: State | Truth, lanes: int) -> tuple[str, ...]:
    """What a state, or a truth, says of its lanes' faults; nothing where it does not know of any."""
    return getattr(state, "faults", ("",) * lanes)


@contextmanager
def _room(lanes: int) -> Iterator[None]:
    """Say in one line that the states of so many lanes do not fit; nothing can be halved here."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise WorldsimError(f"the memory is too small to hold {lanes} lanes of this world ({first_line(error)}); {ADVICE}") from error


def _sizes(rows: Sequence[slice]) -> tuple[int, ...]:
    return tuple(each.stop - each.start for each in rows)
