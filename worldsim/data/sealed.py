"""JSON, and lines of JSON, that carry the hash of their own content, so that no damaged number is read. Knows nothing of what they say.

A hash stands under the last key, "sha256". What an older version wrote has none and is read as it is.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldsim.data.files import write_json
from worldsim.errors import DamagedFile

KEY = "sha256"
SHORT = 16  # hex digits of a line's hash
SEALED_LINE = re.compile(rb'(\{.*), "' + KEY.encode() + rb'": "([0-9a-f]{%d})"\}' % SHORT, re.DOTALL)


def write_sealed(path: str | os.PathLike, value: Mapping[str, Any]) -> None:
    """Write a mapping as JSON with its hash, whole or not at all.

    Raises:
        ValueError: a value that is not JSON, NaN among them.
    """
    write_json(path, {**value, KEY: _digest(json.loads(json.dumps(value, allow_nan=False)))})


def read_sealed(path: str | os.PathLike, again: str) -> dict[str, Any]:
    """The mapping that a JSON file holds, without its hash.

    Args:
        path: the file.
        again: what to type where it is damaged.

    Raises:
        DamagedFile: it is missing, no JSON mapping, or not what its hash promises.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror or error}); {again}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is not JSON ({error}); {again}") from error
    if not isinstance(value, dict):
        raise DamagedFile(f"{path} is not a JSON mapping; {again}")
    promised = value.pop(KEY, None)
    if promised is not None and promised != _digest(value):
        raise DamagedFile(f"{path} does not match its checksum; {again}")
    return value


def sealed_line(row: Mapping[str, Any], salt: str) -> bytes:
    """A mapping as one line of JSON with its hash, which also depends on `salt`: in another file it does not hold. Ends with a newline."""
    text = json.dumps(row, allow_nan=False).encode()
    return b'%s, "%s": "%s"}\n' % (text[:-1], KEY.encode(), _line_hash(text, salt).encode())


def is_sealed(line: bytes, salt: str) -> bool:
    """Whether a line without its newline has a hash, and it holds."""
    found = SEALED_LINE.fullmatch(line)
    return found is not None and _line_hash(found[1] + b"}", salt) == found[2].decode()


def opened_line(line: bytes, salt: str) -> tuple[Any, bool] | None:
    """What a line without its newline says, and whether a hash proves it; None where it has a hash that does not hold, or is not JSON."""
    found = SEALED_LINE.fullmatch(line)
    if found and not is_sealed(line, salt):
        return None
    try:
        return json.loads(found[1] + b"}" if found else line), found is not None
    except (ValueError, RecursionError):
        return None


def _line_hash(text: bytes, salt: str) -> str:
    return hashlib.sha256(salt.encode() + b"\n" + text).hexdigest()[:SHORT]


def _digest(value: Any) -> str:
    """The hash of what a JSON text says, however it is laid out."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
