"""Work that one thread does for others. Networks and OpenGL contexts like to stay in the thread that made them; web servers have many."""

import queue
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from worldsim.errors import WorldsimError

Result = TypeVar("Result")
PATIENCE = 600.0  # seconds that anyone waits for a result


class Errands:
    """Calls that are made one after another by the thread in `run`, in the order in which they are asked for."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Future, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._over = False

    def ask(self, call: Callable[[], Result]) -> Result:
        """What `call` gives, or raises, in the thread in `run`; from any other thread.

        Raises:
            WorldsimError: that thread has stopped, or does not come to it.
        """
        future: Future = Future()
        self._asked.put((future, call))
        if self._over:
            self._drop()
        try:
            return future.result(PATIENCE)
        except (TimeoutError, CancelledError) as error:
            raise WorldsimError("the program is ending, or did not come to this") from error

    def run(self) -> None:
        """Make the calls until `stop`. What is left then, or when this is interrupted, is not made, nor is what is asked later."""
        try:
            while asked := self._asked.get():
                self._make(*asked)
        finally:
            self._over = True
            self._drop()

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._asked.put(None)

    def _drop(self) -> None:
        with suppress(queue.Empty):
            while True:
                if left := self._asked.get_nowait():
                    left[0].cancel()

    @staticmethod
    def _make(future: Future, call: Callable[[], Any]) -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        except BaseException:
            future.cancel()
            raise
