"""GR00T's wire: ZeroMQ requests and replies, msgpack with .npy files in them.

Facts (NVIDIA/Isaac-GR00T, `gr00t/policy/server_client.py`, `gr00t_policy.py`, `configs/data/embodiment_configs.py`): a request is
{endpoint, data, perhaps api_token}; endpoints are ping, get_action, reset, get_modality_config. `get_action` takes {observation, options}:
video uint8 [B, T, H, W, 3], state float32 [B, T, D], language lists of lists of text; it answers [actions, info], actions by name as
float32 [B, T, D]. Failures are {error: text}. Later servers answer with msgpack-numpy's arrays and take either form. A reset is of the
whole server; its policies keep no memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import LIMITS
from worldsim.policies.remote.codec import GR00T, pack, unpack
from worldsim.policies.remote.faults import ServerFault, faults_of, shown
from worldsim.policies.remote.lanes import Episode, RemotePolicy
from worldsim.policies.remote.observations import Keys, Robot
from worldsim.policies.remote.options import RemoteOptions, first_contact, network
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

EXPECTED = "a GR00T policy server (ZeroMQ, answering ping)"
TEXT = "language.annotation.human.action.task_description"
ARM = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def _states(*names: str) -> dict[str, int]:
    return {f"state.{name}": 0 for name in names}


ROBOTS = {
    "simpler_env_widowx": Robot("video.image_0", TEXT, (), _states("x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper")),
    "simpler_env_google": Robot("video.image", TEXT, (), _states("x", "y", "z", "rx", "ry", "rz", "rw", "gripper")),
    "libero_sim": Robot("video.image", TEXT, ("video.wrist_image",), _states(*ARM)),
}


class Gr00tWire:
    """One socket to a GR00T server."""

    def __init__(self, address: Address, waits: tuple[float, float], keys: Keys | None, actions: Sequence[str] = ()) -> None:
        """`waits`: seconds for connecting and for a reply. `actions`: the parts of an action in their order."""
        self._keys, self._parts, self._waits, self._secret = keys, actions, waits, address.secret
        self._zmq = network("zmq")
        self._socket = self._zmq.Context.instance().socket(self._zmq.REQ)
        options = {"LINGER": 0, "IMMEDIATE": 1, "MAXMSGSIZE": LIMITS.size, "SNDTIMEO": _ms(waits[0]), "RCVTIMEO": _ms(waits[0])}
        for name, value in options.items():
            self._socket.setsockopt(getattr(self._zmq, name), value)
        if ":" in address.host:
            self._socket.setsockopt(self._zmq.IPV6, 1)
        try:
            with faults_of(self._zmq.ZMQError, doing="connecting"):
                self._socket.connect(f"tcp://{address.place}")
            self.metadata = {"ping": self._call("ping")}
            self._socket.setsockopt(self._zmq.RCVTIMEO, _ms(waits[1]))
        except BaseException:
            self.close()
            raise

    def begin(self, episode: Episode) -> None:
        """Have the server forget the episode before."""
        self._call("reset", {"options": None})

    def ask(self, frame: np.ndarray, episode: Episode, step: int) -> Any:
        """The parts of the actions side by side, `[T, A]`."""
        observation = {"state": {}} | self._keys.message(frame, episode.instruction)
        reply = self._call("get_action", {"observation": observation, "options": None})
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[0], dict):
            raise ServerFault(f"the server sent {type(reply).__name__}, expected a list of actions and info")
        return self._joined(reply[0])

    def close(self) -> None:
        """Hang up."""
        self._socket.close(linger=0)

    def _call(self, endpoint: str, data: Any = None) -> Any:
        request = {"endpoint": endpoint} | ({} if data is None else {"data": data})
        request |= {"api_token": self._secret} if self._secret else {}
        try:
            with faults_of(self._zmq.ZMQError, doing=f"asking for {endpoint}"):
                self._socket.send(pack(request, GR00T))
                message = self._socket.recv()
        except ServerFault as error:
            if isinstance(error.__cause__, self._zmq.Again):
                raise ServerFault(f"asking for {endpoint}: no answer in time") from error
            raise
        reply = unpack(message, GR00T)
        if isinstance(reply, dict) and "error" in reply:
            raise ServerFault(f"the server failed: {shown(str(reply['error'])[:2000], self._secret)}")
        return reply

    def _joined(self, actions: dict[Any, Any]) -> np.ndarray:
        parts = []
        for name in self._parts:
            part = actions.get(name)
            if not isinstance(part, np.ndarray) or part.dtype.kind != "f" or part.ndim != 3 or part.shape[0] != 1:
                kind = f"{part.dtype} {list(part.shape)}" if isinstance(part, np.ndarray) else type(part).__name__
                raise ServerFault(f'the server gave {kind} as "{name}", expected floats [1, T, D]')
            parts.append(part[0])
        if len({len(part) for part in parts}) != 1:
            raise ServerFault(f"the server gave parts of {sorted({len(part) for part in parts})} actions, expected one length")
        return np.concatenate(parts, axis=1)


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


@POLICIES.register("gr00t")
@dataclass
class Gr00tConfig(RemoteOptions):
    """A policy behind GR00T's wire. Robots: simpler_env_widowx, simpler_env_google, libero_sim.

    Attributes:
        actions: names of the parts of an action, in the order of the convention's names.
    """

    port: int = 5555
    actions: list[str] = field(default_factory=lambda: list(ARM))

    def build(self, action: ActionSpec | None = None) -> RemotePolicy:
        """Ping once; `action` is the world's and is compared by whoever joins the two.

        Raises:
            NoServer: nobody is there, or somebody who does not speak this.
            InvalidInput, UnknownName: options that do not fit one another.
        """
        options, waits = self.checked(), (self.connect_seconds, self.reply_seconds)
        if options.tls:
            raise InvalidInput("GR00T's wire has no TLS; leave tls out, and tunnel to another machine: ssh -L PORT:localhost:PORT HOST")
        if not options.actions or not all(isinstance(name, str) for name in options.actions):
            raise InvalidInput(f"actions is {options.actions}, expected the names of an action's parts in their order")
        address, keys, spec = options.address, options.keys(ROBOTS, axes=2), options.meaning()
        first_contact(lambda: Gr00tWire(address, waits, None), address, EXPECTED)
        parts = tuple(options.actions)
        return RemotePolicy(spec, lambda: Gr00tWire(address, waits, keys, parts), options.manner(one_at_a_time=True))
