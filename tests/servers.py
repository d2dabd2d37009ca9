"""Servers for tests, on loopback: sound ones of each wire, and an openpi server that fails on command."""

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from worldsim.policies.remote import json_arrays
from worldsim.policies.remote.codec import GR00T, HARNESS, OPENPI, pack, unpack

STALL = 30.0  # seconds; longer than any client waits


def rule(frame: np.ndarray, instruction: str, actions: int = 3, size: int = 3) -> np.ndarray:
    """A plan that follows from the picture and the instruction: float32 `[actions, size]` in [-1, 1]."""
    seed = [int(frame.sum()), *instruction.encode()]
    return np.random.default_rng(seed).uniform(-1, 1, (actions, size)).astype(np.float32)


@contextmanager
def running(server: Any, *arguments: Any) -> Iterator[int]:
    """`serve_forever` of a server in a thread while the context lasts; gives its port."""
    thread = threading.Thread(target=server.serve_forever, args=arguments, daemon=True)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join(10)


@contextmanager
def websocket_server(handler: Callable[[Any], None], **options: Any) -> Iterator[int]:
    """A websocket server; gives its port."""
    from websockets.sync.server import serve

    with serve(handler, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.2, **options) as server, running(server) as port:
        yield port


@contextmanager
def bare_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that hands each connection to `answer`; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            try:
                line, _ = listener.accept()
            except TimeoutError:
                continue
            with line:
                line.settimeout(2)
                answer(line)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        thread.join(10)
        listener.close()


# What an openpi server can do wrong with a request. Each takes the connection and the right reply.


def frame_of(payload: bytes, claimed: int | None = None) -> bytes:
    """A whole binary websocket frame, or one that claims to be longer than it is."""
    return b"\x82\x7f" + struct.pack(">Q", len(payload) if claimed is None else claimed) + payload


def cut(connection: Any) -> None:
    connection.socket.shutdown(socket.SHUT_RDWR)


def reset(connection: Any) -> None:
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cut(connection)


