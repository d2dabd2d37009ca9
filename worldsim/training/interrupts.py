"""Ctrl-C and SIGTERM as a question that is asked between two iterations. Knows nothing about training."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """Whether the process was asked to stop."""

    asked: bool = False


@contextmanager
def noticed_interrupts() -> Iterator[Interrupt]:
    """Within the block a first Ctrl-C or SIGTERM is only noted; a second one acts as it did before. Outside the main thread, nothing."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        interrupt.asked = True
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
