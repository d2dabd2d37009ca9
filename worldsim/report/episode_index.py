"""Which episodes each number of a report comes from, as lists with an anchor each. Knows outcomes, nothing of HTML or frames."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from worldsim.report.outcomes import Outcome, by_start, read_outcomes, select
from worldsim.report.probe import has_probe, probe_folder
from worldsim.report.run_folder import RunFolder
from worldsim.types import Verdict

FALSE_SUCCESS, MISSED, UNSCORED = "false success", "missed success", "unscored"
WORDS = {True: "success", False: "failure", None: "unscored"}


@dataclass(frozen=True)
class Line:
    """One start of one policy in both worlds, as far as it was played there; one of the two is always there."""

    imagined: Outcome | None
    truth: Outcome | None

    @property
    def first(self) -> Outcome:
        """The imagined episode, or the true one where there is no other."""
        return self.imagined or self.truth

    @property
    def sides(self) -> dict[str, Outcome]:
        """Those of the two that there are, by world, truth first."""
        return {world: outcome for world, outcome in (("truth", self.truth), ("imagined", self.imagined)) if outcome}

    @property
    def said(self) -> dict[str, str]:
        """How it ended and why, by world."""
        return {world: _said(outcome) for world, outcome in self.sides.items()}

    @property
    def scored(self) -> bool:
        """Whether both ends are known."""
        return None not in (_success(self.imagined), _success(self.truth))

    @property
    def kind(self) -> str:
        """What is wrong with it: a false success, a missed success, unscored in imagination; empty where nothing is."""
        said, true = _success(self.imagined), _success(self.truth)
        if self.imagined and said is None:
            return UNSCORED
        return "" if not self.scored or said == true else FALSE_SUCCESS if said else MISSED


@dataclass(frozen=True)
class Listing:
    """A list of episodes that a number links to. `command` replays the first of them."""

    anchor: str
    title: str
    lines: Sequence[Line]
    command: str
    named: bool  # whether the lines are of several policies, so that each must be named


def replay_command(run: Path, episode: str) -> str:
    """What to type to play one episode of a run again."""
    return shlex.join(["worldsim", "replay", str(run), "--episode", episode])


def policy_anchor(rank: int) -> str:
    """The anchor of the policy at this place of the ranking, from 1."""
    return f"policy-{rank}"


def lines_of(outcomes: Sequence[Outcome], policy: str) -> list[Line]:
    """All episodes of a policy, an imagined one beside its true twin, by start."""
    imagined, truth = (by_start(select(outcomes, policy, world)) for world in ("imagined", "truth"))
    return [Line(imagined.get(key), truth.get(key)) for key in sorted({*imagined, *truth})]


def in_turn(columns: Iterable[Sequence[Line]]) -> Iterator[Line]:
    """The first of every column, then the second of every column, and so on."""
    return (line for row in zip_longest(*columns) for line in row if line is not None)


def listings(run: RunFolder, outcomes: Sequence[Outcome], ranked: Sequence[str]) -> list[Listing]:
    """A list per policy in their order, then one per kind of fault over all policies, then one per kind of the probe."""
    lines = {policy: lines_of(outcomes, policy) for policy in ranked}
    found = [_listing(run.path, policy_anchor(rank), name, lines[name]) for rank, name in enumerate(ranked, start=1)]
    everywhere = [line for each in lines.values() for line in each]
    for kind in (FALSE_SUCCESS, MISSED, UNSCORED):
        chosen = [line for line in everywhere if line.kind == kind]
        title = {FALSE_SUCCESS: "False successes", MISSED: "Missed successes", UNSCORED: "Unscored imagined episodes"}[kind]
        found.append(_listing(run.path, anchor_of(kind), title, chosen, named=True))
    wrong = [line for line in everywhere if line.truth and judge_is_wrong(line.truth)]
    found.append(_listing(run.path, "judge-errors", "True episodes in which the judge contradicts the state", wrong, named=True))
    return found + (_probe_listings(run) if has_probe(run) else [])


def anchor_of(kind: str) -> str:
    """The anchor of the list of a kind of fault."""
    return {FALSE_SUCCESS: "false-successes", MISSED: "missed-successes", UNSCORED: "unscored"}[kind]


def judge_is_wrong(truth: Outcome) -> bool:
    """Whether the judge was asked of a true episode and said other than the state."""
    return (
        truth.second_opinion is not None
        and None not in (known := (truth.second_opinion.success, truth.verdict.success))
        and known[0] != known[1]
    )


def verdict_word(verdict: Verdict | None) -> str:
    """A verdict in one word; a dash where there is none."""
    return "–" if verdict is None else WORDS[verdict.success]


def other_judges(run: RunFolder, results: Mapping[str, Any]) -> dict[str, Mapping[str, Verdict]]:
    """What each judge other than the run's own said, by episode id."""
    return {each["verifier"]: run.verdicts(each["verifier"]) for each in results["judges"] if not each["own"]}


def _probe_listings(run: RunFolder) -> list[Listing]:
    probe = probe_folder(run)
    outcomes = read_outcomes(probe)
    kinds = probe.config.get("policies", {})
    return [
        _listing(probe.path, f"probe-{place}", f"Known-failure probe: {name}", lines_of(outcomes, name))
        for place, name in enumerate(kinds, start=1)
    ]


def _listing(run: Path, anchor: str, title: str, lines: Iterable[Line], *, named: bool = False) -> Listing:
    lines = list(lines)
    return Listing(anchor, title, lines, replay_command(run, lines[0].first.episode) if lines else "", named)


def _said(outcome: Outcome) -> str:
    word, reason = WORDS[outcome.verdict.success], outcome.verdict.reason or outcome.fault
    return f"{word} ({reason})" if reason else word


def _success(outcome: Outcome | None) -> bool | None:
    return None if outcome is None else outcome.verdict.success