def half(connection: Any, reply: dict) -> None:
    wire = frame_of(pack(reply, OPENPI))
    connection.socket.sendall(wire[: len(wire) // 2])


def drip(connection: Any, reply: dict, gone: threading.Event) -> None:
    wire = frame_of(pack(reply, OPENPI))
    for at in range(len(wire)):
        if gone.wait(0.05):
            return
        connection.socket.sendall(wire[at : at + 1])


def traceback(connection: Any) -> None:
    connection.send("Traceback (most recent call last):\n\x1b[31m  File 'x'\x00\nValueError: CUDA out of memory\n")
    connection.close(1011, "Internal server error. Traceback included in previous frame.")


def changed(change: Callable[[np.ndarray], Any]) -> Callable[[Any, dict], None]:
    """Send the reply with other actions."""
    return lambda connection, reply: connection.send(pack({**reply, "actions": change(reply["actions"])}, OPENPI))


def set_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(actions: np.ndarray) -> np.ndarray:
        actions = actions.copy()
        actions[-1, 0] = value
        return actions

    return change


def raw(payload: bytes | Callable[[dict], bytes]) -> Callable[[Any, dict], None]:
    """Send bytes as the reply."""
    return lambda connection, reply: connection.send(payload(reply) if callable(payload) else payload)


def forged(dtype: Any) -> Callable[[dict], bytes]:
    """The right reply with another dtype written on its array."""
    import msgpack

    def reply(right: dict) -> bytes:
        array = np.ascontiguousarray(right["actions"])
        fields = {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": dtype, b"shape": array.shape}
        return msgpack.packb({"actions": fields})

    return reply


REQUEST_FAULTS: dict[str, Callable[[Any, dict], None]] = {
    "drop": lambda connection, reply: cut(connection),
    "connection reset": lambda connection, reply: reset(connection),
    "drop in the middle": lambda connection, reply: (half(connection, reply), cut(connection)),
    "traceback": lambda connection, reply: traceback(connection),
    "text": lambda connection, reply: connection.send("<html>502 Bad Gateway</html>"),
    "closed with 1011": lambda connection, reply: connection.close(1011, "x" * 100),
    "closed normally": lambda connection, reply: connection.close(),
    "another shape": changed(lambda actions: actions[:, :-1]),
    "too many axes": changed(lambda actions: actions[None]),
    "no actions": changed(lambda actions: actions[:0]),
    "transposed": changed(lambda actions: np.ascontiguousarray(np.concatenate([actions, actions[:1]]).T)),
    "NaN": changed(set_one(np.nan)),
    "infinite": changed(set_one(-np.inf)),
    "beyond float32": changed(lambda actions: set_one(1e300)(actions.astype(np.float64))),
    "out of range": changed(set_one(1.5)),
    "integers": changed(lambda actions: np.zeros(actions.shape, np.int64)),
    "truth values": changed(lambda actions: np.zeros(actions.shape, bool)),
    "words": changed(lambda actions: [["up"] * actions.shape[1]] * len(actions)),
    "null": changed(lambda actions: None),
    "a map": changed(lambda actions: {"x": actions}),
    "other keys": raw(lambda reply: pack({"action": reply["actions"]}, OPENPI)),
    "a list": raw(lambda reply: pack([reply["actions"]], OPENPI)),
    "nothing": raw(b""),
    "bad msgpack": raw(b"\xc1\xff\x00" * 5),
    "half a message": raw(lambda reply: pack(reply, OPENPI)[:-3]),
    "a frame of 2**60 bytes": lambda connection, reply: connection.socket.sendall(frame_of(b"abc", claimed=2**60)),
    "a list of 2**32 values": raw(b"\x81\xa7actions\xdd\xff\xff\xff\xff"),
    "deep nesting": raw(b"\x91" * 5000 + b"\xc0"),
    "objects": raw(forged("|O")),
    "complex numbers": raw(forged("<c8")),
    "records": raw(forged([["a", "<f4"]])),
    "another dtype": raw(forged("<f8")),
}
STALLING = {
    "stall": lambda connection, reply, gone: gone.wait(STALL),
    "stall in the middle": lambda connection, reply, gone: (half(connection, reply), gone.wait(STALL)),
    "drip": drip,
}


def connection_faults(gone: threading.Event) -> dict[str, Callable[[Any], None]]:
    """What an openpi server can do wrong when somebody has connected."""
    return {
        "no metadata": lambda connection: gone.wait(STALL),
        "text for metadata": lambda connection: connection.send("Traceback: no model"),
        "metadata that is no map": lambda connection: connection.send(pack([1], OPENPI)),
        "metadata that is no msgpack": lambda connection: connection.send(b"\xc1"),
        "closed at once": lambda connection: connection.close(1011),
        "cut at once": cut,
    }


class FailingServer:
    """An openpi server that answers by `rule`, except as `script` (its next requests of the victim) and `doors` (its next connections) say.

    An entry of `doors` may also be "http", answered before the handshake, or "refused": the port is closed until `reopen`.
    """

    def __init__(self, metadata: dict | None = None) -> None:
        self.metadata, self.script, self.doors = metadata or {}, deque(), deque()
        self.gone, self.requests, self.events = threading.Event(), [], deque()
        self.answers, self.sound, self.port = True, 2**31, 0  # whether it answers at all, and how often it answers well

    @contextmanager
    def listening(self) -> Iterator["FailingServer"]:
        """Serve while the context lasts."""
        self.open()
        try:
            yield self
        finally:
            self.gone.set()
            self.shut()

    def open(self) -> None:
        from websockets.sync.server import serve

        options = {"compression": None, "max_size": None, "close_timeout": 0.2, "process_request": self._enter}
        self._server = serve(self._handle, "127.0.0.1", self.port, **options)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def shut(self) -> None:
        """Stop listening. Connections stay as they are, until the test is over."""
        threading.Thread(target=self._server.shutdown, kwargs={"close_connections": self.gone.is_set()}, daemon=True).start()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                return
            time.sleep(0.01)

    def _enter(self, connection: Any, request: Any) -> Any:
        if self.doors and self.doors[0] == "http":
            self.doors.popleft()
            return connection.respond(502, "<html>Bad Gateway</html>")
        return None

    def _handle(self, connection: Any) -> None:
        try:
            if self.doors:
                connection_faults(self.gone)[self.doors.popleft()](connection)
                return
            connection.send(pack(self.metadata, OPENPI))
            while True:
                self._answer(connection, unpack(connection.recv(), OPENPI))
        except (OSError, EOFError):
            pass
        except Exception as error:
            if type(error).__module__ != "websockets.exceptions":
                self.events.append(repr(error))

    def _answer(self, connection: Any, message: dict) -> None:
        self.requests.append({key: value for key, value in message.items() if not isinstance(value, np.ndarray)})
        reply = {"actions": rule(message["observation/image"], message["prompt"]), "server_timing": {"infer_ms": 0.1}}
        if not self.answers:
            self.gone.wait(STALL)
        if len(self.requests) > self.sound:
            connection.send("RuntimeError: no GPU")
            return
        kind = self.script.popleft() if self.script and message["prompt"] == "victim" else None
        if kind in STALLING:
            STALLING[kind](connection, reply, self.gone)
        elif kind == "drop after the reply":
            connection.send(pack(reply, OPENPI))
            cut(connection)
        elif kind is not None:
            REQUEST_FAULTS[kind](connection, reply)
        else:
            connection.send(pack(reply, OPENPI))


# sound servers of the other wires


def harness_handler(log: list[dict], answer: Callable[[dict], Any]) -> Callable[[Any], None]:
    """A model server of vla-evaluation-harness, as its `serve.py` behaves."""

    def handle(connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        def reply(kind: str, payload: Any, seq: int) -> None:
            connection.send(pack({"type": kind, "payload": payload, "seq": seq, "timestamp": time.time()}, HARNESS))

        try:
            while True:
                message = unpack(connection.recv(), HARNESS)
                log.append(message)
                if message["type"] == "hello":
                    reply(
                        "hello",
                        {"harness_version": "0.4.0", "protocol_version": 1, "model_server": "Test", "capabilities": {}},
                        message["seq"],
                    )
                elif message["type"] == "observation":
                    given = answer(message["payload"])
                    kind = "error" if isinstance(given, str) else "action"
                    reply(kind, {"error": given} if kind == "error" else {"actions": given}, message["seq"])
        except ConnectionClosed:
            pass

    return handle


@contextmanager
def gr00t_server(answer: Callable[[str, dict], Any], token: str | None = None) -> Iterator[int]:
    """A GR00T policy server, as its `server_client.py` behaves; gives its port."""
    import zmq

    context, over = zmq.Context(), threading.Event()
    line = context.socket(zmq.REP)
    line.setsockopt(zmq.LINGER, 0)
    port = line.bind_to_random_port("tcp://127.0.0.1")

    def serve() -> None:
        while not over.is_set():
            if not line.poll(50):
                continue
            request = unpack(line.recv(), GR00T)
            if token is not None and request.get("api_token") != token:
                line.send(pack({"error": "Unauthorized: Invalid API token"}, GR00T))
                continue
            given = answer(request.get("endpoint"), request.get("data", {}))
            line.send(given if isinstance(given, bytes) else pack(given, GR00T))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        over.set()
        thread.join(10)
        line.close()
        context.term()


@contextmanager
def http_server(answer: Callable[[str, Any], tuple[int, bytes]]) -> Iterator[int]:
    """An HTTP server: (path, JSON with arrays) to (status, body); gives its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version, server_version, sys_version = "HTTP/1.1", "Test", ""

        def do_POST(self) -> None:
            body = json_arrays.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, reply = answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    try:
        with running(server, 0.02) as port:
            yield port
    finally:
        server.server_close()


def json_of(value: Any) -> bytes:
    """Plain JSON."""
    return json.dumps(value).encode()
