"""What an evaluation protocol says of the things in its recordings. Values only."""

from dataclasses import dataclass, field


@dataclass
class PhysicsKeys:
    """What the physics block may know of recordings; empty is unknown.

    Attributes:
        truth: world that second takes are made in.
        colour, margin: of the object, and by how much of 255 it exceeds the other channels.
        place: state that says where the object is, metres `[3]`, up last.
        thing: the object's number in the state `segmentation`.
        solid: numbers of what it can never cover.
        gravity: m/s^2.
    """

    truth: str = ""
    colour: str = ""
    margin: int = 40
    place: str = ""
    thing: int = -1
    solid: list[int] = field(default_factory=list)
    gravity: float = 9.81
