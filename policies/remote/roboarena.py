"""RoboArena's wire, openpi's with a reset: servers of the RoboArena benchmark on DROID robots.

Facts (robo-arena/roboarena, `policy_server.py`, `scripts/test_policy_server.py`): the first message says which cameras the policy wants, at
which size, and whether it gives joint positions or velocities; each request has a key `endpoint`, "infer" or "reset"; a reset is answered
by the text "reset successful", an observation by the array of actions `[N, 8]` itself; any other text is a traceback. Its early versions
had no `endpoint`; they are openpi servers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.remote.address import Address
from worldsim.policies.remote.codec import OPENPI, pack, unpack
from worldsim.policies.remote.faults import ServerFault
from worldsim.policies.remote.lanes import Episode, RemotePolicy
from worldsim.policies.remote.observations import Keys, Robot
from worldsim.policies.remote.openpi import mapping_of
from worldsim.policies.remote.options import RemoteOptions, first_contact
from worldsim.policies.remote.websocket import Websocket
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

EXPECTED = "a RoboArena policy server (a websocket whose first message says which cameras it wants)"
STATE = {"observation/joint_position": 7, "observation/gripper_position": 1}


class RoboArenaWire:
    """One connection to a RoboArena server."""

    def __init__(self, address: Address, waits: tuple[float, float], keys: Keys | None) -> None:
        """`waits`: seconds for connecting and for a reply."""
        self._keys, self._socket = keys, Websocket(address, *waits)
        try:
            self.metadata = mapping_of(unpack(self._socket.receive(waits[0]), OPENPI), "which cameras it wants")
        except BaseException:
            self._socket.close()
            raise

    def begin(self, episode: Episode) -> None:
        """Have the server forget the episode before."""
        self._socket.send(pack({"endpoint": "reset"}, OPENPI))
        said = self._socket.receive_text()
        if said != "reset successful":
            raise ServerFault(f"the server did not reset: {said}")

    def ask(self, frame: np.ndarray, episode: Episode, step: int) -> Any:
        """The actions `[N, 8]`: seven joints and the gripper."""
        message = self._keys.message(frame, episode.instruction) | {"endpoint": "infer"}
        if self.metadata.get("needs_session_id"):
            message["session_id"] = np.array([int(episode.id[:7], 16)], dtype=np.int32)
        self._socket.send(pack(message, OPENPI))
        return unpack(self._socket.receive(), OPENPI)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@POLICIES.register("roboarena")
@dataclass
class RoboArenaConfig(RemoteOptions):
    """A policy behind RoboArena's wire. The server says which keys it reads."""

    stateful: bool = True

    def hello(self) -> Mapping[Any, Any]:
        """The first message of the server. Raises as `build`."""
        options, waits = self.checked(), (self.connect_seconds, self.reply_seconds)
        if options.robot is not None:
            raise InvalidInput("a RoboArena server says itself which keys it reads; leave robot out")
        address = options.address
        return first_contact(lambda: RoboArenaWire(address, waits, None), address, EXPECTED)

    def build(self, action: ActionSpec | None = None) -> RemotePolicy:
        """Connect once to learn what is wanted; `action` is the world's and is compared by whoever joins the two.

        Raises:
            NoServer: nobody is there, or somebody who does not speak this.
            InvalidInput, UnknownName: options that do not fit one another or the server.
        """
        wants, address, waits = self.hello(), self.address, (self.connect_seconds, self.reply_seconds)
        keys = replace(self, robot="droid").keys({"droid": robot_of(wants)})
        velocities = wants.get("action_space") == "joint_velocity" and self.convention is None
        spec = self.meaning("droid" if velocities else None)
        return RemotePolicy(spec, lambda: RoboArenaWire(address, waits, keys), self.manner(one_at_a_time=True))


def robot_of(wants: Mapping[Any, Any]) -> Robot:
    """The keys that a server reads, by its first message.

    Raises:
        InvalidInput: the message says nothing of cameras, or wants none that could show the world.
    """
    count, size = wants.get("n_external_cameras"), wants.get("image_resolution")
    sized = size is None or (isinstance(size, list) and [type(side) for side in size] == [int, int])
    if type(count) is not int or not 0 <= count <= 2 or not sized:
        raise InvalidInput(f"the server does not say which cameras it wants, expected {EXPECTED}; for an openpi server use openpi")
    cameras = [f"observation/exterior_image_{i}" for i in range(count)]
    cameras += ["observation/wrist_image"] if wants.get("needs_wrist_camera") else []
    sides = ("left", "right") if wants.get("needs_stereo_camera") else ("left",)
    keys = [f"{camera}_{side}" for camera in cameras for side in sides]
    if not keys:
        raise InvalidInput("the server wants no camera; it cannot act in a world that is seen")
    return Robot(keys[0], "prompt", tuple(keys[1:]), STATE, tuple(size) if size else None)
