"""What happened on the robot, from a CSV file: one row per trial, or one row per policy. Any order of columns; no guess at a cell.

policy,success[,start]          success is 0, 1, true, false, yes or no
policy,episodes,successes
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

COUNTS, TRIALS = ("policy", "episodes", "successes"), ("policy", "success")
OPTIONAL = ("start", "task")
WORDS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}


@dataclass(frozen=True)
class RealResults:
    """Counts of real trials by policy, in the order of the file.

    Attributes:
        counts: (successes, trials) by policy.
        starts: outcomes 0/1 by policy and start, in order; empty where the file names no starts.
        task: what the file says the task is, else empty.
        unused: columns that were not read.
    """

    counts: Mapping[str, tuple[int, int]]
    starts: Mapping[str, Mapping[str, tuple[int, ...]]]
    task: str
    unused: tuple[str, ...]


def read_real_results(path: str | Path) -> RealResults:
    """The real results of a CSV file. Commas, semicolons or tabs; capitals and spaces around a column's name do not matter.

    Raises:
        UnknownName: no such file.
        InvalidInput: not such a file; the line names the row (the header is row 1) and the column.
    """
    path = Path(path)
    if not path.is_file():
        raise UnknownName(
            f"there is no file {path} of real results; write one with the columns {' or '.join(map(','.join, (TRIALS, COUNTS)))}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as CSV in UTF-8") from error
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True))
    except csv.Error as error:
        raise InvalidInput(f"{path} is not CSV ({error}); save it as comma-separated values") from error
    if not lines:
        raise InvalidInput(f"{path} is empty; give it the columns {' or '.join(map(','.join, (TRIALS, COUNTS)))}")
    columns = _columns(path, lines[0])
    rows = list(_rows(path, columns, lines[1:]))
    if not rows:
        raise InvalidInput(f"{path} has a header and no rows; give it one row per trial or per policy")
    counts, starts = _counted(path, rows) if "episodes" in columns else _tallied(path, rows)
    unused = tuple(column for column in columns if column not in (*COUNTS, *TRIALS, *OPTIONAL))
    return RealResults(counts, starts, _task(path, rows), unused)


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)  # the comma where there is none of them


def _columns(path: Path, header: Sequence[str]) -> list[str]:
    """The names of the columns, once they are known to be one of the two forms.

    Raises:
        InvalidInput: a column twice or one missing, or both forms at once.
    """
    columns = [name.strip().lower() for name in header]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f'{path}, row 1: the column "{twice}" is there twice; keep one')
    if "success" in columns and {"episodes", "successes"} & set(columns):
        raise InvalidInput(f"{path}, row 1: columns of both forms; keep {','.join(TRIALS)} or {','.join(COUNTS)}")
    form = COUNTS if {"episodes", "successes"} & set(columns) else TRIALS
    for name in form:
        if name not in columns:
            close = did_you_mean(name, columns)
            raise InvalidInput(f'{path}, row 1: no column "{name}"; expected {",".join(TRIALS)} or {",".join(COUNTS)}, {close}')
    return columns


def _rows(path: Path, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with its number in the file and its cells by column; blank lines are no rows.

    Raises:
        InvalidInput: another number of cells than columns, or no policy.
    """
    for number, cells in enumerate(lines, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise InvalidInput(f"{path}, row {number}: {len(cells)} cells, expected {len(columns)}, one per column")
        row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
        if not row["policy"]:
            raise InvalidInput(f"{path}, row {number}, column policy: it is empty; name the policy")
        yield number, row


def _tallied(
    path: Path, rows: Sequence[tuple[int, dict[str, str]]]
) -> tuple[dict[str, tuple[int, int]], dict[str, dict[str, tuple[int, ...]]]]:
    """Counts by policy, and outcomes by policy and start, of one row per trial."""
    outcomes: dict[str, list[int]] = {}
    starts: dict[str, dict[str, tuple[int, ...]]] = {}
    for number, row in rows:
        said = row["success"]
        if said.lower() not in WORDS:
            raise InvalidInput(
                f'{path}, row {number}, column success: "{said[:40]}" is neither 0 nor 1; leave out trials without an outcome'
            )
        outcome = WORDS[said.lower()]
        outcomes.setdefault(row["policy"], []).append(outcome)
        if start := row.get("start"):
            held = starts.setdefault(row["policy"], {})
            held[start] = (*held.get(start, ()), outcome)
    return {policy: (sum(each), len(each)) for policy, each in outcomes.items()}, starts


def _counted(path: Path, rows: Sequence[tuple[int, dict[str, str]]]) -> tuple[dict[str, tuple[int, int]], dict]:
    """Counts by policy of one row per policy."""
    counts: dict[str, tuple[int, int]] = {}
    for number, row in rows:
        if row["policy"] in counts:
            raise InvalidInput(f'{path}, row {number}, column policy: "{row["policy"]}" has a row already; give one row per policy')
        episodes, successes = (_whole(path, number, row, column) for column in ("episodes", "successes"))
        if episodes < 1:
            raise InvalidInput(f"{path}, row {number}, column episodes: {episodes}, expected at least 1; leave out policies without trials")
        if successes > episodes:
            raise InvalidInput(f"{path}, row {number}, column successes: {successes} of {episodes} episodes; give a count up to {episodes}")
        counts[row["policy"]] = (successes, episodes)
    return counts, {}


def _whole(path: Path, number: int, row: Mapping[str, str], column: str) -> int:
    if not (row[column].isascii() and row[column].isdigit() and len(row[column]) < 10):
        raise InvalidInput(f'{path}, row {number}, column {column}: "{row[column][:40]}" is no count; give a whole number')
    return int(row[column])


def _task(path: Path, rows: Sequence[tuple[int, dict[str, str]]]) -> str:
    """The one task of the file: rates of several tasks are never pooled.

    Raises:
        InvalidInput: several.
    """
    tasks = list(dict.fromkeys(row.get("task", "") for _, row in rows))
    if len(tasks) > 1:
        number = next(number for number, row in rows if row["task"] != tasks[0])
        raise InvalidInput(
            f'{path}, row {number}, column task: "{tasks[1]}" after "{tasks[0]}"; give one file per task, tasks are not pooled'
        )
    return tasks[0]
