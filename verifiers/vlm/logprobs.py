"""The probability of yes from the log-probabilities of the token that carries the answer. Knows no server.

A server lists the likeliest tokens at each place (`logprobs.content[i].top_logprobs`), often few of them. Yes and no stand there under many
spellings, " Yes" and "yes" among them; their probabilities are added up.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.verifiers.vlm.prompts import NO, YES

ENOUGH = 0.8  # share of all probability that listed spellings of yes and no must have: the rest might all be the other word
ROUNDING = 1e-3
BEFORE_ANSWER = re.compile(r"\s*(\{\s*\"answer\"\s*:\s*)?[\"'*`]*\s*", re.IGNORECASE)  # what may precede the answer: nothing, or JSON
MARKS = " \t\r\n\"'*`.,▁Ġ"  # around a spelling; the last two stand for a space in SentencePiece and in byte-level BPE
LONGEST_LEAD = 64  # tokens
LEAST = -1000.0  # log-probability whose exponential is 0 in float64


@dataclass(frozen=True)
class Token:
    """One place of a reply: the token that stands there, and the probabilities of those listed for it."""

    text: str
    listed: Mapping[str, float]


def tokens_of(logprobs: Any) -> tuple[Token, ...]:
    """The first places of `choices[0].logprobs`; none where it is missing or not what it should be."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = [_token(entry) for entry in content[:LONGEST_LEAD]] if isinstance(content, list) else []
    return () if None in found else tuple(found)


def p_yes(tokens: Sequence[Token]) -> float | None:
    """P(yes) / (P(yes) + P(no)) where the reply's first yes or no stands; None where too little of either is listed."""
    before = ""
    for token in tokens:
        if spelling(token.text) is not None:
            return _share(token.listed) if BEFORE_ANSWER.fullmatch(before) else None
        before += token.text
    return None


def spelling(token: str) -> str | None:
    """Whether a token is a spelling of yes or of no; None where it is neither."""
    word = token.strip(MARKS).lower()
    return word if word in (YES, NO) else None


def _share(listed: Mapping[str, float]) -> float | None:
    mass = {YES: 0.0, NO: 0.0}
    for token, probability in listed.items():
        if (word := spelling(token)) is not None:
            mass[word] += probability
    total = mass[YES] + mass[NO]
    return mass[YES] / total if total >= ENOUGH and sum(listed.values()) <= 1 + ROUNDING else None


def _token(entry: Any) -> Token | None:
    """One place as the server describes it; None where that is malformed. The token itself counts, listed or not."""
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    alternatives = entry.get("top_logprobs") or []
    if not isinstance(alternatives, list):
        return None
    listed = {}
    for each in [*alternatives, entry]:
        probability = _probability(each.get("logprob")) if isinstance(each, dict) and isinstance(each.get("token"), str) else None
        if probability is None:
            return None
        listed[each["token"]] = probability
    return Token(entry["token"], listed)


def _probability(logprob: Any) -> float | None:
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or logprob != logprob or logprob > ROUNDING:
        return None
    return min(1.0, math.exp(max(logprob, LEAST)))
