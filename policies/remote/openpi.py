"""openpi's wire: pi0, pi0.5 and most servers for DROID and LIBERO; also `worldsim serve-policy`.

Facts (openpi 15a9616, `websocket_client_policy.py`, `websocket_policy_server.py`): the server speaks first, with a map about itself; then
each binary request is one observation and each binary reply a map with `actions`; a text reply is a traceback, and the connection is closed
with 1011. Nothing tells the server that an episode begins, so every episode gets a connection of its own, and four keys that stock servers
ignore: `episode_id`, `reset`, `seed`, `step`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import MalformedMessage
from worldsim.policies.remote.codec import OPENPI, pack, unpack
from worldsim.policies.remote.faults import ServerFault
from worldsim.policies.remote.lanes import Episode, RemotePolicy
from worldsim.policies.remote.observations import Keys, Robot
from worldsim.policies.remote.options import RemoteOptions, first_contact
from worldsim.policies.remote.websocket import Websocket
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

VERSION = 1  # of what stands there
ABOUT = "worldsim"  # the key under which a server of ours says what it is
ROBOTS = {
    "droid": Robot(
        "observation/exterior_image_1_left",
        "prompt",
        ("observation/wrist_image_left",),
        {"observation/joint_position": 7, "observation/gripper_position": 1},
        (224, 224),
    ),
    "libero": Robot("observation/image", "prompt", ("observation/wrist_image",), {"observation/state": 8}, (224, 224)),
    "aloha": Robot("images|cam_high", "prompt", (), {"state": 14}, (224, 224), planar=True),
    "worldsim": Robot("observation/image", "prompt"),
}
EXPECTED = "an openpi policy server (a websocket whose first message says what it serves)"


class OpenpiWire:
    """One connection to an openpi server."""

    def __init__(self, address: Address, waits: tuple[float, float], keys: Keys | None, size: tuple[int, int] | None = None) -> None:
        """`waits`: seconds for connecting and for a reply. `size`: the only frames that the server takes, where it says so."""
        self._keys, self._size = keys, size
        self._socket = Websocket(address, *waits)
        try:
            self.metadata = mapping_of(unpack(self._socket.receive(waits[0]), OPENPI), "what it serves")
        except BaseException:
            self._socket.close()
            raise

    def begin(self, episode: Episode) -> None:
        """Nothing: the first request says so."""

    def ask(self, frame: np.ndarray, episode: Episode, step: int) -> Any:
        """The field `actions` of the reply, `[T, A]`."""
        if self._size not in (None, frame.shape[:2]):
            raise InvalidInput(
                f"frames have size {list(frame.shape[:2])}, the server takes {list(self._size)}; type size: {list(self._size)}"
            )
        message = self._keys.message(frame, episode.instruction)
        message |= {"episode_id": episode.id, "reset": step == 0, "seed": episode.seed, "step": step}
        self._socket.send(pack(message, OPENPI))
        reply = mapping_of(unpack(self._socket.receive(), OPENPI), "actions")
        if "actions" not in reply:
            raise ServerFault(f"the server's reply has no actions, only {', '.join(map(str, reply))[:80] or 'nothing'}")
        return reply["actions"]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def mapping_of(value: Any, what: str) -> dict[Any, Any]:
    """`value`, if it is a map. Raises MalformedMessage."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"the server sent {type(value).__name__}, expected a map that holds {what}")
    return value


@POLICIES.register("openpi")
@dataclass
class OpenpiConfig(RemoteOptions):
    """A policy behind openpi's wire. Robots: droid, libero, aloha, worldsim (`worldsim serve-policy`, which says so itself)."""

    def hello(self) -> Mapping[Any, Any]:
        """The first message of the server. Raises as `build`."""
        options, waits = self.checked(), (self.connect_seconds, self.reply_seconds)
        address = options.address
        if options.convention is not None:
            options.meaning()  # a wrong name is refused before anybody is called
        return first_contact(lambda: OpenpiWire(address, waits, None), address, EXPECTED)

    def build(self, action: ActionSpec | None = None) -> RemotePolicy:
        """Connect once to learn what is served; `action` is the world's and is compared by whoever joins the two.

        Raises:
            NoServer: nobody is there, or somebody who does not speak openpi.
            InvalidInput, UnknownName: options that do not fit one another or the server.
        """
        about = about_of(self.hello())
        options, address, waits = self, self.address, (self.connect_seconds, self.reply_seconds)
        if about and options.robot is None and not options.images:
            options = replace(options, robot="worldsim")
        keys, size = options.keys(ROBOTS), None
        if about.get("frame") and keys.size is None:
            size = tuple(about["frame"])
        return RemotePolicy(options.meaning(about.get("action")), lambda: OpenpiWire(address, waits, keys, size), options.manner())


def about_of(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """What a server of ours says of itself; empty for others.

    Raises:
        InvalidInput: it says something of another kind.
    """
    about = metadata.get(ABOUT, {})
    if about and isinstance(about, dict) and about.get("version") != VERSION:
        said = str(about.get("version"))[:20]
        raise InvalidInput(
            f"the server describes itself in version {said!r}, expected {VERSION}; bring worldsim to one version on both sides"
        )
    frame = about.get("frame") if isinstance(about, dict) else None
    sound = isinstance(about, dict) and isinstance(about.get("action", {}), dict)
    if not sound or (frame is not None and not (isinstance(frame, list) and [type(side) for side in frame] == [int, int])):
        raise InvalidInput("the server says that it is worldsim's and describes itself in a way that this version does not know")
    return about
