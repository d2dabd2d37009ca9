"""Files of one JSON object per line, and the values that metadata is made of. Knows no data set."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldsim.data.lerobot.tables import content_of


def json_lines(root: Path, name: str, notes: list[str]) -> Iterator[tuple[str, dict]]:
    """(where it stands, object) of every line of the file `name` below `root`; a line that holds none is added to `notes`.

    Raises:
        DamagedFile: the file cannot be read.
    """
    for number, line in enumerate(content_of(root, name).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield f"line {number} of {name}", row
        else:
            notes.append(f"line {number} of {name} is not a JSON object")


def natural(found: Any) -> int:
    """A whole number from 0 on. Raises ValueError."""
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**53:
        raise ValueError("expected a whole number from 0 on")
    return found


def text(found: Any) -> str:
    """A text. Raises ValueError."""
    if not isinstance(found, str):
        raise ValueError("expected a text")
    return found


def texts(found: Any) -> tuple[str, ...]:
    """A list of texts, which may be missing. Raises ValueError, or TypeError where it is no list."""
    return tuple(text(each) for each in found or ())
