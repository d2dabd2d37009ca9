"""A limit to how long a line may be used in all, however slowly the other end sends. Knows no wire."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def cut(line: socket.socket) -> None:
    """End a line, so that whoever waits for it wakes up; closing it would not do that."""
    with suppress(OSError):
        socket.socket.shutdown(line, socket.SHUT_RDWR)  # past TLS, which would say goodbye


@contextmanager
def deadline(line: socket.socket, seconds: float) -> Iterator[None]:
    """Cut the line if the block is not over after so many seconds. A socket's own timeout begins anew with every byte.

    Raises:
        TimeoutError: it was cut, whatever the block made of that.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        cut(line)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError
