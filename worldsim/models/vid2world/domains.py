"""What the actions of the three published domains are, as the released checkpoints take them (specification: the authors' converters)."""

from math import pi

from worldsim.data.csgo_actions import NAMES as CSGO_NAMES
from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import ActionSpec

# Bounds are symmetric: the network multiplies an action in [-1, 1] by the upper bound and so gets the raw one.
DOMAINS = {
    "rt1": ActionSpec(
        names=(
            *("base_x", "base_y", "base_yaw", "gripper_closedness", "roll", "pitch", "yaw"),
            *("terminate", "keep_going", "terminate_unused", "x", "y", "z"),
        ),
        low=(-1.0, -1.0, -pi, -1.0, -pi, -pi, -pi, *(-1.0,) * 6),
        high=(1.0, 1.0, pi, 1.0, pi, pi, pi, *(1.0,) * 6),
        rate_hz=3.0,
        rotation="rpy",
        gripper="relative",
    ),
    "csgo": ActionSpec(names=CSGO_NAMES, low=(-1.0,) * 51, high=(1.0,) * 51, rate_hz=16.0),
    "recon": ActionSpec(names=("forward", "left", "yaw"), low=(-1.0, -1.0, -pi), high=(1.0, 1.0, pi), rate_hz=4.0, frame="tool"),
}
FRAME_SIZE = (320, 512)


def domain_action(name: str) -> ActionSpec:
    """What an action of this domain means.

    Raises:
        UnknownName: with the closest known name.
    """
    if name not in DOMAINS:
        raise UnknownName(f'unknown domain "{name}"; {did_you_mean(name, DOMAINS)}')
    return DOMAINS[name]
