"""A world model that computes its lanes a few at a time: for bits that no batch-mate can change, and for machines with little memory."""

import logging
import sys
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeVar

import numpy as np

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.types import State, WorldModel

Result = TypeVar("Result")
SIGNS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    "could not create a primitive",
)

ADVICE = "ask for fewer lanes (num_envs=, batch=), history=window with a smaller window=, or precision=bf16"

log = logging.getLogger(__name__)


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
        if size is not None and size < 1:
            raise InvalidInput(f"size is {size}, expected a number of lanes, 1 or more, or None for all")
        self.model, self.spec, self.size = model, model.spec, size

    def start(self, frames: np.ndarray, seeds: np.ndarray, *actions: np.ndarray) -> ChunkedState:
        """As the model's own `start`.

        Raises:
            WorldsimError: what the model says, or a memory too small for one lane.
        """
        frames = self.spec.check_frames(frames)
        if len(seeds) != len(frames):
            raise InvalidInput(f"{len(frames)} lanes need as many seeds, got {len(seeds)}")
        rows, parts = self._in_chunks(
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
        rows, stepped = self._in_chunks(
            len(state), lambda lanes: self.model.step(state.gathered(range(lanes.start, lanes.stop)), actions[lanes])
        )
        parts, frames = zip(*stepped, strict=True)
        return ChunkedState(parts, _sizes(rows), self.size), frames[0] if len(frames) == 1 else np.concatenate(frames)

    def _in_chunks(self, lanes: int, call: Callable[[slice], Result]) -> tuple[list[slice], list[Result]]:
        """The chunks and what `call` makes of each; with ever smaller chunks while the memory is too small. Calls are pure."""
        while True:
            size = self.size or lanes
            rows = [slice(begin, min(begin + size, lanes)) for begin in range(0, lanes, size)]
            try:
                return rows, [call(each) for each in rows]
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                reason = _first_line(error)
            self._halve(min(size, lanes), reason)  # out here the failed call no longer holds its tensors

    def _halve(self, size: int, reason: str) -> None:
        if size == 1:
            raise WorldsimError(f"the memory is too small for this world, even one lane at a time ({reason}); {ADVICE}")
        self.size = size // 2
        log.warning("the memory is too small for %d lanes in one call of the world model; going on with %d at a time", size, self.size)
        torch = sys.modules.get("torch")
        if torch and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def faults_of(state: State, lanes: int) -> tuple[str, ...]:
    """What a state says of its lanes' faults; nothing where it does not know of any."""
    return getattr(state, "faults", ("",) * lanes)


@contextmanager
def _room(lanes: int) -> Iterator[None]:
    """Say in one line that the states of so many lanes do not fit; nothing can be halved here."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise WorldsimError(f"the memory is too small to hold {lanes} lanes of this world ({_first_line(error)}); {ADVICE}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _sizes(rows: Sequence[slice]) -> tuple[int, ...]:
    return tuple(each.stop - each.start for each in rows)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether numpy, torch's allocators or a CUDA library ran out of memory; known by name, so that torch is not loaded."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(sign in str(error).lower() for sign in SIGNS)
