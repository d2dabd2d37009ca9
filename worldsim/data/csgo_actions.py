"""The 51 numbers of a CS:GO action, as Pearce and Zhu's recordings and DIAMOND and Vid2World's models have them. Knows no files.

11 keys and 2 mouse buttons, each 0 or 1; then how far the mouse moved, sideways and up or down, each as one 1 among the steps that it may
take (23 and 15 of them, in pixels of the recording). The order of the first keys is w, a, s, d: a comment in the recorders' code says
w, s, a, d, and their code does otherwise (real2sim specification, C4).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

KEYS = ("w", "a", "s", "d", "space", "ctrl", "shift", "1", "2", "3", "r")
CLICKS = ("left", "right")
_RIGHTWARDS = (2, 4, 10, 20, 30, 60, 100, 200, 300, 500, 1000)
_DOWNWARDS = (2, 4, 10, 20, 50, 100, 200)
MOUSE_X = (*(-step for step in reversed(_RIGHTWARDS)), 0, *_RIGHTWARDS)
MOUSE_Y = (*(-step for step in reversed(_DOWNWARDS)), 0, *_DOWNWARDS)
NAMES = (
    *(f"key_{key}" for key in KEYS),
    *(f"click_{click}" for click in CLICKS),
    *(f"mouse_x_{step}" for step in MOUSE_X),
    *(f"mouse_y_{step}" for step in MOUSE_Y),
)
_X = slice(len(KEYS) + len(CLICKS), len(KEYS) + len(CLICKS) + len(MOUSE_X))
_Y = slice(_X.stop, len(NAMES))


@dataclass(frozen=True)
class Press:
    """What a player does in one frame: keys and buttons held, and the mouse's way in pixels, right and down positive."""

    keys: tuple[str, ...] = ()
    clicks: tuple[str, ...] = ()
    mouse_x: float = 0
    mouse_y: float = 0


def encode(press: Press) -> np.ndarray:
    """float32 `[51]`; a way of the mouse is clipped to the longest step, then snapped to the nearest one (the smaller number on a tie).

    Raises:
        UnknownName: a key or button that is not among them.
        InvalidInput: a way that is not a number.
    """
    vector = np.zeros(len(NAMES), dtype=np.float32)
    vector[_places("key", press.keys, KEYS)] = 1
    vector[[len(KEYS) + place for place in _places("button", press.clicks, CLICKS)]] = 1
    vector[_X.start + _nearest(press.mouse_x, MOUSE_X)] = 1
    vector[_Y.start + _nearest(press.mouse_y, MOUSE_Y)] = 1
    return vector


def decode(vector: np.ndarray) -> Press:
    """The inverse of `encode` for an action `[51]` of zeros and ones.

    Raises:
        InvalidInput: it is no such action.
    """
    row = check_actions(np.asarray(vector)[None])[0].astype(bool)
    return Press(
        keys=tuple(key for key, held in zip(KEYS, row[: len(KEYS)], strict=True) if held),
        clicks=tuple(click for click, held in zip(CLICKS, row[len(KEYS) : _X.start], strict=True) if held),
        mouse_x=float(mouse_ways(row[None])[0, 0]),
        mouse_y=float(mouse_ways(row[None])[0, 1]),
    )


def mouse_ways(actions: np.ndarray) -> np.ndarray:
    """How far the mouse moved in each frame, in pixels: actions `[T, 51]` to float32 `[T, 2]`, right and down positive."""
    x, y = np.argmax(actions[:, _X], axis=1), np.argmax(actions[:, _Y], axis=1)
    return np.stack([np.float32(MOUSE_X)[x], np.float32(MOUSE_Y)[y]], axis=1)


def check_actions(actions: np.ndarray) -> np.ndarray:
    """Actions `[T, 51]` as float32, refused where a number is neither 0 nor 1 or the mouse does not make one step each way.

    Raises:
        InvalidInput: with the first frame that is wrong.
    """
    if actions.ndim != 2 or actions.shape[1] != len(NAMES) or actions.dtype.kind not in "fiub":
        raise InvalidInput(f"actions are {actions.dtype} {list(actions.shape)}, expected numbers [frames, {len(NAMES)}]")
    held = actions == 1
    binary = (held | (actions == 0)).all(axis=1)
    single = (held[:, _X].sum(axis=1) == 1) & (held[:, _Y].sum(axis=1) == 1)
    if not (binary & single).all():
        first = int(np.argmin(binary & single))
        what = "a number that is neither 0 nor 1" if not binary[first] else "not one step of the mouse each way"
        raise InvalidInput(f"the action of frame {first} has {what}")
    return held.astype(np.float32)


def _nearest(way: float, steps: tuple[int, ...]) -> int:
    if not np.isfinite(way):
        raise InvalidInput(f"the mouse moved by {way}, expected a number of pixels")
    return min(range(len(steps)), key=lambda place: abs(steps[place] - way))  # clipping is what the nearest of the ends does


def _places(kind: str, given: Iterable[str], known: tuple[str, ...]) -> list[int]:
    for name in given:
        if name not in known:
            raise UnknownName(f'unknown {kind} "{name}"; {did_you_mean(name, known)}')
    return [known.index(name) for name in given]
