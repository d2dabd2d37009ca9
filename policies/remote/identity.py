"""By what a policy behind a network is known: to those who serve it, and to those who ask. Knows no wire."""

import re
from collections.abc import Mapping
from typing import Any

from worldsim.data.files import digest_of

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
PASSING = re.compile(  # words in names of what differs from one connection, or one start of a server, to the next
    "time|timing|timestamps?|date|datetime|now|at|clock|uptime|started|seq|nonce|uuid|pid|session|connection|request"
)


def digest_of_words(said: Mapping[Any, Any]) -> str | None:
    """A short name for what a server says of itself in its first message; None where it says nothing.

    Texts, whole numbers, finite floats, truth values and null count, alone or in lists and maps. Left out are arrays, bytes, infinite
    numbers, what has another name than text, and, unless it is a truth value, whatever has a word of `PASSING` in its name: `timestamp`,
    `connectedAt` and `session_id` change with every connection and say nothing of the policy.
    """
    kept = _lasting(said)
    return digest_of(kept) if kept else None


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        entries = ((key, _lasting(each)) for key, each in value.items() if isinstance(key, str))
        return {key: each for key, each in entries if each is not ... and (isinstance(each, bool) or not _passes(key))}
    if isinstance(value, list):
        return [each for each in map(_lasting, value) if each is not ...]
    plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and abs(value) < float("inf"))
    return value if plain else ...


def _passes(name: str) -> bool:
    return any(PASSING.fullmatch(word.lower()) for word in WORD.findall(name))


def told_of(facts: Any) -> Any:
    """The facts of a part as they may be told to others: a text with a slash, which may be a path of this machine, becomes its digest."""
    if isinstance(facts, Mapping):
        return {str(key): told_of(each) for key, each in facts.items()}
    if isinstance(facts, list | tuple):
        return [told_of(each) for each in facts]
    if facts is None or isinstance(facts, bool | int | float):
        return facts
    text = str(facts)
    return f"digest {digest_of(text)}" if "/" in text or "\\" in text else text
