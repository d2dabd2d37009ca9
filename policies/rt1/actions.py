"""What RT-1's outputs are as an action of a world: as recorded, by component, or as SimplerEnv treats them. Knows nothing of tensorflow.

RT-1 gives, per step: world_vector [3], rotation_delta [3], gripper_closedness_action [1] (+ closes), base_displacement_vector [2],
base_displacement_vertical_rotation [1] and terminate_episode [3], one-hot, whose first place says that the policy is done. Bounds are
those of its policy_specs.pbtxt. rotation_delta is documented as roll, pitch, yaw; only SimplerEnv's google robot reads it otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import pi

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import ActionSpec

SIZES = {
    "world_vector": 3,
    "rotation_delta": 3,
    "gripper_closedness_action": 1,
    "base_displacement_vector": 2,
    "base_displacement_vertical_rotation": 1,
    "terminate_episode": 3,
}
COMPONENTS = {  # name of a number: (output that it is in, its place there, its largest size)
    **{name: ("world_vector", place, 1.0) for place, name in enumerate(("x", "y", "z"))},
    **{name: ("rotation_delta", place, pi / 2) for place, name in enumerate(("roll", "pitch", "yaw"))},
    **{name: ("gripper_closedness_action", 0, 1.0) for name in ("gripper", "gripper_closedness")},
    **{name: ("base_displacement_vector", place, 1.0) for place, name in enumerate(("base_x", "base_y"))},
    "base_yaw": ("base_displacement_vertical_rotation", 0, pi),
    **{name: ("terminate_episode", place, 1.0) for place, name in enumerate(("terminate", "keep_going", "terminate_unused"))},
}
ARM = ("world_vector", "rotation_delta", "gripper_closedness_action")
RAW = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
VID2WORLD = (  # in the order of the authors' converter
    *("base_x", "base_y", "base_yaw", "gripper_closedness", "roll", "pitch", "yaw"),
    *("terminate", "keep_going", "terminate_unused", "x", "y", "z"),
)
GRIPPER_NOISE = 0.01  # SimplerEnv's google robot: a smaller command is none
NO_TURN = 1e-6  # below this angle SimplerEnv takes the axis y
WIDOWX_REACH = {"world_vector": (1.75, 0.05), "rotation_delta": (1.4, 0.25)}  # SimplerEnv: (largest output, what it becomes)

Parts = Mapping[str, np.ndarray]  # outputs by name, each [B, size]


@dataclass(frozen=True)
class Form:
    """One way to make an action of RT-1's outputs.

    Attributes:
        spec: what the action means.
        parts: the outputs that it is made of.
        make: outputs to actions, float `[B, A]`.
        rest: an action `[A]` to the one that moves nothing after it: zeros, but for what is absolute and for "keep going".
    """

    spec: ActionSpec
    parts: tuple[str, ...]
    make: Callable[[Parts], np.ndarray]
    rest: Callable[[np.ndarray], np.ndarray]


def form(name: str | None, world: ActionSpec | None) -> Form:
    """The form called `name`; None gives a world of an arm and a gripper the very components that it names, and raw7 to any other.

    Raises:
        UnknownName: with the closest known form.
    """
    if name is None:
        named = set(world.names) if world is not None else set()
        return raw(world.names if named <= set(COMPONENTS) and {*RAW[:6]} < named else RAW)
    if name not in FORMS:
        raise UnknownName(f'unknown actions "{name}" of RT-1; {did_you_mean(name, FORMS)}')
    return FORMS[name]()


def raw(names: Sequence[str]) -> Form:
    """These components as the network gives them: what fractal20220817_data recorded, and what worlds trained on it take."""
    places = [COMPONENTS[name] for name in names]
    high = [most for _, _, most in places]
    low = [0.0 if part == "terminate_episode" else -most for part, _, most in places]
    still = np.array([float(name == "keep_going") for name in names])

    def make(parts: Parts) -> np.ndarray:
        return np.stack([parts[part][:, place] for part, place, _ in places], axis=1)

    spec = ActionSpec(names, low, high, 3.0, "base", "rpy", "relative")
    return Form(spec, tuple({part for part, _, _ in places}), make, lambda last: still)


def checked_parts(outputs: Parts, parts: tuple[str, ...], lanes: int) -> dict[str, np.ndarray]:
    """The outputs that an action is made of, float64, and terminate_episode.

    Raises:
        InvalidInput: one is missing or has another shape.
    """
    found = {}
    for name in {*parts, "terminate_episode"}:
        shape = list(outputs[name].shape) if name in outputs else "nothing"
        if shape != [lanes, SIZES[name]]:
            raise InvalidInput(
                f"the policy gives {shape} as action/{name}, expected [{lanes}, {SIZES[name]}]; actions: raw7 needs the fewest"
            )
        found[name] = np.asarray(outputs[name], dtype=np.float64)
    return found


def terminates(parts: Parts) -> np.ndarray:
    """Which lanes say that they are done, bool `[B]`."""
    return parts["terminate_episode"][:, 0] > 0


def simpler_google(parts: Parts) -> np.ndarray:
    """SimplerEnv's google robot: tiny gripper commands dropped, and rotation_delta read as an axis times an angle."""
    turn = parts["rotation_delta"]
    angle = np.linalg.norm(turn, axis=1, keepdims=True)
    axis = np.where(angle > NO_TURN, turn / np.maximum(angle, NO_TURN), (0.0, 1.0, 0.0))
    grip = parts["gripper_closedness_action"]
    return np.concatenate([parts["world_vector"], axis * angle, np.where(np.abs(grip) < GRIPPER_NOISE, 0, grip)], axis=1)


def simpler_widowx(parts: Parts) -> np.ndarray:
    """SimplerEnv's WidowX: outputs rescaled and cut, roll, pitch and yaw made an axis-angle, the gripper open where it does not close.

    SimplerEnv's controller is told -1 and 1 for closed and open; here they are 0 and 1, as for every absolute gripper.
    """
    from scipy.spatial.transform import Rotation

    moved, turned = (np.clip(parts[name] * reach / most, -reach, reach) for name, (most, reach) in WIDOWX_REACH.items())
    known = np.isfinite(turned).all(axis=1)
    turned[known] = Rotation.from_euler("xyz", turned[known]).as_rotvec() if known.any() else turned[known]
    grip = parts["gripper_closedness_action"]
    return np.concatenate([moved, turned, np.where(np.isfinite(grip), -grip > 0, np.nan)], axis=1)


def _simpler_google() -> Form:
    return Form(_arm_spec(1.0, pi / 2, "relative", 3.0), ARM, simpler_google, np.zeros_like)


def _simpler_widowx() -> Form:
    (_, reach), (_, turn) = WIDOWX_REACH.values()
    spec = _arm_spec(reach, 3 * turn, "absolute", 5.0)  # three turns one after another make an angle of no more than their sum
    return Form(spec, ARM, simpler_widowx, lambda last: np.append(np.zeros(6), last[6]))


def _arm_spec(reach: float, turn: float, gripper: str, rate_hz: float) -> ActionSpec:
    names = ("x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper")
    high = (*(reach,) * 3, *(turn,) * 3, 1.0)
    low = (*(-each for each in high[:6]), -1.0 if gripper == "relative" else 0.0)
    return ActionSpec(names, low, high, rate_hz, "base", "axis_angle", gripper)


FORMS = {
    "raw7": lambda: raw(RAW),
    "vid2world13": lambda: raw(VID2WORLD),
    "simpler-google": _simpler_google,
    "simpler-widowx": _simpler_widowx,
}
