"""What a server is shown: pictures, constants and the instruction under the keys that its robot has. Knows no wire.

An imagined world shows one picture and knows no joint angles. A server that wants more gets constants, and only those that the user
has given: `state={KEY: [numbers]}` and `images={KEY: black}` or `frame`, the same picture again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

VIEWS = ("frame", "black")


@dataclass(frozen=True)
class Robot:
    """The keys that servers for one robot read. A key with a dot is a map inside a map.

    Attributes:
        image: key of the picture that the world shows.
        text: key of the instruction.
        others: keys of further pictures, which the world does not have.
        state: key to the number of constants, or 0 for any number.
        size: (height, width) of pictures, or None as they are.
        planar: pictures as `[3, H, W]`.
    """

    image: str
    text: str
    others: tuple[str, ...] = ()
    state: Mapping[str, int] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    planar: bool = False


@dataclass(frozen=True)
class Keys:
    """How to make a message of a picture and an instruction.

    Attributes:
        images: key to "frame" or "black".
        state: key to its constants, float32.
        text: key of the instruction.
        size: (height, width) of pictures, or None as they are.
        planar: pictures as `[3, H, W]`.
        axes: axes of length 1 in front of every array, and lists around the text.
    """

    images: Mapping[str, str]
    state: Mapping[str, np.ndarray]
    text: str
    size: tuple[int, int] | None = None
    planar: bool = False
    axes: int = 0

    def message(self, frame: np.ndarray, instruction: str) -> dict[str, Any]:
        """The observation: `frame` uint8 `[H, W, 3]` and the rest, as a map of maps."""
        message: dict[str, Any] = {}
        shown = fitted(frame, self.size) if self.size else np.ascontiguousarray(frame)
        shown = np.ascontiguousarray(shown.transpose(2, 0, 1)) if self.planar else shown
        for key, view in self.images.items():
            put(message, key, self._framed(shown if view == "frame" else np.zeros_like(shown)))
        for key, values in self.state.items():
            put(message, key, self._framed(values))
        text: Any = instruction
        for _ in range(self.axes):
            text = [text]
        put(message, self.text, text)
        return message

    def _framed(self, array: np.ndarray) -> np.ndarray:
        return array[(None,) * self.axes] if self.axes else array


def keys_of(robot: Robot, images: Mapping[str, str], state: Mapping[str, Any], size: Any = None, axes: int = 0) -> Keys:
    """The keys of a robot, with what the user has given for what an imagined world lacks.

    Args:
        robot: what its servers read.
        images: key to "frame" or "black"; names of the robot's own and any others.
        state: key to a list of numbers.
        size: side of the pictures in pixels, or [height, width]; None takes the robot's.
        axes: as in `Keys`.

    Raises:
        InvalidInput: a key that was not given, or constants that are none; the line says what to type.
        UnknownName: a picture that is neither "frame" nor "black".
    """
    views = {robot.image: "frame"} | {str(key): str(view) for key, view in images.items()} if robot.image else dict(images)
    for key in robot.others:
        if key not in views:
            raise InvalidInput(
                f"the server wants a picture {key}, which an imagined world does not have; type images={{{key}: black}} or {{{key}: frame}}"
            )
    for key, view in views.items():
        if view not in VIEWS:
            raise UnknownName(f'picture {key} is "{view}"; {did_you_mean(view, VIEWS)}')
    for key, count in robot.state.items():
        if key not in state:
            numbers = ", ".join(["0.0"] * min(count, 3)) + (", ..." if count > 3 else "") if count else "numbers"
            raise InvalidInput(
                f"the server wants {key}{f' ({count} numbers)' if count else ''}, and an imagined world knows no such state; "
                f"give a constant: state={{{key}: [{numbers}]}}"
            )
    constants = {str(key): _constants(str(key), values, robot.state.get(key, 0)) for key, values in state.items()}
    return Keys(views, constants, robot.text, _size(size) or robot.size, robot.planar, axes)


def put(message: dict[str, Any], key: str, value: Any) -> None:
    """Store `value` under a dotted key, making the maps on the way."""
    *way, last = key.split(".")
    for name in way:
        message = message.setdefault(name, {})
    message[last] = value


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 `[H, W, 3]` scaled to fit into `size` with its sides in proportion (bilinear), black around it, centred."""
    from PIL import Image

    height, width = size
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    shrink = max(image.shape[0] / height, image.shape[1] / width)
    inner = max(1, int(image.shape[0] / shrink)), max(1, int(image.shape[1] / shrink))
    scaled = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(inner[::-1], Image.Resampling.BILINEAR))
    framed = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    framed[top : top + inner[0], left : left + inner[1]] = scaled
    return framed


def _constants(key: str, values: Any, count: int) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"state {key} is {str(values)[:60]}, expected a list of numbers") from error
    if array.ndim != 1 or not array.size or not np.isfinite(array).all() or (count and array.size != count):
        raise InvalidInput(f"state {key} is {str(values)[:60]}, expected a list of {count or 'finite'} numbers")
    return array


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, list | tuple) else ()
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= 4096 for side in sides):
        raise InvalidInput(f"size is {size}, expected the side of pictures in pixels or [height, width]")
    return sides
