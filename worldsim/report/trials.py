"""Every trial of a run as a row of a CSV file, so that others can count again. Knows outcomes only."""

import csv
from collections.abc import Sequence
from pathlib import Path

from worldsim.data.files import written_whole
from worldsim.report.outcomes import Outcome
from worldsim.types import Verdict

COLUMNS = ("episode", "policy", "world", "start", "seed", "success", "score", "reason", "fault", "judge_on_truth")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would begin to compute at


def write_trials(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write one row per episode, imagined and true. `success` is 1, 0, or empty where nobody could tell.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    with written_whole(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows([_cell(value) for value in _row(outcome)] for outcome in outcomes)


def _row(each: Outcome) -> tuple[object, ...]:
    verdict = each.verdict
    decided = [_flag(said) for said in (verdict, each.second_opinion)]
    about = (each.episode, each.policy, each.world, each.start, each.seed)
    return (*about, decided[0], "" if verdict.score is None else verdict.score, verdict.reason, each.fault, decided[1])


def _flag(verdict: Verdict | None) -> object:
    return "" if verdict is None or verdict.success is None else int(verdict.success)


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
