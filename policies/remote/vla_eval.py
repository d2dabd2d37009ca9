"""The wire of vla-evaluation-harness: its servers for OpenVLA, OFT, pi0, GR00T, CogACT, X-VLA, starVLA and LeRobot policies.

Facts (allenai/vla-evaluation-harness e1ee9ad, `protocol/messages.py`, `model_servers/serve.py`, `connection.py`, protocol version 1):
binary websocket messages {type, payload, seq, timestamp}. The client says hello and the server answers; an episode begins with
`episode_start`, which is not answered unless it fails; an observation is answered by `action` or `error` with the same `seq`. The server
cuts its chunks itself and keeps what is left of them per connection, so by default a request is not repeated within an episode.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import MalformedMessage
from worldsim.policies.remote.codec import HARNESS, pack, unpack
from worldsim.policies.remote.faults import ServerFault, shown
from worldsim.policies.remote.lanes import Episode, RemotePolicy
from worldsim.policies.remote.observations import Keys, Robot
from worldsim.policies.remote.openpi import mapping_of
from worldsim.policies.remote.options import RemoteOptions, first_contact
from worldsim.policies.remote.websocket import Websocket
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

PROTOCOL = 1
EXPECTED = "a vla-evaluation-harness model server (a websocket that answers hello)"
ROBOTS = {
    "simpler": Robot("images|primary", "task_description"),
    "libero": Robot("images|agentview", "task_description"),
}


class HarnessWire:
    """One connection to a model server of the harness."""

    def __init__(self, address: Address, waits: tuple[float, float], keys: Keys | None) -> None:
        """`waits`: seconds for connecting and for a reply."""
        self._keys, self._sent, self._secret = keys, 0, address.secret
        self._socket = Websocket(address, *waits)
        try:
            self._send("hello", {"harness_version": "worldsim", "protocol_version": PROTOCOL})
            self.metadata: Mapping[str, Any] = self._reply("hello", waits[0])
            if self.metadata.get("protocol_version") != PROTOCOL:
                raise ServerFault(f"the server speaks protocol version {self.metadata.get('protocol_version')!r}, expected {PROTOCOL}")
        except BaseException:
            self._socket.close()
            raise

    def begin(self, episode: Episode) -> None:
        """Have the server forget the episode before."""
        self._send("episode_start", {"task": {"name": episode.instruction, "seed": episode.seed}})

    def ask(self, frame: np.ndarray, episode: Episode, step: int) -> Any:
        """The field `actions` of the reply, `[A]` or `[T, A]`."""
        self._send("observation", self._keys.message(frame, episode.instruction))
        payload = self._reply("action", None)
        if "actions" not in payload and "action" not in payload:
            raise ServerFault(f"the server's reply has no actions, only {', '.join(map(str, payload))[:80] or 'nothing'}")
        return payload.get("actions", payload.get("action"))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _send(self, kind: str, payload: Mapping[str, Any]) -> None:
        self._sent += 1
        self._socket.send(pack({"type": kind, "payload": payload, "seq": self._sent, "timestamp": time.time()}, HARNESS))

    def _reply(self, kind: str, seconds: float | None) -> dict[Any, Any]:
        """The payload of the answer to what was sent last."""
        message = mapping_of(unpack(self._socket.receive(seconds), HARNESS), "type, payload and seq")
        payload = message.get("payload")
        if not isinstance(payload, dict):
            raise MalformedMessage(f"the server sent a payload of {type(payload).__name__}, expected a map")
        if message.get("type") == "error":
            raise ServerFault(f"the server failed: {shown(str(payload.get('error', payload))[:2000], self._secret)}")
        if message.get("type") != kind or message.get("seq") != self._sent:
            what = f"{shown(str(message.get('type'))[:40])} {shown(str(message.get('seq'))[:20])}"
            raise ServerFault(f"the server sent {what}, expected {kind} {self._sent}")
        return payload


@POLICIES.register("vla-eval")
@dataclass
class HarnessConfig(RemoteOptions):
    """A policy behind the wire of vla-evaluation-harness. Robots: simpler, libero.

    The server tells what its actions look like in words of its own, which leave out the rate and the frame; so `convention` is needed.
    """

    robot: str | None = "simpler"
    stateful: bool = True
    state: dict[str, list[float]] = field(default_factory=dict)

    def hello(self) -> Mapping[Any, Any]:
        """The server's answer to hello. Raises as `build`."""
        options, waits = self.checked(), (self.connect_seconds, self.reply_seconds)
        address = options.address
        options.keys(ROBOTS)  # what makes no sense is refused before anybody is called
        options.meaning()
        return first_contact(lambda: HarnessWire(address, waits, None), address, EXPECTED)

    def build(self, action: ActionSpec | None = None) -> RemotePolicy:
        """Say hello once; `action` is the world's and is compared by whoever joins the two.

        Raises:
            NoServer: nobody is there, or somebody who does not speak this.
            InvalidInput, UnknownName: options that do not fit one another.
        """
        self.hello()
        address, keys, waits = self.address, self.keys(ROBOTS), (self.connect_seconds, self.reply_seconds)
        return RemotePolicy(self.meaning(), lambda: HarnessWire(address, waits, keys), self.manner())
