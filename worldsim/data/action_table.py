"""A table of actions as text: the rows of a CSV file to checked numbers. Knows no files.

The first row names the columns. These are no actions: `episode` and `video` (whose row it is), `frame` (0, 1, 2, ...), `timestamp` (seconds
that grow) and `instruction` (the same throughout, or empty). Every other cell is a plain decimal number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.errors import InvalidInput

NO_ACTIONS = ("episode", "video", "frame", "timestamp", "instruction")
OFF = 0.1  # share by which time stamps may differ from the rate of the video
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Columns:
    """The header of a table: all columns in order, and which of them are actions."""

    all: tuple[str, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the components of an action."""
        return tuple(name for name in self.all if name not in NO_ACTIONS)


@dataclass(frozen=True)
class ActionTable:
    """The rows of one episode: names of the components, actions float64 `[rows, A]`, instruction, time stamps `[rows]` if it has any."""

    names: tuple[str, ...]
    actions: np.ndarray
    instruction: str
    seconds: np.ndarray | None

    def check_rate(self, hz: float) -> None:
        """Refuse time stamps that contradict `hz` rows per second. Raises InvalidInput."""
        if self.seconds is None or len(self.seconds) < 2:
            return
        found = (len(self.seconds) - 1) / (self.seconds[-1] - self.seconds[0])
        if abs(found / hz - 1) > OFF:
            raise InvalidInput(
                f"time stamps say {found:.3g} rows per second, the video or options='{{rate: HZ}}' {hz:.3g}; correct or drop the column"
            )


def parse_header(cells: Sequence[str]) -> Columns:
    """The first row of a table.

    Raises:
        InvalidInput: a column without a name or with another's, no column of actions, or numbers where names should be.
    """
    names = tuple(cell.strip() for cell in cells)
    if names and all(_NUMBER.fullmatch(name) for name in names):
        raise InvalidInput("the first row holds numbers, expected the names of the columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        raise InvalidInput(f'the first row has a column "{twice or ""}" {"twice" if twice else "without a name"}')
    columns = Columns(names)
    if not columns.actions:
        raise InvalidInput(f"the first row ({', '.join(names)[:60]}) names no component of an action; separate the columns by commas")
    return columns


def parse_rows(columns: Columns, rows: Iterable[tuple[int, Sequence[str]]]) -> ActionTable:
    """The rows of one episode, each with its line number.

    Raises:
        InvalidInput: no rows, a row of another length, or a cell that is not what its column holds.
    """
    kept = list(rows)
    if not kept:
        raise InvalidInput("the table has no rows")
    for line, cells in kept:
        if len(cells) != len(columns.all):
            raise InvalidInput(f"line {line} has {len(cells)} cells, expected {len(columns.all)}")
    actions = [[_number(line, name, cells) for name, cells in _cells(columns, row) if name not in NO_ACTIONS] for line, row in kept]
    _check_frames(columns, kept)
    return ActionTable(columns.actions, np.array(actions, dtype=np.float64), _instruction(columns, kept), _seconds(columns, kept))


def _cells(columns: Columns, row: Sequence[str]) -> Iterable[tuple[str, str]]:
    return zip(columns.all, row, strict=True)


def _column(columns: Columns, kept: Sequence[tuple[int, Sequence[str]]], name: str) -> list[tuple[int, str]] | None:
    """(line, cell) of one column; None where there is no such column."""
    if name not in columns.all:
        return None
    place = columns.all.index(name)
    return [(line, row[place].strip()) for line, row in kept]


def _number(line: int, name: str, cell: str) -> float:
    if not _NUMBER.fullmatch(cell.strip()):
        raise InvalidInput(f'line {line} has "{ascii(cell)[1:-1][:20]}" for {ascii(name)[1:-1][:40]}, expected a number')
    return float(cell)


def _check_frames(columns: Columns, kept: Sequence[tuple[int, Sequence[str]]]) -> None:
    for place, (line, cell) in enumerate(_column(columns, kept, "frame") or ()):
        if _number(line, "frame", cell) != place:
            raise InvalidInput(f"line {line} is frame {cell}, expected {place}; put the rows in order, none missing, from 0")


def _seconds(columns: Columns, kept: Sequence[tuple[int, Sequence[str]]]) -> np.ndarray | None:
    cells = _column(columns, kept, "timestamp")
    if cells is None:
        return None
    seconds = np.array([_number(line, "timestamp", cell) for line, cell in cells])
    if not (np.isfinite(seconds).all() and (np.diff(seconds) > 0).all()):
        raise InvalidInput("time stamps do not grow from row to row")
    return seconds


def _instruction(columns: Columns, kept: Sequence[tuple[int, Sequence[str]]]) -> str:
    said = dict.fromkeys(" ".join(cell.split()) for _, cell in _column(columns, kept, "instruction") or () if cell)
    if len(said) > 1:
        raise InvalidInput(f"it has {len(said)} instructions, expected one per episode")
    return next(iter(said), "")
