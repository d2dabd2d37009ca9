"""What happened on the robot, from a CSV file: one row per trial, or one row per policy. Any order of columns; no guess at a cell.

policy,success[,start][,video][,task]   success is 0, 1, true, false, yes or no; video is a path relative to the file
policy,episodes,successes[,task]

Several tasks stay apart: nothing is ever pooled over them. Lines `# key: value` above the header, or columns, say how it was measured.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from worldsim.data.real_facts import FACTS, Fact, facts_of, split_comments
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

COUNTS, TRIALS = ("policy", "episodes", "successes"), ("policy", "success")
OPTIONAL = ("start", "task", "video", *FACTS)
WORDS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
T = TypeVar("T")
Row = tuple[int, dict[str, str]]  # its number in the file, and its cells by column


@dataclass(frozen=True)
class RealResults:
    """Counts of real trials of one task by policy, in the order of the file.

    Attributes:
        counts: (successes, trials) by policy.
        starts: outcomes 0/1 by policy and start, in order; empty where the file names no starts.
        task: what the file says the task is, else empty.
        unused: columns and comments that were not read.
        facts: how it was measured, as far as the file says: keys of `FACTS`.
        videos: paths of films by policy and start, in the order of `starts`; empty text where a trial has none.
    """

    counts: Mapping[str, tuple[int, int]]
    starts: Mapping[str, Mapping[str, tuple[int, ...]]]
    task: str
    unused: tuple[str, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)
    videos: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)


def read_real_results(path: str | Path) -> list[RealResults]:
    """The real results of a CSV file, one per task. Commas, semicolons or tabs; capitals and spaces around a column's name do not matter.

    Raises:
        UnknownName: no such file.
        InvalidInput: not such a file; the line names the row (as an editor counts them) and the column.
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
    above, comments, text = split_comments(path, text)
    lines, first = _lines(path, text)
    columns = _columns(path, lines[first], first + 1)
    rows = list(_rows(path, columns, lines, first + 1))
    if not rows:
        raise InvalidInput(f"{path} has a header and no rows; give it one row per trial or per policy")
    if "task" in columns and "task" in above:
        raise InvalidInput(f"{path}: task stands above the header and in a column; keep one of them")
    unused = (*(column for column in columns if column not in (*COUNTS, *TRIALS, *OPTIONAL)), *comments)
    tasks: dict[str, list[Row]] = {}
    for number, row in rows:
        tasks.setdefault(row.get("task", above.get("task", "")), []).append((number, row))
    if len(tasks) > 1 and "" in tasks:
        raise InvalidInput(f"{path}, row {tasks[''][0][0]}, column task: it is empty, and other rows name a task; name it everywhere")
    return [_results(path, task, above, each, unused) for task, each in tasks.items()]


def _results(path: Path, task: str, above: Mapping[str, str], rows: Sequence[Row], unused: tuple[str, ...]) -> RealResults:
    facts = facts_of(path, above, rows)
    if "episodes" in rows[0][1]:
        return RealResults(_counted(path, rows), {}, task, unused, facts)
    outcomes = [(row["policy"], row.get("start", ""), row.get("video", ""), _outcome(path, number, row)) for number, row in rows]
    tallied: dict[str, list[int]] = {}
    for policy, _, _, success in outcomes:
        tallied.setdefault(policy, []).append(success)
    counts = {policy: (sum(each), len(each)) for policy, each in tallied.items()}
    starts = _by_start((policy, start, success) for policy, start, _, success in outcomes)
    videos = _by_start((policy, start, video) for policy, start, video, _ in outcomes) if "video" in rows[0][1] else {}
    return RealResults(counts, starts, task, unused, facts, videos)


def _lines(path: Path, text: str) -> tuple[list[list[str]], int]:
    """The cells of every record, and which of them is the header: the first that is not blank."""
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True))
    except csv.Error as error:
        raise InvalidInput(f"{path} is not CSV ({error}); save it as comma-separated values") from error
    first = next((index for index, cells in enumerate(lines) if any(cell.strip() for cell in cells)), None)
    if first is None:
        raise InvalidInput(f"{path} is empty; give it the columns {' or '.join(map(','.join, (TRIALS, COUNTS)))}")
    return lines, first


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)  # the comma where there is none of them


def _columns(path: Path, header: Sequence[str], number: int) -> list[str]:
    """The names of the columns, once they are known to be one of the two forms.

    Raises:
        InvalidInput: a column twice or one missing, or both forms at once.
    """
    columns = [name.strip().lower() for name in header]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f'{path}, row {number}: the column "{twice}" is there twice; keep one')
    if "success" in columns and {"episodes", "successes"} & set(columns):
        raise InvalidInput(f"{path}, row {number}: columns of both forms; keep {','.join(TRIALS)} or {','.join(COUNTS)}")
    form = COUNTS if {"episodes", "successes"} & set(columns) else TRIALS
    for name in form:
        if name not in columns:
            close = did_you_mean(name, columns)
            raise InvalidInput(f'{path}, row {number}: no column "{name}"; expected {",".join(TRIALS)} or {",".join(COUNTS)}, {close}')
    return columns


def _rows(path: Path, columns: Sequence[str], lines: Sequence[Sequence[str]], begin: int) -> Iterator[Row]:
    """Each row with its number in the file and its cells by column; blank lines are no rows.

    Raises:
        InvalidInput: another number of cells than columns, or no policy.
    """
    for number, cells in enumerate(lines[begin:], begin + 1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise InvalidInput(f"{path}, row {number}: {len(cells)} cells, expected {len(columns)}, one per column")
        row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
        if not row["policy"]:
            raise InvalidInput(f"{path}, row {number}, column policy: it is empty; name the policy")
        yield number, row


def _outcome(path: Path, number: int, row: Mapping[str, str]) -> int:
    said = row["success"]
    if said.lower() not in WORDS:
        raise InvalidInput(f'{path}, row {number}, column success: "{said[:40]}" is neither 0 nor 1; leave out trials without an outcome')
    return WORDS[said.lower()]


def _by_start(trials: Iterator[tuple[str, str, T]]) -> dict[str, dict[str, tuple[T, ...]]]:
    """What trials hold by policy and start, in order; those without a start are left out."""
    found: dict[str, dict[str, tuple[T, ...]]] = {}
    for policy, start, value in trials:
        if start:
            held = found.setdefault(policy, {})
            held[start] = (*held.get(start, ()), value)
    return found


def _counted(path: Path, rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
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
    return counts


def _whole(path: Path, number: int, row: Mapping[str, str], column: str) -> int:
    if not (row[column].isascii() and row[column].isdigit() and len(row[column]) < 10):
        raise InvalidInput(f'{path}, row {number}, column {column}: "{row[column][:40]}" is no count; give a whole number')
    return int(row[column])
