"""msgpack messages with arrays in them, in the dialects of three wires: openpi, vla-evaluation-harness, GR00T.

Each dialect writes an array as a map of its own: openpi with *bytes* keys (its `msgpack_numpy` module), the harness with text keys and
pictures compressed (its `protocol/numpy_codec.py` and `image_codec.py`), GR00T as a .npy file (its `policy/server_client.py`), or, in
replies of its later versions, as the public package msgpack-numpy does. No dialect ever carries Python objects.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from tokenize import TokenError
from typing import Any

import numpy as np

from worldsim.errors import MissingDependency, install_extra
from worldsim.policies.remote.arrays import LIMITS, Limits, MalformedMessage, array_of, check_sendable, dtype_of, scalar_of
from worldsim.policies.remote.measure import measure

PICTURES = ("PNG", "JPEG")


@dataclass(frozen=True)
class Dialect:
    """How arrays lie in the messages of one wire.

    Attributes:
        name: what it is called.
        encode: an array or numpy scalar to what msgpack can write.
        decode: a map of the message, with its limits, to the array that it stands for, or the map itself.
    """

    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Mapping[Any, Any], Limits], Any]


def pack(value: Any, dialect: Dialect) -> bytes:
    """`value` (maps, lists, text, numbers, arrays) as one message.

    Raises:
        MalformedMessage: an array of a forbidden dtype, or something that the wire has no form for.
        MissingDependency: msgpack is not installed.
    """
    try:
        return _msgpack().packb(value, default=partial(_encoded, dialect))
    except (TypeError, OverflowError) as error:
        raise MalformedMessage(f"a message to a server cannot hold this: {error}") from error


def unpack(data: bytes, dialect: Dialect, limits: Limits = LIMITS) -> Any:
    """What `pack` wrote. Arrays are read-only views of `data`; only a compressed picture takes new memory, at most `limits.elements`.

    Raises:
        MalformedMessage: anything but a message of this dialect within the limits.
        MissingDependency: msgpack is not installed.
    """
    msgpack = _msgpack()
    measure(data, limits)
    try:
        return msgpack.unpackb(data, object_hook=partial(_decoded, dialect, limits), raw=False, strict_map_key=True)
    except MalformedMessage:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:  # text that is no UTF-8, a number as a key
        raise MalformedMessage(f"a message cannot be read ({type(error).__name__}: {str(error)[:80]})") from error


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise MissingDependency(f"policies behind a network need msgpack; type: {install_extra('remote')}") from error
    return msgpack


def _encoded(dialect: Dialect, value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"{type(value).__name__} has no form on the wire")
    check_sendable(value)
    return dialect.encode(value)


def _decoded(dialect: Dialect, limits: Limits, entries: dict[Any, Any]) -> Any:
    try:
        return dialect.decode(entries, limits)
    except KeyError as error:
        raise MalformedMessage(f"an array lacks {error}") from error


def _openpi_encode(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}


def _openpi_decode(entries: Mapping[Any, Any], limits: Limits) -> Any:
    if b"__ndarray__" in entries:
        return array_of(entries[b"data"], entries[b"dtype"], entries[b"shape"], limits)
    if b"__npgeneric__" in entries:
        return scalar_of(entries[b"data"], entries[b"dtype"])
    return entries


def _harness_encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if value.ndim == 3 and value.dtype == np.uint8 and value.shape[2] in (3, 4) and value.size:  # no file holds an empty picture
        from PIL import Image

        png = io.BytesIO()
        Image.fromarray(value).save(png, format="PNG")
        return {"__image__": True, "format": "png", "data": png.getvalue(), "shape": list(value.shape)}
    return {"__ndarray__": True, "data": value.tobytes(), "dtype": value.dtype.str, "shape": list(value.shape)}


def _harness_decode(entries: Mapping[Any, Any], limits: Limits) -> Any:
    if "__image__" in entries and entries["format"] != "raw":
        return _picture(entries["data"], entries["shape"], limits)
    if "__image__" in entries or "__ndarray__" in entries:
        return array_of(entries["data"], entries["dtype"], entries["shape"], limits)
    return entries


def _picture(data: Any, shape: Any, limits: Limits) -> np.ndarray:
    """A PNG or JPEG as uint8 `[H, W]` or `[H, W, C]`; its size is compared with `shape` before it is unfolded."""
    from PIL import Image

    if not isinstance(data, bytes) or not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise MalformedMessage("a picture holds no bytes or has no shape")
    try:
        picture = Image.open(io.BytesIO(data), formats=PICTURES)
        if [*picture.size[::-1]] != shape[:2] or picture.width * picture.height * 4 > limits.elements:
            raise MalformedMessage(f"a picture of {picture.width} x {picture.height} pixels is said to have shape {shape[:4]}")
        array = np.asarray(picture)
    except MalformedMessage:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Warning, Image.DecompressionBombError) as error:
        raise MalformedMessage(f"a picture cannot be read ({type(error).__name__})") from error
    if array.dtype != np.uint8 or [*array.shape] != [*shape]:
        raise MalformedMessage(f"a picture is {array.dtype} {list(array.shape)}, said to be uint8 {shape[:4]}")
    return array


def _gr00t_encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def _gr00t_decode(entries: Mapping[Any, Any], limits: Limits) -> Any:
    if "__ndarray_class__" in entries:
        return _npy(entries["as_npy"], limits)
    for of in (str, str.encode):  # msgpack-numpy's keys are bytes, or text in its old versions
        if of("nd") in entries and entries[of("nd")] is True:
            return array_of(entries[of("data")], entries[of("type")], entries[of("shape")], limits)
        if of("nd") in entries:
            return array_of(entries[of("data")], entries[of("type")], [1], limits)[0]
    return entries


def _npy(data: Any, limits: Limits) -> np.ndarray:
    """The array of a .npy file (numpy's format versions 1 and 2) as a view of its bytes."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if not isinstance(data, bytes):
        raise MalformedMessage(f"a .npy file is {type(data).__name__}, expected bytes")
    file = io.BytesIO(data)
    try:
        shape, columns_first, dtype = readers[np.lib.format.read_magic(file)](file, max_header_size=2000)
    except (ValueError, KeyError, TypeError, SyntaxError, TokenError, EOFError, MemoryError, RecursionError, Warning) as error:
        raise MalformedMessage(f"a .npy file cannot be read ({type(error).__name__})") from error
    name = dtype_of(dtype.str).str
    if columns_first:
        return array_of(memoryview(data)[file.tell() :], name, shape[::-1], limits).T
    return array_of(memoryview(data)[file.tell() :], name, shape, limits)


OPENPI = Dialect("openpi", _openpi_encode, _openpi_decode)
HARNESS = Dialect("vla-eval", _harness_encode, _harness_decode)
GR00T = Dialect("gr00t", _gr00t_encode, _gr00t_decode)
