"""Who acted where and how it ended: the episodes and verdicts of a run as small records. Knows no statistics."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.report.run_folder import RunFolder
from worldsim.types import Verdict

UNJUDGED = Verdict(None, "not judged yet")


@dataclass(frozen=True)
class Outcome:
    """One episode without its frames. `verdict` is what decides: the run's verifier in imagination, the state in truth.

    `second_opinion` is what the run's verifier says of a true episode, where it was asked. `fault` says how its world broke, if it did.
    """

    episode: str
    policy: str
    world: str
    start: str
    seed: int
    verdict: Verdict
    second_opinion: Verdict | None = None
    fault: str = ""


@dataclass(frozen=True)
class Pair:
    """An imagined episode and its true twin: the same policy from the same start."""

    imagined: Outcome
    truth: Outcome

    @property
    def scored(self) -> bool:
        """Whether both ends are known."""
        return None not in (self.imagined.verdict.success, self.truth.verdict.success)

    @property
    def agrees(self) -> bool:
        """Whether both ends are known and the same."""
        return self.scored and self.imagined.verdict.success == self.truth.verdict.success


def read_outcomes(run: RunFolder) -> list[Outcome]:
    """All sound episodes of a run with their verdicts, sorted by policy, world, start and seed."""
    verifier, state = run.verdicts(run.identity["verifier"]["name"]), run.verdicts("state")
    outcomes = []
    for about in run.abouts():
        deciding, other = (state, verifier.get(about.episode)) if about.world == "truth" else (verifier, None)
        verdict = deciding.get(about.episode, UNJUDGED)
        outcomes.append(Outcome(about.episode, about.policy, about.world, about.start, about.seed, verdict, other, about.fault))
    return sorted(outcomes, key=lambda o: (o.policy, o.world, o.start, o.seed, o.episode))


def select(outcomes: Iterable[Outcome], policy: str, world: str) -> list[Outcome]:
    """The episodes of one policy in one world."""
    return [outcome for outcome in outcomes if (outcome.policy, outcome.world) == (policy, world)]


def by_start(outcomes: Sequence[Outcome]) -> dict[tuple[str, int], Outcome]:
    """Episodes of one policy in one world by start id and repeat: the second episode from the same start has repeat 1."""
    seen: dict[str, int] = {}
    keyed = {}
    for outcome in outcomes:
        repeat = seen[outcome.start] = seen.get(outcome.start, -1) + 1
        keyed[outcome.start, repeat] = outcome
    return keyed


def pairs(outcomes: Sequence[Outcome], policy: str) -> list[Pair]:
    """The policy's imagined episodes that have a true twin, sorted by start."""
    imagined, truth = (by_start(select(outcomes, policy, world)) for world in ("imagined", "truth"))
    return [Pair(imagined[key], truth[key]) for key in imagined if key in truth]


def outcome_matrix(outcomes: Sequence[Outcome], policies: Sequence[str], world: str) -> np.ndarray:
    """Successes as 0/1 `[policies, starts]`, NaN where unscored or absent; the columns are the same for both worlds."""
    starts = sorted({key for policy in policies for side in ("imagined", "truth") for key in by_start(select(outcomes, policy, side))})
    rows = [by_start(select(outcomes, policy, world)) for policy in policies]
    return np.array([[_number(row.get(start)) for start in starts] for row in rows], dtype=float).reshape(len(policies), len(starts))


def _number(outcome: Outcome | None) -> float:
    success = None if outcome is None else outcome.verdict.success
    return float("nan") if success is None else float(success)
