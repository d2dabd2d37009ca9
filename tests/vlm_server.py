"""A real HTTP server on loopback that answers like an OpenAI-compatible endpoint: honestly, or as a script says. Knows no verifier.

The honest model looks: a bright last picture means that the task is done, a dark one that it is not, mid-grey that nobody can tell.
"""

import base64
import io
import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

from worldsim.types import Trajectory


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    number: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    path: str

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.body["messages"][0]["content"] if part["type"] == "text")

    @property
    def task(self) -> str:
        """The task that the prompt quotes."""
        return json.loads(re.search(r"BEGIN TASK\n\s*(.*)\n\s*END TASK", self.text)[1])

    @property
    def pictures(self) -> list[np.ndarray]:
        urls = [part["image_url"]["url"] for part in self.body["messages"][0]["content"] if part["type"] == "image_url"]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))) for url in urls]

    @property
    def options(self) -> list[str]:
        return [each.strip() for each in self.text.rsplit("\n", 1)[-1].rsplit(":", 1)[-1].split(",")]

    @property
    def seen(self) -> str:
        """What an honest model says of the last picture."""
        mean = self.pictures[-1].mean()
        return "yes" if mean > 160 else "no" if mean < 96 else "cannot tell"


@dataclass(frozen=True)
class Sent:
    """A response; `drop` closes the connection after so many bytes of the body, `delay` waits before it, `pause` between its bytes."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: int | None = None
    delay: float = 0.0
    pause: float = 0.0


Script = Callable[[Asked], Sent]


def chat(content: Any, *, logprobs: Any = None, finish: Any = "stop", **message: Any) -> Sent:
    """A chat completion with these words."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish, "logprobs": logprobs}
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
    return sent({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage})


def sent(value: Any, status: int = 200, **headers: str) -> Sent:
    return Sent(json.dumps(value).encode(), status, {key.replace("_", "-"): text for key, text in headers.items()})


def listed(*places: Mapping[str, float]) -> dict[str, Any]:
    """`logprobs` whose i-th place holds these tokens with these probabilities; the first of each is the one that was taken."""
    content = []
    for place in places:
        pairs = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in place.items()]
        content.append({**pairs[0], "top_logprobs": pairs})
    return {"content": content}


def honest(asked: Asked) -> Sent:
    return chat(asked.seen)


def honest_with_logprobs(asked: Asked) -> Sent:
    """.9 for what it sees, spread over spellings."""
    if asked.seen == "cannot tell":
        return chat("cannot tell", logprobs=listed({"cannot": 0.97, "no": 0.02}))
    seen, other = asked.seen, {"yes": "no", "no": "yes"}[asked.seen]
    return chat(seen, logprobs=listed({seen: 0.5, f" {seen.title()}": 0.31, other: 0.07, other.upper(): 0.02}))


class VlmServer:
    """The server. `script` may be replaced at any time; `asked` lists all requests, `most_at_once` the most that were open together."""

    def __init__(self, script: Script = honest) -> None:
        self.script, self.asked, self.most_at_once = script, [], 0
        self._open, self._lock = 0, threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def answer(self, body: bytes, headers: Mapping[str, str], path: str) -> Sent:
        with self._lock:
            asked = Asked(len(self.asked), json.loads(body), headers, path)
            self.asked.append(asked)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        try:
            return self.script(asked)
        finally:
            with self._lock:
                self._open -= 1

    def _handler(self) -> type:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = server.answer(body, {name.lower(): value for name, value in self.headers.items()}, self.path)
                time.sleep(found.delay)
                try:
                    self.send_response(found.status)
                    for name, value in {
                        "Content-Type": "application/json",
                        "Content-Length": str(len(found.body)),
                        **found.headers,
                    }.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for piece in [found.body[: found.drop]] if not found.pause else [found.body[n : n + 1] for n in range(len(found.body))]:
                        self.wfile.write(piece)
                        time.sleep(found.pause)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                if found.drop is not None:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler

    def __enter__(self) -> "VlmServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def replies(*scripts: Script) -> Any:
    """A server that answers its n-th request with the n-th script, and all later ones with the last."""
    with VlmServer(lambda asked: scripts[min(asked.number, len(scripts) - 1)](asked)) as server:
        yield server


def episode(levels: Sequence[int], task: str = "close the drawer", start: str = "s") -> Trajectory:
    """An episode of plain 16 x 16 frames of these grey levels."""
    frames = np.stack([np.full((16, 16, 3), level, np.uint8) for level in levels])
    metadata = {"instruction": task, "policy": "a", "world": "imagined"}
    return Trajectory("drawer", frames, np.zeros((len(levels) - 1, 2), np.float32), start_id=start, metadata=metadata)


def done(task: str = "close the drawer", tone: int = 250) -> Trajectory:
    return episode([10, 20, 30, tone], task)


def failed(task: str = "close the drawer", tone: int = 5) -> Trajectory:
    return episode([10, 20, 30, tone], task)
