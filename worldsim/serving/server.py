"""A page on a port of this machine's loopback, until it is stopped or interrupted. Prints nothing and knows no page."""

import socket
from collections.abc import Callable
from typing import Any

from worldsim.errors import InvalidInput, MissingDependency, install_extra

LOOPBACK = "127.0.0.1"
LEAVE_SECONDS = 1  # that open connections may take once the server ends


class PageServer:
    """The page of one command. `address` lets in one browser, once; it works before `run` is called, which then answers.

    Args:
        command: the command that serves it, as in "label".
        build: makes the application from its `Keys` and from what stops the server.
        port: on the loopback; 0 is any free one.

    Raises:
        MissingDependency: fastapi or uvicorn is not installed.
        InvalidInput: the port is taken or may not be used.
    """

    def __init__(self, command: str, build: Callable[[Any, Callable[[], None]], Any], port: int = 0) -> None:
        try:
            import uvicorn

            from worldsim.serving.guard import ENTRANCE, Keys

            keys = Keys(command)
            app = build(keys, self.stop)
        except ImportError as error:
            raise MissingDependency(f"the {command} page needs {error.name}; type: {install_extra('web')}") from error
        quiet = {
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
            "lifespan": "off",
            "ws": "none",
        }
        self._server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=LEAVE_SECONDS, **quiet))
        self._socket = _listening(port)
        self.port: int = self._socket.getsockname()[1]
        self.address = f"http://{LOOPBACK}:{self.port}{ENTRANCE}?token={keys.token}"

    def run(self) -> None:
        """Answer until `stop`.

        Raises:
            KeyboardInterrupt: interrupted.
        """
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True


def _listening(port: int) -> socket.socket:
    """A socket that takes connections on the loopback; port 0 is any free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # unnamed, asyncio would leave Nagle's delay on
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(64)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"port {port} cannot be used ({reason}); type port=0 for any free one") from error
    return listener
