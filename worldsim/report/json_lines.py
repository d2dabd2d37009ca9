"""JSON lines files that only grow and survive an interrupted write. Knows nothing of what a line says."""

import json
import os
from pathlib import Path
from typing import Any

from worldsim.errors import DamagedFile


def append_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    """Add JSON lines and flush them to disk, after cutting off a line that an interrupted write left without its end."""
    file.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    with open(file, "ab+") as stream:
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(file: Path) -> list[dict[str, Any]]:
    """All whole lines of a JSON lines file, none where there is no file; a last line without its end does not count.

    Raises:
        DamagedFile: a line that is not JSON.
    """
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise DamagedFile(f"{file} has a line that is not JSON ({error}); delete that line and judge again") from error
