"""Labels as a file that a spreadsheet or a script can write: CSV with a header, or JSON lines. Strict: no guess at a cell.

episode,rater,label[,seconds,replays,order,asked,content]        label is y, n or u

What is written comes back exactly. In CSV a text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line
end) or that begins with an apostrophe gets an apostrophe before it, which reading takes off again.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.data.files import written_whole
from worldsim.errors import InvalidInput, UnknownName
from worldsim.labelling.label import Label
from worldsim.registry import did_you_mean
from worldsim.report.printable import printable

NEEDED = ("episode", "label")
OPTIONAL = ("rater", "seconds", "replays", "order", "asked", "content")
COLUMNS = ("episode", "rater", "label", "seconds", "replays", "order", "asked", "content")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
SUFFIXES = (".csv", ".jsonl")


@dataclass(frozen=True)
class Row:
    """One label of a file, with the place that an error line names. `content` is None where the file does not say what was shown."""

    where: str
    episode: str
    rater: str
    answer: str
    content: str | None
    seconds: float = 0.0
    replays: int = 0
    order: int = 0
    asked: str = ""

    def label(self, content: str) -> Label:
        """The label, of a clip that shows `content`.

        Raises:
            InvalidInput: a value that no label can have; the line names the row.
        """
        try:
            return Label(self.episode, self.rater, self.answer, content, self.seconds, self.replays, self.order, self.asked)
        except InvalidInput as error:
            raise InvalidInput(f"{self.where}: {error}") from error


def write_labels(path: str | Path, labels: Iterable[Label]) -> None:
    """Write labels, sorted by rater and episode; the suffix .csv or .jsonl says how. The file is there whole or not at all.

    Raises:
        InvalidInput: another suffix.
    """
    form = suffix_of(path)
    rows = [_cells(label) for label in sorted(labels, key=lambda label: (label.rater, label.episode))]
    if form == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    else:
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *([_guarded(value) for value in row.values()] for row in rows)])
        text = stream.getvalue()
    with written_whole(path) as aside:
        aside.write_bytes(text.encode("utf-8"))


def read_labels(path: str | Path, rater: str | None = None) -> list[Row]:
    """The labels of a file, in its order. `rater` is who gave those that do not say.

    Raises:
        UnknownName: no such file.
        InvalidInput: another suffix, or not such a file; the line names the row (a CSV header is row 1) and the column.
    """
    form, path = suffix_of(path), Path(path)
    if not path.is_file():
        raise UnknownName(f"there is no file {path} of labels; write one with the columns {','.join((*NEEDED, 'rater'))}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it in UTF-8") from error
    rows = [_row(where, values, rater) for where, values in (_json_rows if form == ".jsonl" else _csv_rows)(path, text)]
    if not rows:
        raise InvalidInput(f"{path} holds no labels; give it one row per label")
    _refuse_twice(rows)
    return rows


def suffix_of(path: str | Path) -> str:
    """The suffix of a file of labels, which says how it is written.

    Raises:
        InvalidInput: none that anybody knows.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(f"{path} is neither .csv nor .jsonl; name a file of labels that ends in one of them")
    return suffix


def _cells(label: Label) -> dict[str, Any]:
    return {column: getattr(label, "answer" if column == "label" else column) for column in COLUMNS}


def _guarded(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row stands and its cells by column; blank lines are no rows."""
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InvalidInput(f"{path} is not CSV ({error}); save it as comma-separated values") from error
    columns = [cell.strip().lower() for cell in lines[0]] if lines else []
    _check_columns(f"{path}, row 1", columns)
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise InvalidInput(f"{path}, row {number}: {len(cells)} cells, expected {len(columns)}, one per column")
        yield f"{path}, row {number}", {name: cell.removeprefix("'") for name, cell in zip(columns, cells, strict=True)}


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, row {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{where}: it is not JSON ({error}); write one object per line") from error
        if not isinstance(row, dict):
            raise InvalidInput(f"{where}: it is no object; write one object per line")
        _check_columns(where, list(row))
        yield where, row


def _check_columns(where: str, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in COLUMNS:
            raise InvalidInput(f'{where}: unknown column "{printable(name)[:40]}"; {did_you_mean(name, COLUMNS)}')
        if columns.count(name) > 1:
            raise InvalidInput(f'{where}: the column "{name}" is there twice; keep one')
    for name in NEEDED:
        if name not in columns:
            raise InvalidInput(f'{where}: no column "{name}"; expected {",".join(NEEDED)} and any of {",".join(OPTIONAL)}')


def _row(where: str, values: Mapping[str, Any], rater: str | None) -> Row:
    """A row whose every cell is of its type.

    Raises:
        InvalidInput: with the column.
    """
    texts = {name: _text(where, values, name) for name in ("episode", "label", "rater", "asked", "content")}
    if not texts["episode"]:
        raise InvalidInput(f"{where}, column episode: it is empty; name the episode")
    if texts["label"] not in ("y", "n", "u"):
        said = printable(texts["label"])[:40]
        raise InvalidInput(f'{where}, column label: "{said}"; write y (success), n (failure) or u (cannot tell)')
    who = texts["rater"] or rater
    if not who:
        raise InvalidInput(f"{where}, column rater: it is empty; name who labelled, or type rater=NAME")
    numbers = {name: _number(where, values, name, kind) for name, kind in (("seconds", float), ("replays", int), ("order", int))}
    return Row(where, texts["episode"], who, texts["label"], texts["content"] or None, asked=texts["asked"], **numbers)


def _text(where: str, values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput(f"{where}, column {name}: it is no text; write it in quotes")
    return value


def _number(where: str, values: Mapping[str, Any], name: str, kind: Callable[[Any], Any]) -> Any:
    value = values.get(name, "")
    if value == "":
        return kind(0)
    fits = type(value) in (str, int, kind)  # True is an int to isinstance
    try:
        if not fits or not (isinstance(value, int | float) or (value.isascii() and "_" not in value)):
            raise ValueError
        return kind(value)
    except ValueError:
        raise InvalidInput(f'{where}, column {name}: "{printable(value)[:40]}" is no {"number" if kind is float else "count"}') from None


def _refuse_twice(rows: Sequence[Row]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        if first := seen.get((row.rater, row.episode)):
            row_said = f'"{printable(row.episode)}" by "{printable(row.rater)}"'
            raise InvalidInput(f"{row.where}, column episode: {row_said} stands in {first.split(', ')[-1]} already; keep one")
        seen[row.rater, row.episode] = row.where
