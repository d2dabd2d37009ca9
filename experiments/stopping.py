"""Ctrl-C and SIGTERM end a command within two seconds, whatever it is doing. Knows no command.

The main thread is interrupted as ever and may finish what it must. But a signal does not reach Python while a long call runs, so a
thread that the kernel wakes waits a moment and then ends the process. Nothing is lost by that: what is written to a run folder is whole
or not there. A second signal ends it at once, and so does the first while a module is being imported, for one written in C++ may abort
the process when it is interrupted half-way. A command that handles these signals itself, as training does, is left alone.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

PATIENCE = 1.2  # seconds that the main thread has
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The process was asked to end, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


@contextmanager
def leaving_quickly(farewell: Callable[[int], object]) -> Iterator[None]:
    """Within the block a signal raises `Interrupted`, and ends the process if that does not get through. Elsewhere than in the main
    thread, nothing.

    Args:
        farewell: called with the exit code before the process is ended from outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        asked.append(number)
        if _importing(frame):
            _leave(number, farewell)
        raise Interrupted(number)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    woken, done = signal.set_wakeup_fd(writer, warn_on_full_buffer=False), threading.Event()
    threading.Thread(target=_watch, args=(reader, done, interrupt, farewell), name="worldsim-signals", daemon=True).start()
    try:
        yield
    except Exception as error:  # a library, halfway through an import, may make something else of it
        if asked:
            raise Interrupted(asked[0]) from error
        raise
    finally:
        done.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken)
        os.close(writer)  # which ends the thread


def _watch(reader: int, done: threading.Event, ours: Callable[..., object], farewell: Callable[[int], object]) -> None:
    """Wait for a first signal, then for a second one, the end of patience or that of the block, whichever comes first."""
    number = _next_signal(reader, ours, None)
    if number is not None:
        _next_signal(reader, ours, PATIENCE)
        if not done.is_set():
            _leave(number, farewell)
    os.close(reader)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported where the main thread stands."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _leave(number: int, farewell: Callable[[int], object]) -> NoReturn:
    try:
        farewell(128 + number)
        sys.stderr.flush()
    finally:
        os._exit(128 + number)


def _next_signal(reader: int, ours: Callable[..., object], seconds: float | None) -> int | None:
    """The number of the next signal that we handle; None after so many seconds, or when none can come any more."""
    while select.select([reader], [], [], seconds)[0]:
        number = os.read(reader, 1)
        if not number or (number[0] in SIGNALS and signal.getsignal(number[0]) is ours):
            return number[0] if number else None
    return None
