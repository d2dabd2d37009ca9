"""One thing for several lanes at the same time, by threads that do not keep a process alive. Knows no network."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")
MOST_THREADS = 32
WAKE_SECONDS = 0.2


def at_once(lanes: Sequence[int], do: Callable[[int], Result]) -> dict[int, Result]:
    """`do` for every lane, the results by lane. An interruption gets through and leaves the threads behind.

    Raises:
        Exception: the first that `do` raised.
    """
    waiting, results, errors = deque(lanes), {}, []

    def work() -> None:
        while waiting and not errors:
            try:
                lane = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                results[lane] = do(lane)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(len(lanes), MOST_THREADS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(WAKE_SECONDS)  # an interruption is seen between two waits
    if errors:
        raise errors[0]
    return results
