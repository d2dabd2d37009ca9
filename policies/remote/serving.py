"""A policy of ours over openpi's wire, so that other harnesses can ask it. The wire's facts stand in `openpi.py`.

Loopback by default. Web pages are kept out (they send an Origin), and so are requests without the key where one is set.
"""

import hmac
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import LIMITS, Limits
from worldsim.policies.remote.codec import OPENPI, pack, unpack
from worldsim.policies.remote.identity import told_of
from worldsim.policies.remote.openpi import ABOUT, VERSION
from worldsim.policies.remote.options import network
from worldsim.policies.remote.sessions import IMAGE_KEYS, Sessions
from worldsim.types import ChunkPolicy

CLOSE_SECONDS = 2.0
FAILED = 1011  # "internal error"
HEAD = "Traceback (most recent call last):\n  the rest is kept on the server\n"


def describe(policy: Any, name: str, frame: tuple[int, int] | None, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a server says of itself before anybody asks: what actions mean, which frames it takes, how long a plan is (None: not known).

    `facts` are those of the policy (`load.part_facts`), by which clients tell it from others; no path of this machine is told.
    """
    about = {
        "version": VERSION,
        "policy": name,
        "facts": told_of(facts or {}),
        "action": {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(policy.action).items()},
        "frame": None if frame is None else list(frame),
        "chunk": None if isinstance(policy, ChunkPolicy) else 1,
        "image_key": IMAGE_KEYS[0],
        "episode_keys": ["episode_id", "reset", "seed", "step"],
    }
    return {ABOUT: about}


class PolicyServer:
    """Answers observations with the actions of one policy. A request that fails costs its connection, never the server."""

    def __init__(self, sessions: Sessions, metadata: dict[str, Any], secret: str | None = None, limits: Limits = LIMITS) -> None:
        self._sessions, self._limits, self._secret = sessions, limits, secret
        self._metadata, self._numbers = pack(metadata, OPENPI), itertools.count()
        self._closed = network("websockets.exceptions").ConnectionClosed

    @contextmanager
    def listening(self, host: str, port: int) -> Iterator[Any]:
        """Listen while the context lasts; `serve_forever()` of what it gives answers, `socket.getsockname()` tells the port.

        Raises:
            InvalidInput: the port is taken, or the host is not this machine's.
        """
        try:
            server = network("websockets.sync.server").serve(
                self._answer_all,
                host,
                port,
                process_request=self._enter,
                origins=[None],
                compression=None,
                max_size=self._limits.size,
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
            )
        except OSError as error:
            raise InvalidInput(f"cannot listen at {host}:{port} ({error.strerror or error}); type port=0 for any free port") from error
        with server:
            yield server

    def _enter(self, connection: Any, request: Any) -> Any:
        """Health, and the key where one is set; None goes on with the websocket."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        given = request.headers.get("Authorization", "")
        if self._secret is not None and not hmac.compare_digest(given.encode(), f"Api-Key {self._secret}".encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the header Authorization: Api-Key KEY is missing or wrong\n")
        return None

    def _answer_all(self, connection: Any) -> None:
        number = next(self._numbers)
        try:
            connection.send(self._metadata)
            while True:
                connection.send(self._reply(connection.recv(), number))
        except self._closed:
            pass
        except Exception as error:  # whatever a request or the policy does, only this connection ends
            self._give_up(connection, error)
        finally:
            self._sessions.end(number)

    def _reply(self, data: bytes | str, number: int) -> bytes:
        if isinstance(data, str):
            raise InvalidInput("the request is text, expected a binary message")
        message, began = unpack(data, OPENPI, self._limits), time.perf_counter()
        actions = self._sessions.answer(message, number)
        return pack({"actions": actions, "server_timing": {"infer_ms": 1000 * (time.perf_counter() - began)}}, OPENPI)

    def _give_up(self, connection: Any, error: Exception) -> None:
        """Say what failed in a text message, as openpi's servers do, and close. Paths of this machine are not told."""
        said = str(error) if isinstance(error, WorldsimError) else "see the server's log"
        if not isinstance(error, WorldsimError):
            import traceback

            traceback.print_exception(error)
        try:
            connection.send(f"{HEAD}{type(error).__name__}: {' '.join(said.split())[:500]}\n")
            connection.close(FAILED, "Internal server error. Traceback included in previous frame.")
        except (self._closed, OSError):
            pass


def listening_address(host: str, port: int, *, allow_remote: bool) -> None:
    """Refuse to be reachable from other machines without leave.

    Raises:
        InvalidInput: the host is not this machine's own address, or the port is none.
    """
    if type(port) is not int or not 0 <= port < 65536:
        raise InvalidInput(f"port is {port}, expected a number from 0 (any) to 65535")
    try:
        Address(host, port or 1, allow_remote=allow_remote)
    except InvalidInput as error:
        raise InvalidInput(
            f"{host} can be reached from other machines, in plain text; type allow_remote=true to go on, or host=127.0.0.1"
        ) from error
