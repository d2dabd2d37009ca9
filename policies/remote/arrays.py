"""Arrays as bytes with a dtype and a shape, as all wires send them. Knows no wire.

An array is a view of the bytes that it came in, so that decoding allocates nothing; what does not fit its bytes is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import WorldsimError

DTYPES = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")  # bool, integers, floats; no objects, text, records or complex numbers
MOST_AXES = 8


class MalformedMessage(WorldsimError, ValueError):
    """Bytes that are no message of the wire, or one beyond the limits. Nothing of it may be used."""


@dataclass(frozen=True)
class Limits:
    """How much one message may hold.

    Attributes:
        size: bytes of the message.
        elements: numbers in one array, which also bounds what a compressed picture may unfold to.
        values: values of all kinds, an array counting as a few.
        depth: maps and lists inside one another.
        text: bytes of one text or name.
    """

    size: int = 64 * 2**20
    elements: int = 32 * 2**20
    values: int = 100_000
    depth: int = 16
    text: int = 2**16


LIMITS = Limits()


def dtype_of(name: Any) -> np.dtype:
    """The dtype that `name` stands for, as numpy's `dtype.str` writes it.

    Raises:
        MalformedMessage: another kind of dtype than bool, integer or float of at most 8 bytes.
    """
    text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
    if not isinstance(text, str) or not DTYPES.fullmatch(text):
        raise MalformedMessage(f"an array has dtype {str(name)[:40]!r}, expected bool, integer or float as in '<f4'")
    return np.dtype(text)


def array_of(data: Any, dtype: Any, shape: Any, limits: Limits = LIMITS) -> np.ndarray:
    """The read-only array of `shape` that `data` holds.

    Raises:
        MalformedMessage: a forbidden dtype, a shape that is none, or bytes that do not match both.
    """
    kind = dtype_of(dtype)
    if not isinstance(shape, Sequence) or isinstance(shape, str | bytes) or len(shape) > MOST_AXES:
        raise MalformedMessage(f"an array has shape {str(shape)[:40]}, expected a list of at most {MOST_AXES} sizes")
    if any(type(size) is not int or size < 0 for size in shape):
        raise MalformedMessage(f"an array has shape {str(list(shape))[:80]}, expected sizes of 0 or more")
    count = 1
    for size in shape:
        count *= size
    if not isinstance(data, bytes | bytearray | memoryview):
        raise MalformedMessage(f"an array holds {type(data).__name__}, expected bytes")
    if count > limits.elements:
        raise MalformedMessage(f"an array has shape {list(shape)}, expected at most {limits.elements} numbers")
    if count * kind.itemsize != len(data):
        raise MalformedMessage(f"an array {kind.str} {list(shape)} has {len(data)} bytes, expected {count * kind.itemsize}")
    array = np.frombuffer(data, dtype=kind).reshape(tuple(shape))
    array.flags.writeable = False
    return array


def scalar_of(value: Any, dtype: Any) -> np.generic:
    """One number of a dtype.

    Raises:
        MalformedMessage: a forbidden dtype, no number, or one that the dtype cannot hold.
    """
    kind = dtype_of(dtype)
    if not isinstance(value, bool | int | float):
        raise MalformedMessage(f"a number of dtype {kind.str} is {type(value).__name__}, expected a number")
    try:
        with np.errstate(all="ignore"):
            return kind.type(value)
    except (OverflowError, ValueError, TypeError) as error:
        raise MalformedMessage(f"{str(value)[:40]} is no number of dtype {kind.str}") from error


def check_sendable(array: Any) -> None:
    """Refuse arrays that no reader of this wire would take.

    Raises:
        MalformedMessage: a forbidden dtype.
    """
    dtype_of(array.dtype.str)
