"""JSON with arrays in it, as the public package json-numpy writes them: {"__numpy__": base64 of the bytes, "dtype": ..., "shape": ...}.

OpenVLA's and AutoEval's servers speak it. A shape of [] is a single number.
"""

import base64
import binascii
import json
from typing import Any

import numpy as np

from worldsim.policies.remote.arrays import LIMITS, Limits, MalformedMessage, array_of, check_sendable


def dumps(value: Any) -> bytes:
    """`value` as JSON in UTF-8.

    Raises:
        MalformedMessage: an array of a forbidden dtype, or something that JSON has no form for.
    """
    try:
        return json.dumps(value, default=_encoded, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise MalformedMessage(f"a message to a server cannot hold this: {error}") from error


def loads(data: bytes, limits: Limits = LIMITS) -> Any:
    """What `dumps` wrote.

    Raises:
        MalformedMessage: no JSON, too much of it, or an array that does not fit its bytes.
    """
    if len(data) > limits.size:
        raise MalformedMessage(f"a message has {len(data)} bytes, expected at most {limits.size}")
    if data.count(b"[") + data.count(b"{") + data.count(b",") > limits.values:
        raise MalformedMessage(f"a message holds more than {limits.values} values")
    try:
        return json.loads(data, object_hook=lambda entries: _decoded(entries, limits))
    except MalformedMessage:
        raise
    except (ValueError, RecursionError) as error:  # also bytes that are no text, and numbers of thousands of digits
        raise MalformedMessage(f"a message is no JSON ({' '.join(str(error).split())[:80]})") from error


def _encoded(value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"{type(value).__name__} has no form on the wire")
    check_sendable(value)
    return {"__numpy__": base64.b64encode(value.tobytes()).decode(), "dtype": value.dtype.str, "shape": list(value.shape)}


def _decoded(entries: dict[str, Any], limits: Limits) -> Any:
    if "__numpy__" not in entries:
        return entries
    try:
        data = base64.b64decode(entries["__numpy__"], validate=True)
        array = array_of(data, entries["dtype"], entries["shape"], limits)
    except (KeyError, TypeError, binascii.Error) as error:
        raise MalformedMessage(f"an array cannot be read ({type(error).__name__}: {str(error)[:60]})") from error
    return array[()] if not array.ndim else array
