"""What the actions of well-known robots and data sets mean, by name. Each entry says where its facts come from.

Bounds are those of the raw numbers. A checkpoint trained on a data set gives that data set's actions; a fine-tuned one may not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import pi
from typing import Any

from worldsim.actions import ActionSpec
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

POSE = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
TURNS = ("x", "y", "z", "rx", "ry", "rz", "gripper")
JOINTS = tuple(f"joint_{i}" for i in range(1, 8))


@dataclass(frozen=True)
class Convention:
    """An action's meaning and the source of each fact."""

    action: ActionSpec
    source: str


CONVENTIONS = {
    "bridge": Convention(
        ActionSpec(POSE, (-0.05,) * 3 + (-0.25,) * 3 + (0.0,), (0.05,) * 3 + (0.25,) * 3 + (1.0,), 5.0, "base", "rpy", "absolute"),
        "BridgeData V2: metres and radians per step, 1 is open, 5 Hz; bounds of the WidowX controller as SIMPLER maps RT-1-X to them",
    ),
    "fractal": Convention(
        ActionSpec(POSE, (-1.0,) * 3 + (-pi / 2,) * 3 + (-1.0,), (1.0,) * 3 + (pi / 2,) * 3 + (1.0,), 3.0, "base", "rpy", "relative"),
        "fractal20220817_data and RT-1's policy_specs.pbtxt: + closes; rotation_delta is roll, pitch, yaw in the base's frame",
    ),
    "fractal_absolute": Convention(
        ActionSpec(POSE, (-1.0,) * 3 + (-pi / 2,) * 3 + (0.0,), (1.0,) * 3 + (pi / 2,) * 3 + (1.0,), 3.0, "base", "rpy", "absolute"),
        "OpenVLA's rt1_dataset_transform (Octo's alike): arm as in fractal, gripper made absolute with 1 open",
    ),
    "droid": Convention(
        ActionSpec((*JOINTS, "gripper"), (-1.0,) * 7 + (0.0,), (1.0,) * 8, 15.0, "base", "none", "absolute_closed"),
        "openpi's examples/droid: joint velocities in [-1, 1], gripper position, 15 Hz; OpenVLA's transforms flip it, so 1 is closed",
    ),
    "droid_cartesian": Convention(
        ActionSpec(POSE, (-1.0,) * 6 + (0.0,), (1.0,) * 7, 15.0, "base", "rpy", "absolute"),
        "OpenVLA's droid_baseact_transform: cartesian_velocity in the base's frame and 1 - gripper_position, so 1 is open",
    ),
    "libero": Convention(
        ActionSpec(TURNS, (-1.0,) * 7, (1.0,) * 7, 20.0, "base", "axis_angle", "relative"),
        "robosuite's OSC_POSE: six scaled changes and a gripper that + closes step by step, 20 Hz; openpi's and OpenVLA's LIBERO examples",
    ),
}


def action_convention(given: str | Mapping[str, Any] | ActionSpec) -> ActionSpec:
    """What actions mean: a name of `CONVENTIONS`, the fields of an ActionSpec, or `{name: NAME, ...}` with fields that replace its own.

    Raises:
        UnknownName: no such name or field.
        InvalidInput: a field is missing or wrong.
    """
    if isinstance(given, ActionSpec):
        return given
    options = {"name": given} if isinstance(given, str) else {str(key): value for key, value in given.items()}
    name, known = options.pop("name", None), [field.name for field in fields(ActionSpec)]
    for key in options:
        if key not in known:
            raise UnknownName(f'an action convention has no field "{key}"; {did_you_mean(key, known)}')
    try:
        return ActionSpec(**options) if name is None else replace(_named(name), **options)
    except TypeError as error:
        raise InvalidInput(f"an action convention needs names, low, high and rate_hz ({error}); or type convention=NAME") from error


def _named(name: str) -> ActionSpec:
    if name not in CONVENTIONS:
        raise UnknownName(f'unknown action convention "{name}"; {did_you_mean(str(name), CONVENTIONS)}')
    return CONVENTIONS[name].action
