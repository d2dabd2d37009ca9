"""Is this msgpack, and how much is in it: read from the headers alone, before anything is built from it.

msgpack's unpacker reserves room for as many elements as a list claims to have, at every level; so the claims are added up first
(format: the msgpack specification, "Formats").
"""

from dataclasses import dataclass

from worldsim.policies.remote.arrays import Limits, MalformedMessage

FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, **{0xCC + i: 2**i for i in range(4)}, **{0xD0 + i: 2**i for i in range(4)}}
BLOBS = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # header byte to the bytes of its length
TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
LISTS = {0xDC: 2, 0xDD: 4}
MAPS = {0xDE: 2, 0xDF: 4}


@dataclass(frozen=True)
class Header:
    """What begins at one place: bytes of the header, bytes of content after it, values inside it, and whether it is text."""

    size: int
    content: int = 0
    inside: int = 0
    nested: bool = False
    text: bool = False


def measure(data: bytes, limits: Limits) -> int:
    """The number of values in one msgpack message.

    Raises:
        MalformedMessage: it ends early or late, holds an extension type, or more than the limits allow.
    """
    if len(data) > limits.size:
        raise MalformedMessage(f"a message has {len(data)} bytes, expected at most {limits.size}")
    at, values, pending = 0, 0, [1]  # pending: values still to come at each level
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        header = _header(data, at)
        at, values = at + header.size + header.content, values + 1
        if at > len(data) or header.inside > len(data) - at:
            raise MalformedMessage(f"a message ends in the middle, after {len(data)} bytes")
        if header.text and header.content > limits.text:
            raise MalformedMessage(f"a message holds a text of {header.content} bytes, expected at most {limits.text}")
        if values + sum(pending) + header.inside > limits.values:
            raise MalformedMessage(f"a message holds more than {limits.values} values")
        if header.nested:
            pending.append(header.inside)
            if len(pending) - 1 > limits.depth:
                raise MalformedMessage(f"a message is nested more than {limits.depth} deep")
    if at != len(data):
        raise MalformedMessage(f"a message is followed by {len(data) - at} bytes that belong to nothing")
    return values


def _header(data: bytes, at: int) -> Header:
    if at >= len(data):
        raise MalformedMessage(f"a message ends in the middle, after {len(data)} bytes")
    kind = data[at]
    if kind <= 0x7F or kind >= 0xE0:
        return Header(1)
    if kind <= 0x8F:
        return Header(1, inside=2 * (kind & 0x0F), nested=True)
    if kind <= 0x9F:
        return Header(1, inside=kind & 0x0F, nested=True)
    if kind <= 0xBF:
        return Header(1, content=kind & 0x1F, text=True)
    if kind in FIXED:
        return Header(1, content=FIXED[kind])
    return _sized(data, at, kind)


def _sized(data: bytes, at: int, kind: int) -> Header:
    """A header that is followed by a length."""
    width = next((table[kind] for table in (BLOBS, TEXTS, LISTS, MAPS) if kind in table), None)
    if width is None:
        raise MalformedMessage(f"a message holds type 0x{kind:02x}, expected none of msgpack's extension types")
    length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    if kind in BLOBS or kind in TEXTS:
        return Header(1 + width, content=length, text=kind in TEXTS)
    return Header(1 + width, inside=length * (2 if kind in MAPS else 1), nested=True)
