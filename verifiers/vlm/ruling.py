"""From answers to a verdict. Knows no model: a question has an answer, and this says what all of them together come to.

An order (yes first, no first) counts what most of its answers allow: the mean of those that say yes or no, and nothing unless they are more
than half. A window has the mean of its orders, and nothing if one order has nothing. `last_step` is its only window. `ever` is the most of
its windows where that is a success; else nothing if one window has nothing, for it may have been the one; else the most of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.types import Verdict
from worldsim.verifiers.vlm.prompts import NO
from worldsim.verifiers.vlm.questions import Answer, Opinion, Question

FOOLED = "it says yes to blank pictures: either the task's own text steers it, or it does not look"
MOST_SAID = 12  # answers that details repeat


@dataclass(frozen=True)
class Hearing:
    """What is asked about one episode: `windows[w][o][s]` is sample s of order o about window w; `controls` show blank pictures instead.

    `shown` are the indices of the frames of each window.
    """

    windows: Sequence[Sequence[Sequence[Question]]]
    controls: Sequence[Question]
    shown: Sequence[Sequence[int]]

    @property
    def questions(self) -> list[Question]:
        """All of them, controls first."""
        return [*self.controls, *(question for window in self.windows for order in window for question in order)]


@dataclass(frozen=True)
class Rule:
    """How a number becomes a verdict.

    Attributes:
        abstain: from and to which p(yes) nothing is said; both ends belong to it. Shares of sub-tasks know no such band.
        credit: whether the score of sub-tasks is the "share" that is met, or 1 only where "all" are.
    """

    abstain: tuple[float, float] = (0.5, 0.5)
    credit: str = "all"


@dataclass(frozen=True)
class Finding:
    """A number, or the reason for none; `split` where the two orders of the options say the opposite of each other."""

    p: float | None
    reason: str = ""
    split: bool = False


def verdict_of(hearing: Hearing, answers: Mapping[str, Answer], rule: Rule, facts: Mapping[str, Any]) -> Verdict:
    """The verdict on one episode.

    Args:
        hearing: what was asked.
        answers: by the key of the question.
        rule: how the number becomes a verdict.
        facts: of the judge, for the details.
    """
    by_order = [[_of_order([answers[question.key] for question in order]) for order in window] for window in hearing.windows]
    found = _of_windows([_of_window(orders) for orders in by_order])
    heard = [answers[question.key] for question in hearing.questions]
    details = dict(facts) | _details(hearing, by_order, answers) | _costs(heard)
    if fault := next((answer.fault for answer in heard if answer.fault), ""):
        return Verdict(None, fault, details | {"fault": fault})  # "fault": an evaluation that is begun again asks again
    if any(_fooled(answers[question.key].opinion) for question in hearing.controls):
        return Verdict(None, FOOLED, details)
    if found.p is None:
        return Verdict(None, found.reason, details)
    met = details.get("met")
    if met is not None:
        score = found.p if rule.credit == "share" else float(all(met))
        return Verdict(score, f"{sum(met)} of {len(met)} sub-tasks{_split(found)}", details)
    if rule.abstain[0] <= found.p <= rule.abstain[1]:
        return Verdict(None, f"p(yes) is {found.p:.2f}, where this judge does not decide{_split(found)}", details)
    return Verdict(found.p, f"p(yes) is {found.p:.2f}{_split(found)}", details)


def _fooled(opinion: Opinion) -> bool:
    """Whether an answer about blank pictures says that anything was done."""
    return any(opinion.met) if opinion.met is not None else opinion.p is not None and opinion.p >= 0.5


def _of_order(answers: Sequence[Answer]) -> Finding:
    told = [answer.opinion.p for answer in answers if answer.opinion.p is not None]
    if 2 * len(told) > len(answers):
        yes = sum(told)
        if len(answers) > 1 and 2 * max(yes, len(told) - yes) <= len(answers):
            return Finding(None, f"no majority: {yes:g} yes and {len(told) - yes:g} no of {len(answers)} answers")
        return Finding(yes / len(told))
    return Finding(None, next(answer.opinion.reason for answer in answers if answer.opinion.p is None))


def _of_window(orders: Sequence[Finding]) -> Finding:
    if silent := [order for order in orders if order.p is None]:
        return silent[0]
    values = [order.p for order in orders]
    return Finding(sum(values) / len(values), split=min(values) < 0.5 <= max(values))


def _of_windows(windows: Sequence[Finding]) -> Finding:
    told = [window for window in windows if window.p is not None]
    best = max(told, key=lambda window: window.p, default=None)
    if best is not None and best.p > 0.5:
        return best
    return next((window for window in windows if window.p is None), best)


def _split(found: Finding) -> str:
    return "; the answer follows the order of the options" if found.split else ""


def _details(hearing: Hearing, by_order: Sequence[Sequence[Finding]], answers: Mapping[str, Answer]) -> dict[str, Any]:
    heard = [answers[question.key] for question in hearing.questions[len(hearing.controls) :]]
    names = ["no_first" if window[0].options[0] == NO else "yes_first" for window in hearing.windows[0]]
    met = [answer.opinion.met for answer in heard if answer.opinion.met is not None and answer.opinion.p is not None]
    return {
        "p_yes": {name: [window[order].p for window in by_order] for order, name in enumerate(names)},
        "orders_disagree": any(_of_window(window).split for window in by_order),
        "read_from": sorted({answer.opinion.source for answer in heard if answer.opinion.p is not None}),
        "frames": [list(window) for window in hearing.shown],
        "answers": [answer.said for answer in heard[:MOST_SAID]],
        "answers_left_out": max(0, len(heard) - MOST_SAID),
        "control": [answers[question.key].said for question in hearing.controls],
    } | ({"met": [all(each) for each in zip(*met, strict=True)]} if met else {})


def _costs(heard: Sequence[Answer]) -> dict[str, Any]:
    counted = [answer.tokens for answer in heard if answer.tokens is not None]
    priced = [answer.cost for answer in heard if answer.cost is not None]
    return {
        "tokens": [sum(column) for column in zip(*counted, strict=True)] if counted else None,
        "cost": sum(priced) if priced else None,
        "latency_s": sum(answer.seconds for answer in heard),
        "asked": len(heard),
        "cached": sum(answer.kept for answer in heard),
    }
