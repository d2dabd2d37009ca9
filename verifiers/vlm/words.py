"""Reading what a model wrote, strictly: exactly one of the options in the form that was asked for, or nothing. Knows no server.

Any text that is not of the form, however clear it may seem to a reader, is no answer: prose around it, both words, another language,
a code fence, a JSON object with other or repeated keys.
"""

import json
import re
from typing import Any

from worldsim.verifiers.vlm.prompts import NO, UNSURE, YES
from worldsim.verifiers.vlm.questions import Opinion

WRAPPINGS = ("**", "`", '"', "'")
LAST_LINE = re.compile(r"\s*\**answer\s*:\**", re.IGNORECASE)


def read_words(text: str, reply: str, parts: int = 0) -> Opinion:
    """What `text` says; `reply` is the form that the prompt asks for, `parts` the number of sub-tasks."""
    if reply == "subtasks":
        return _subtasks(text, parts)
    word = _last_line(text) if reply == "final_line" else text
    return _of_option(option(word) or _json_option(word))


def option(text: str | None) -> str | None:
    """Which option `text` is, letter case, one pair of quotes or stars and one full stop aside; None where it is none."""
    word = (text or "").strip(" \t\r\n")
    for mark in WRAPPINGS:
        if len(word) > 2 * len(mark) and word.startswith(mark) and word.endswith(mark):
            word = word[len(mark) : -len(mark)]
            break
    word = word.removesuffix(".").lower()
    return word if word in (YES, NO, UNSURE) else None


def _of_option(word: str | None) -> Opinion:
    if word is None:
        return Opinion(None, "the answer is none of the options")
    return Opinion(None, "the model cannot tell") if word == UNSURE else Opinion(float(word == YES))


def _last_line(text: str) -> str | None:
    """What follows "Answer:" on the last line with text; None where that line has none, or an earlier line has one too."""
    lines = [line for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if LAST_LINE.match(line)]
    if len(marked) != 1 or lines[-1] is not marked[0]:
        return None
    return LAST_LINE.sub("", marked[0], count=1).strip().removesuffix("**")


def _json_option(text: str | None) -> str | None:
    """The option in `{"answer": OPTION}` and nothing else."""
    found = _object(text or "")
    return option(found["answer"]) if found is not None and found.keys() == {"answer"} and isinstance(found["answer"], str) else None


def _subtasks(text: str, parts: int) -> Opinion:
    found = _object(text)
    names = [str(number) for number in range(1, parts + 1)]
    if found is None or found.keys() != set(names) or not all(isinstance(value, str) for value in found.values()):
        return Opinion(None, f"the answer is no JSON object with an option for each of the {parts} sub-tasks")
    words = [option(found[name]) for name in names]
    if None in words:
        return Opinion(None, f"sub-task {words.index(None) + 1} is answered with none of the options")
    met = tuple(word == YES for word in words)
    if UNSURE in words:
        return Opinion(None, f"the model cannot tell of sub-task {words.index(UNSURE) + 1}", met=met)
    return Opinion(sum(met) / parts, met=met)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is; None for anything else, also for an object that names a key twice."""
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)
