"""Calls that are made again for half as many where the memory is too small. Knows nothing of what is called."""

import logging
import sys
from collections.abc import Callable
from typing import TypeVar

from worldsim.errors import InvalidInput, WorldsimError

Result = TypeVar("Result")
SIGNS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    "could not create a primitive",
)

log = logging.getLogger(__name__)


class Halving:
    """Calls of one thing for at most `size` rows at a time; None is no limit.

    A call that runs out of memory is made again for half as many rows, which a line of warning says. Nothing that was answered is asked
    again, so of what is called only the call that fails must leave no trace.

    Args:
        whom: what is called, in words.
        row: what a row is, in one word.
        advice: what to do where one row is too many.
        size: most rows in a call.

    Raises:
        InvalidInput: a size below 1.
    """

    def __init__(self, whom: str, row: str, advice: str, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise InvalidInput(f"size is {size}, expected a number of {row}s, 1 or more, or None for all")
        self.size, self.halved = size, False
        self._whom, self._row, self._advice = whom, row, advice

    def over(self, count: int, call: Callable[[slice], Result]) -> tuple[list[slice], list[Result]]:
        """The parts that `count` rows were cut into, and what `call` made of each.

        Raises:
            WorldsimError: a memory too small for one row.
        """
        parts: list[slice] = []
        made: list[Result] = []
        while (begin := parts[-1].stop if parts else 0) < count:
            part = slice(begin, min(begin + (self.size or count), count))
            try:
                made.append(call(part))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            else:
                parts.append(part)
                continue
            self._halve(part.stop - begin, reason)  # out here the failed call no longer holds its tensors
        return parts, made

    def _halve(self, size: int, reason: str) -> None:
        if size == 1:
            raise WorldsimError(f"the memory is too small for {self._whom}, even one {self._row} at a time ({reason}); {self._advice}")
        self.size, self.halved = size // 2, True
        text = "the memory is too small for %d %ss in one call of %s; going on with %d at a time"
        log.warning(text, size, self._row, self._whom, self.size)
        torch = sys.modules.get("torch")
        if torch and torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def is_out_of_memory(error: Exception) -> bool:
    """Whether numpy, torch's allocators or a CUDA library ran out of memory; known by name, so that torch is not loaded."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(sign in str(error).lower() for sign in SIGNS)


def first_line(error: Exception) -> str:
    """What it says, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
