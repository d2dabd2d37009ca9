"""JSON lines files that only grow, survive an interrupted write and know their damaged lines. Knows nothing of what a line says.

Each line carries a hash of itself and of the file's name. Lines of older versions have none; they must at least be of the expected form.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from worldsim.data.files import written_whole
from worldsim.data.sealed import is_sealed, opened_line, sealed_line
from worldsim.errors import DamagedFile

Form = Callable[[Any], bool]  # whether what a line says is of the form that the file is for


class Lines(NamedTuple):
    """What the sound lines of a file say, and the damaged ones by their number from 1."""

    rows: list[dict[str, Any]]
    damaged: dict[int, bytes]


def append_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add lines and flush them to disk, after cutting off a line that an interrupted write left without its end."""
    file.parent.mkdir(exist_ok=True)
    text = b"".join(sealed_line(row, file.stem) for row in rows)
    with open(file, "ab+") as stream:
        stream.seek(0)
        held = stream.read()
        whole = held.rfind(b"\n") + 1
        if is_sealed(held[whole:], file.stem):  # only its newline is missing
            text = b"\n" + text
        else:
            stream.truncate(whole)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(file: Path, form: Form) -> Lines:
    """All whole lines, none where there is no file; a last line without its end does not count.

    Raises:
        DamagedFile: there is something else than a file, or it cannot be read.
    """
    try:
        *lines, tail = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Lines([], {})
    except OSError as error:
        raise DamagedFile(f"{file} cannot be read ({error.strerror or error}); move it away and type the same command again") from error
    found = Lines([], {})
    for number, line in enumerate([*lines, *([tail] if is_sealed(tail, file.stem) else [])], start=1):
        opened = opened_line(line, file.stem)
        if opened and (opened[1] or form(opened[0])):
            found.rows.append(opened[0])
        else:
            found.damaged[number] = line
    return found


def read_rows(file: Path, form: Form, again: str) -> list[dict[str, Any]]:
    """What all whole lines say.

    Raises:
        DamagedFile: a damaged line; the text ends with `again`, what to type.
    """
    rows, damaged = read_lines(file, form)
    if damaged:
        raise DamagedFile(f"{file} is damaged in line {', '.join(map(str, damaged))}; {again}")
    return rows


def put_aside_damaged(file: Path, aside: Path, form: Form) -> int:
    """Move the damaged lines of `file` to the end of `aside`; how many there were. Killed in between, it leaves them in both."""
    damaged = read_lines(file, form).damaged
    if damaged:
        aside.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "ab") as stream:
            stream.writelines(line + b"\n" for line in damaged.values())
            stream.flush()
            os.fsync(stream.fileno())
        lines = file.read_bytes().split(b"\n")
        with written_whole(file) as whole:
            whole.write_bytes(b"\n".join(line for number, line in enumerate(lines, start=1) if number not in damaged))
    return len(damaged)
