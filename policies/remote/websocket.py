"""A websocket to a server, as both openpi and vla-evaluation-harness use it: binary messages, no compression. Knows neither."""

import socket
import ssl
import struct
from typing import Any

from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import LIMITS
from worldsim.policies.remote.faults import ServerFault, faults_of, shown
from worldsim.policies.remote.options import network

CLOSE_SECONDS = 0.5


class Websocket:
    """An open connection whose every wait is bounded. Raises ServerFault, and nothing else, when the other end fails."""

    def __init__(self, address: Address, connect_seconds: float, reply_seconds: float) -> None:
        self._reply_seconds, self._secret = reply_seconds, address.secret
        client, self._errors = network("websockets.sync.client"), network("websockets.exceptions")
        headers = {"Authorization": f"Api-Key {self._secret}"} if self._secret else None
        with faults_of(self._errors.WebSocketException, ssl.SSLError, doing="connecting"):
            line = address.dial(connect_seconds)  # our own, so that no proxy is used and no redirection leads to another machine
            self._bound(line)
            try:
                self._connection = client.connect(
                    f"{'wss' if address.tls else 'ws'}://{address.place}",
                    sock=line,
                    additional_headers=headers,
                    compression=None,
                    open_timeout=connect_seconds,
                    close_timeout=min(CLOSE_SECONDS, reply_seconds),
                    ping_interval=None,  # a server that thinks answers no pings
                    max_size=LIMITS.size,
                )
            except BaseException:
                line.close()
                raise

    def send(self, message: bytes) -> None:
        """Send one binary message."""
        with faults_of(self._errors.WebSocketException, doing="asking"):
            self._connection.send(message)

    def receive(self, seconds: float | None = None) -> bytes:
        """The next message. Text is what a server says when it fails, a traceback as a rule."""
        message = self._next(seconds)
        if isinstance(message, str):
            raise ServerFault(f"the server failed: {shown(message, self._secret)}")
        return message

    def receive_text(self) -> str:
        """The next message, from a server that is expected to say something in words; shortened."""
        message = self._next(None)
        return shown(message, self._secret) if isinstance(message, str) else f"{len(message)} bytes"

    def _next(self, seconds: float | None) -> Any:
        with faults_of(self._errors.WebSocketException, doing="waiting for the server"):
            return self._connection.recv(timeout=seconds or self._reply_seconds)

    def close(self) -> None:
        """Hang up, politely for half a second at most."""
        self._connection.close()

    def _bound(self, line: socket.socket) -> None:
        """Let sending give up too: a server that reads nothing fills the buffers, and then a send would wait for ever."""
        whole = int(self._reply_seconds)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", whole, int((self._reply_seconds - whole) * 1e6) or 1))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
