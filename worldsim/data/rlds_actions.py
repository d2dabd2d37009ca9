"""What actions mean in the RLDS data sets that we know, as a table by data set and feature names. Knows no files.

Sources: the feature lists of the TFDS catalogue and of the DROID documentation; for signs and frames the transforms that OpenVLA
and Octo train with. RLDS states no rate. Rate, frame, rotation and gripper are those that `worldsim.data.conventions` gives by name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.data.conventions import CONVENTIONS as POLICIES
from worldsim.data.conventions import POSE
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

RECORDED = "recorded"
ASSUMED_HZ = 5.0
FIRST_PARTS = ("world_vector", "rotation_delta", "open_gripper", "gripper_closedness_action")  # of an action that nobody has described
XYZ, RPY = POSE[:3], POSE[3:6]


@dataclass(frozen=True)
class Convention:
    """What the actions of one data set mean, and which numbers of a step they are made of.

    Attributes:
        dataset: what the data set's name begins with.
        parts: (feature below the step, names of its components) in the order of the action.
        rate_hz, frame, rotation, gripper: as in `ActionSpec`.
        filler: a first action that is zero throughout was put there by the recording software; it goes together with its frame.
        kind: what these actions are asked for by; several conventions of one data set differ in it.
    """

    dataset: str
    parts: tuple[tuple[str, tuple[str, ...]], ...]
    rate_hz: float
    frame: str
    rotation: str
    gripper: str
    filler: bool = False
    kind: str = RECORDED


def _as_in(name: str) -> dict[str, Any]:
    """Rate, frame, rotation and gripper of the policies' convention of that name."""
    action = POLICIES[name].action
    return {"rate_hz": action.rate_hz, "frame": action.frame, "rotation": action.rotation, "gripper": action.gripper}


CONVENTIONS = (
    Convention("bridge", (("action", POSE),), **_as_in("bridge"), filler=True),
    Convention(  # the copy in Open X-Embodiment
        "bridge",
        (("action/world_vector", XYZ), ("action/rotation_delta", RPY), ("action/open_gripper", POSE[6:])),
        **_as_in("bridge"),
        filler=True,
    ),
    Convention(
        "fractal20220817_data",
        (
            *(("action/world_vector", XYZ), ("action/rotation_delta", RPY), ("action/gripper_closedness_action", ("gripper_closedness",))),
            *(("action/base_displacement_vector", ("base_x", "base_y")), ("action/base_displacement_vertical_rotation", ("base_yaw",))),
        ),
        **_as_in("fractal"),
    ),
    Convention(  # the 13 numbers that Vid2World's RT-1 checkpoints take
        "fractal20220817_data",
        (
            *(("action/base_displacement_vector", ("base_x", "base_y")), ("action/base_displacement_vertical_rotation", ("base_yaw",))),
            *(("action/gripper_closedness_action", ("gripper_closedness",)), ("action/rotation_delta", RPY)),
            ("action/terminate_episode", ("terminate", "keep_going", "terminate_unused")),
            ("action/world_vector", XYZ),
        ),
        **_as_in("fractal"),
        kind="vid2world",
    ),
    Convention(  # commanded velocities, shares of the most per step: 0.075 m and 0.15 rad; the gripper's commanded position
        "droid",
        (("action_dict/cartesian_velocity", (*XYZ, *RPY)), ("action_dict/gripper_position", ("gripper_closed",))),
        **(_as_in("droid_cartesian") | {"gripper": POLICIES["droid"].action.gripper}),  # OpenVLA turns the gripper round, the files do not
    ),
)


def convention_of(dataset: str, step: Mapping[str, Any], kind: str = RECORDED) -> Convention | None:
    """The convention of a data set whose steps have the features of `step`; None where none is known and `kind` asks for none.

    Args:
        dataset: the data set's name.
        step: a step, or its description: nested mappings whose leaves have a `shape`.
        kind: "recorded", or another kind of action that the data set can give.

    Raises:
        UnknownName: this data set gives no actions of that kind.
    """
    fitting = [each for each in CONVENTIONS if dataset.startswith(each.dataset) and _fits(each, step)]
    found = next((each for each in fitting if each.kind == kind), None)
    if found is None and kind != RECORDED:
        known = {RECORDED, *(each.kind for each in fitting)}
        raise UnknownName(f'{dataset} gives no actions="{kind}"; {did_you_mean(kind, known)}')
    return found


def _fits(convention: Convention, step: Mapping[str, Any]) -> bool:
    """Whether a step has all the features of a convention, each with as many numbers as it has names for."""
    return all(_size(feature_at(step, path)) == len(names) for path, names in convention.parts)


def _size(feature: Any) -> int | None:
    """How many numbers a feature has, described or given; None for none and for a dictionary of several."""
    return None if feature is None or hasattr(feature, "keys") else int(np.prod(getattr(feature, "shape", ()), dtype=int))


def feature_at(step: Any, path: str) -> Any:
    """What stands at "a/b/c" in nested mappings; None where there is nothing."""
    for name in path.split("/"):
        if not hasattr(step, "keys") or name not in step:
            return None
        step = step[name]
    return step


def known_action(step: Mapping[str, Any], convention: Convention) -> np.ndarray:
    """The action of a step by a convention, float32 `[A]`."""
    found = [np.asarray(feature_at(step, path)).ravel() for path, _ in convention.parts]
    return _float32(np.concatenate(found))


def _float32(values: np.ndarray) -> np.ndarray:
    """Numbers as float32; what is too large becomes infinite and is refused later."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def unknown_action(step: Mapping[str, Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """All the numbers of a step's action float32 `[A]`, and their names: those of the features, parts of a dictionary in a fixed order.

    Termination flags move nothing and are left out.

    Raises:
        InvalidInput: nothing is left.
    """
    parts = dict(_leaves(step["action"]))
    names = tuple(f"{name}_{i}" if part.size > 1 else name for name, part in parts.items() for i in range(part.size))
    if not names:
        raise InvalidInput("a step's action has no numbers")
    return _float32(np.concatenate([part.ravel() for part in parts.values()])), names


def _leaves(action: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(action, Mapping):
        yield prefix or "action", np.asarray(action)
        return
    rank = {name: place for place, name in enumerate(FIRST_PARTS)}
    for name in sorted(action, key=lambda name: (rank.get(name, len(rank)), name)):
        if not name.startswith("terminate"):
            yield from _leaves(action[name], f"{prefix}.{name}" if prefix else name)


def meaning_of(convention: Convention | None, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of an ActionSpec but its bounds; placeholders where nothing is known."""
    if convention is None:
        return {"names": list(names), "rate_hz": ASSUMED_HZ, "frame": "base", "rotation": "none", "gripper": "none"}
    fields = {"rate_hz": convention.rate_hz, "frame": convention.frame, "rotation": convention.rotation, "gripper": convention.gripper}
    return {"names": [name for _, part in convention.parts for name in part]} | fields
