"""The label page of one sitting as a server on this machine's loopback. Every answer is on disk before the next is asked for."""

from collections.abc import Callable
from typing import Any

from worldsim.labelling.sitting import Sitting
from worldsim.serving.server import PageServer


def label_server(sitting: Sitting, port: int = 0) -> PageServer:
    """The server; it ends when the rater is done.

    Raises:
        MissingDependency: fastapi or uvicorn is not installed.
        InvalidInput: the port is taken or may not be used.
    """

    def build(keys: Any, stop: Callable[[], None]) -> Any:
        from worldsim.labelling.app import label_app

        return label_app(sitting, keys, stop)

    return PageServer("label", build, port)
