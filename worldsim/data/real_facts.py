"""What a file of real results says of how it was measured: lines `# key: value` above the header, or columns of the same names.

Knows what each key may hold, and nothing of outcomes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from worldsim.errors import InvalidInput

FACTS = ("averaging", "rule", "horizon", "rate_hz", "starts", "judge", "stopping")
WORDS = {"rule": ("last_step", "ever"), "stopping": ("fixed", "sequential")}
LONGEST = 200
Fact = str | int | float


def split_comments(path: Path, text: str) -> tuple[dict[str, str], list[str], str]:
    """The facts above the header with the other comments, and the text with those lines emptied, so that rows keep their numbers.

    Raises:
        InvalidInput: one fact twice.
    """
    lines, facts, other = text.splitlines(keepends=True), {}, []
    for index, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        match = re.fullmatch(r"#\s*(\w+)\s*:\s*(.*)", line.strip().rstrip(",;\t"))
        if match and match[1].lower() in (*FACTS, "task"):
            key = match[1].lower()
            if key in facts:
                raise InvalidInput(f"{path}, row {index + 1}: # {key} is there twice; keep one")
            facts[key] = match[2].strip()
        elif line.strip():
            other.append(line.strip()[1:].strip())
        lines[index] = "\n"
    return facts, other, "".join(lines)


def facts_of(path: Path, above: Mapping[str, str], rows: Sequence[tuple[int, Mapping[str, str]]]) -> dict[str, Fact]:
    """The facts of one task, from the comments and from its rows, which must all say the same.

    Raises:
        InvalidInput: rows that contradict one another, a fact in both places, or a value that its key cannot hold.
    """
    found = {key: _value(f"{path}, # {key}", key, value) for key, value in above.items() if key in FACTS and value}
    for key in FACTS:
        if key not in rows[0][1]:
            continue
        if key in found:
            raise InvalidInput(f"{path}: {key} stands above the header and in a column; keep one of them")
        first_number, first = rows[0][0], rows[0][1][key]
        for number, row in rows:
            if row[key] != first:
                raise InvalidInput(
                    f'{path}, row {number}, column {key}: "{row[key][:40]}" after "{first[:40]}"; '
                    "trials of several recipes are not pooled, give one file per recipe"
                )
        if first:
            found[key] = _value(f"{path}, row {first_number}, column {key}", key, first)
    return found


def _value(place: str, key: str, text: str) -> Fact:
    if key in WORDS and text not in WORDS[key]:
        raise InvalidInput(f'{place}: "{text[:40]}", expected {" or ".join(WORDS[key])}')
    if key == "horizon":
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
            raise InvalidInput(f'{place}: "{text[:40]}" is no number of steps; give a whole number from 1')
        return int(text)
    if key == "rate_hz":
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) or float(text) <= 0:
            raise InvalidInput(f'{place}: "{text[:40]}" is no control rate; give actions per second, as 3 or 7.5')
        return float(text)
    if len(text) > LONGEST:
        raise InvalidInput(f"{place}: {len(text)} characters, expected at most {LONGEST}")
    return text
