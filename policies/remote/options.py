"""What all policies behind a network may be told, and how one is built of it. Knows no wire."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from worldsim.actions import ActionSpec
from worldsim.data.conventions import CONVENTIONS, action_convention
from worldsim.errors import InvalidInput, MissingDependency, UnknownName, install_extra
from worldsim.policies.remote.address import Address
from worldsim.policies.remote.arrays import MalformedMessage
from worldsim.policies.remote.faults import ServerFault
from worldsim.policies.remote.identity import digest_of_words
from worldsim.policies.remote.lanes import Manner, Wire
from worldsim.policies.remote.observations import Keys, Robot, keys_of
from worldsim.registry import did_you_mean

WORDS = {"connection": ("lane", "shared"), "out_of_range": ("refuse", "clip")}
TYPES = {  # of each option, and the least that it may be
    **dict.fromkeys(("host", "connection", "out_of_range", "label"), (str, None)),
    **dict.fromkeys(("images", "state"), (Mapping, None)),
    **dict.fromkeys(("stateful", "allow_remote", "tls"), (bool, None)),
    **dict.fromkeys(("connect_seconds", "reply_seconds"), (int | float, 0.001)),
    **{"port": (int, 1), "retries": (int, 0), "backoff_seconds": (int | float, 0)},
}
MEANT = {str: "text", Mapping: "a mapping", bool: "true or false", int: "a whole number", int | float: "a number"}
CUSTOM = Robot(image="", text="prompt")


@dataclass
class RemoteOptions:
    """How to reach a server, what to show it and what its actions mean.

    Attributes:
        host: its machine. Plain text goes to this machine only, unless `allow_remote`.
        port: its port.
        robot: whose keys it reads; null where `images` names them or the server says so itself.
        convention: what its actions mean: a name of `worldsim.data.conventions`, or a mapping; null where the server says so itself.
        images: key to "frame" (what the world shows) or "black".
        state: key to constants, for what an imagined world does not know.
        prompt: key of the instruction; null takes the robot's.
        size: side of the pictures in pixels, or [height, width]; null takes the robot's.
        connection: "lane", one each, or "shared", one for all, for servers without memory.
        stateful: the server remembers the episode: a request that may have reached it is not repeated.
        out_of_range: "refuse" an action out of bounds, or "clip" it.
        api_key_env: name of the environment variable that holds the server's key.
        allow_remote: speak in plain text to another machine.
        tls: speak TLS.
        connect_seconds: how long to wait for a connection, and for the server's first words.
        reply_seconds: how long to wait for an answer; the first one of a server may take a minute of compiling.
        retries: further attempts after one that failed.
        backoff_seconds: wait before the first of them; it doubles each time.
        label: which policy it is, in the user's words, where the server does not say so; another label is another policy.
    """

    incidental: ClassVar = ("api_key_env", "allow_remote", "tls", "connect_seconds", "reply_seconds", "retries", "backoff_seconds")

    host: str = "127.0.0.1"
    port: int = 8000
    robot: str | None = None
    convention: Any = None
    images: dict[str, str] = field(default_factory=dict)
    state: dict[str, list[float]] = field(default_factory=dict)
    prompt: str | None = None
    size: Any = None
    connection: str = "lane"
    stateful: bool = False
    out_of_range: str = "refuse"
    api_key_env: str | None = None
    allow_remote: bool = False
    tls: bool = False
    connect_seconds: float = 10.0
    reply_seconds: float = 120.0
    retries: int = 2
    backoff_seconds: float = 0.5
    label: str = ""

    def hello(self) -> Mapping[Any, Any]:
        """What the server says of itself before it is asked anything; empty, and nobody is called, on wires that say nothing.

        Raises:
            NoServer: nobody is there, or somebody else.
            InvalidInput, UnknownName: options that make no sense.
        """
        return {}

    def facts(self) -> dict[str, str]:
        """A digest of what the server says of itself: another policy at the same port is another policy. Raises as `hello`."""
        digest = digest_of_words(self.hello())
        return {} if digest is None else {"server": digest}

    def checked(self) -> "RemoteOptions":
        """These options, if they are of the right types and make sense together.

        Raises:
            InvalidInput, UnknownName: the first that is not.
        """
        for name, (kind, least) in TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or (least is not None and not value >= least):
                bound = "" if least is None else f" of at least {least:g}"
                raise InvalidInput(f"{name} is {value!r}, expected {MEANT[kind]}{bound}")
        for name, words in WORDS.items():
            if getattr(self, name) not in words:
                raise UnknownName(f'{name} is "{getattr(self, name)}"; {did_you_mean(str(getattr(self, name)), words)}')
        if self.connection == "shared" and self.stateful:
            raise InvalidInput("connection: shared is for servers without memory; type connection: lane, or stateful: false")
        return self

    @property
    def address(self) -> Address:
        """Where the server is. Raises InvalidInput."""
        return Address(self.host, self.port, self.tls, self.allow_remote, self.api_key_env)

    def manner(self, *, one_at_a_time: bool = False) -> Manner:
        """How the server is asked."""
        return Manner(
            self.retries, self.backoff_seconds, self.connection == "shared", self.stateful, one_at_a_time, self.out_of_range == "clip"
        )

    def keys(self, robots: Mapping[str, Robot], axes: int = 0) -> Keys:
        """What to show the server, by the robot of this name.

        Raises:
            InvalidInput: neither a robot nor pictures were named, or a constant is missing.
            UnknownName: no such robot.
        """
        if self.robot is None and "frame" not in self.images.values():
            raise InvalidInput(
                f"which keys does the server read? type robot: {'|'.join(robots)}, or images: {{KEY: frame}} and prompt: KEY"
            )
        if self.robot is not None and self.robot not in robots:
            raise UnknownName(f'no known robot "{self.robot}"; {did_you_mean(self.robot, robots)}')
        robot = CUSTOM if self.robot is None else robots[self.robot]
        keys = keys_of(robot, self.images, self.state, self.size, axes)
        return keys if self.prompt is None else replace(keys, text=self.prompt)

    def meaning(self, told: Any = None) -> ActionSpec:
        """What the actions mean: as the user says, else as the server does.

        Raises:
            InvalidInput: nobody says, or they contradict each other.
        """
        if self.convention is None and told is None:
            raise InvalidInput(f"what do the server's actions mean? type convention: {'|'.join(CONVENTIONS)}, or the fields of an action")
        said = None if self.convention is None else action_convention(self.convention)
        if told is None or said is None:
            return said or action_convention(told)
        if different := said.differences(action_convention(told)):
            raise InvalidInput(
                f"the server says that its actions mean something else than convention: they differ in {', '.join(different)}"
            )
        return said


def first_contact(connect: Callable[[], Wire], address: Address, expected: str) -> dict[str, Any]:
    """The metadata of the server, after one connection that is closed again.

    Raises:
        NoServer: nobody is there, or somebody else; the line says who.
    """
    try:
        wire = connect()
    except (ServerFault, MalformedMessage) as error:
        raise address.nobody(expected, str(error)) from error
    try:
        return dict(wire.metadata)
    finally:
        wire.close()


def network(name: str) -> Any:
    """A package of the extra `remote`, imported when first needed.

    Raises:
        MissingDependency: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency(f"this policy needs {name.split('.')[0]}; type: {install_extra('remote')}") from error
