"""Servers that are asked by HTTP: POST /act with JSON. OpenVLA's own server, AutoEval's, and Octo behind AutoEval's.

Facts: OpenVLA (openvla c8f03f4, `vla-scripts/deploy.py`) takes {image, instruction, perhaps unnorm_key} and answers an array `[7]`, or the
text "error". AutoEval (zhouzypaul/auto_eval, `policy_server/template*.py`, `robot/policy_clients.py`) takes {image, instruction, perhaps
proprio}, answers an array or a list, fails with {detail} and an HTTP status, and forgets its history and its chunks at POST /reset, which
may be missing (404). Arrays are written as json-numpy does. Both keep one memory for all who ask.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, IncompleteRead
from typing import Any

import numpy as np

from worldsim.policies.remote import json_arrays
from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import LIMITS, MalformedMessage
from worldsim.policies.remote.deadline import cut, deadline
from worldsim.policies.remote.faults import ServerFault, faults_of, shown
from worldsim.policies.remote.lanes import Episode, RemotePolicy
from worldsim.policies.remote.observations import Keys, Robot
from worldsim.policies.remote.options import RemoteOptions, first_contact
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

UNNORM_CONVENTIONS = {"bridge_orig": "bridge", "fractal20220817_data": "fractal_absolute"}  # what OpenVLA's statistics undo to
ROBOTS = {"rest": Robot("image", "instruction")}


class RestWire:
    """A session with an HTTP server."""

    def __init__(self, address: Address, waits: tuple[float, float], keys: Keys, extra: dict[str, Any], reset: str | None) -> None:
        """`waits`: seconds for connecting and for a reply. `extra`: more fields of a request. `reset`: path that begins an episode."""
        self._keys, self._waits, self._extra, self._reset, self._secret = keys, waits, extra, reset, address.secret
        self._address, self._headers, self.metadata = address, {"Content-Type": "application/json", "Connection": "close"}, {}
        self._headers |= {"Authorization": f"Api-Key {self._secret}"} if self._secret else {}
        self._line: socket.socket | None = None  # in use
        with faults_of(doing="connecting"):
            address.dial(waits[0]).close()

    def begin(self, episode: Episode) -> None:
        """Have the server forget the episode before, where it can."""
        if self._reset is not None:
            status, body = self._post(self._reset, b"{}")
            if status not in (200, 404):
                raise ServerFault(f"the server did not reset: HTTP {status}, {shown(body.decode('utf-8', 'replace'), self._secret)}")

    def ask(self, frame: np.ndarray, episode: Episode, step: int) -> Any:
        """The answer of /act, `[A]` or `[T, A]`."""
        status, body = self._post("/act", json_arrays.dumps(self._keys.message(frame, episode.instruction) | self._extra))
        if status != 200:
            raise ServerFault(f"the server failed: HTTP {status}, {shown(body.decode('utf-8', 'replace'), self._secret)}")
        answer = json_arrays.loads(body)
        if isinstance(answer, str) and answer.startswith("{"):
            answer = json_arrays.loads(answer.encode())  # "double-encoded", as servers without json-numpy's patch answer
        if isinstance(answer, str):
            raise ServerFault(f'the server failed and says only "{shown(answer, self._secret)}"; its own log knows more')
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            cut(self._line)

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of a reply, within the limits in size and time. Every request has a connection; redirections are not followed."""
        with faults_of(HTTPException, ValueError, doing=f"asking {path}"), self._dialled() as line, deadline(line, self._waits[1]):
            if isinstance(line, ssl.SSLSocket):
                line.do_handshake()
            connection = HTTPConnection(self._address.host, self._address.port)
            connection.sock = line  # our own, so that no proxy is used
            connection.request("POST", path, body, self._headers)
            with connection.getresponse() as reply:
                said = reply.read(LIMITS.size + 1)
                if reply.length and len(said) <= LIMITS.size:
                    raise IncompleteRead(said, reply.length)
        if len(said) > LIMITS.size:
            raise MalformedMessage(f"a reply has more than {LIMITS.size} bytes")
        return reply.status, said

    @contextmanager
    def _dialled(self) -> Iterator[socket.socket]:
        """An open line, which `close` may cut meanwhile."""
        with ExitStack() as stack:
            line = stack.enter_context(self._address.dial(self._waits[0]))
            line.settimeout(self._waits[1])
            if self._address.tls:
                context = ssl.create_default_context()
                line = context.wrap_socket(line, server_hostname=self._address.host, do_handshake_on_connect=False)
                stack.enter_context(line)
            self._line = line
            try:
                yield line
            finally:
                self._line = None


def _built(options: RemoteOptions, extra: dict[str, Any], reset: str | None, told: Any, expected: str) -> RemotePolicy:
    waits, address, keys, spec = (
        (options.connect_seconds, options.reply_seconds),
        options.address,
        options.keys(ROBOTS),
        options.meaning(told),
    )
    first_contact(lambda: RestWire(address, waits, keys, extra, reset), address, expected)
    return RemotePolicy(spec, lambda: RestWire(address, waits, keys, extra, reset), options.manner(one_at_a_time=True))


@POLICIES.register("openvla-rest")
@dataclass
class OpenvlaRestConfig(RemoteOptions):
    """OpenVLA's own server (`vla-scripts/deploy.py`).

    Attributes:
        unnorm_key: whose statistics undo the actions; bridge_orig and fractal20220817_data also say what they then mean.
    """

    robot: str | None = "rest"
    unnorm_key: str | None = None

    def build(self, action: ActionSpec | None = None) -> RemotePolicy:
        """See that somebody listens; `action` is the world's and is compared by whoever joins the two.

        Raises:
            NoServer: nobody is there.
            InvalidInput, UnknownName: options that do not fit one another.
        """
        options, told = self.checked(), None if self.convention else UNNORM_CONVENTIONS.get(self.unnorm_key)
        extra = {} if self.unnorm_key is None else {"unnorm_key": str(self.unnorm_key)}
        return _built(options, extra, None, told, "OpenVLA's REST server (POST /act)")


@POLICIES.register("autoeval")
@dataclass
class AutoEvalConfig(RemoteOptions):
    """A policy server of AutoEval. It may remember, so by default one episode is played at a time and no request is repeated within it."""

    robot: str | None = "rest"
    stateful: bool = True

    def build(self, action: ActionSpec | None = None) -> RemotePolicy:
        """See that somebody listens; `action` is the world's and is compared by whoever joins the two.

        Raises:
            NoServer: nobody is there.
            InvalidInput, UnknownName: options that do not fit one another.
        """
        return _built(self.checked(), {}, "/reset", None, "an AutoEval policy server (POST /act, POST /reset)")


@POLICIES.register("octo")
@dataclass
class OctoConfig(AutoEvalConfig):
    """Octo behind AutoEval's `octo_server.py`, which remembers two 256 x 256 pictures, averages plans and undoes Bridge's statistics."""

    convention: Any = "bridge"
    size: Any = 256
    state: dict[str, list[float]] = field(default_factory=dict)
