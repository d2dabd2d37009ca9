"""Several judges as one: the majority, the mean of their scores, or all. What each said is kept, so that disagreement stays visible."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldsim.errors import InvalidInput, UnknownName
from worldsim.load import load_verifier, part_facts, part_name
from worldsim.registry import VERIFIERS, did_you_mean
from worldsim.types import Trajectory, Verdict, Verifier

RULES = ("majority", "mean", "all")
TIE = 0.5


class Vote:
    """Asks every member about every trajectory. A member that could not tell has no vote, and is counted.

    By majority the score is the share of "success" among the votes, by mean the mean of their scores. Fewer votes than `quorum`, or a
    score of exactly one half, is "could not tell". By all, for judges of different things that are all asked for, it is the least score:
    one failure decides, and a success needs every member.
    """

    def __init__(self, members: dict[str, Verifier], rule: str, quorum: int) -> None:
        self._members, self._rule, self._quorum = members, rule, quorum
        self.revisable = any(getattr(member, "revisable", False) for member in members.values())

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """One verdict each; the details hold every member's score and reason, and how many could not tell."""
        said = {name: member.judge(trajectories) for name, member in self._members.items()}
        return [self._verdict({name: verdicts[row] for name, verdicts in said.items()}) for row in range(len(trajectories))]

    def _verdict(self, said: dict[str, Verdict]) -> Verdict:
        votes = [verdict for verdict in said.values() if verdict.score is not None]
        details = {
            "members": {name: {"score": verdict.score, "reason": verdict.reason} for name, verdict in said.items()},
            "could_not_tell": len(said) - len(votes),
            "unanimous": len({verdict.success for verdict in votes}) == 1,
        }
        lost = next((verdict.details["fault"] for verdict in said.values() if verdict.details.get("fault")), None)
        if lost:  # a member that was out of reach is asked again, and the vote waits for it
            return Verdict(None, f"a member could not be asked: {lost}", details | {"fault": lost})
        won = sum(verdict.success for verdict in votes)
        counts = f"{won} of {len(votes)} say success" + (f", {len(said) - len(votes)} could not tell" if len(votes) < len(said) else "")
        refused = self._rule == "all" and won < len(votes)
        if len(votes) < self._quorum and not refused:
            return Verdict(None, f"{len(votes)} of {len(said)} could tell, expected at least {self._quorum}", details)
        if self._rule == "all":
            return Verdict(min(verdict.score for verdict in votes), counts, details)
        scores = [float(verdict.success) if self._rule == "majority" else verdict.score for verdict in votes]
        score = sum(scores) / len(scores)
        return Verdict(None, f"a tie: {counts}", details) if score == TIE else Verdict(score, counts, details)


@VERIFIERS.register("vote")
@dataclass
class VoteConfig:
    """What several judges say together.

    Attributes:
        of: the members, each a name, path or mapping.
        rule: "majority", "mean" of their scores, or "all" of them.
        quorum: the fewest that must be able to tell; None is more than half, or all where all are asked for.

    Raises:
        InvalidInput: no list of members, two of one name, or a quorum that they cannot reach.
        UnknownName: another rule than those.
    """

    of: list[Any] = field(default_factory=list)
    rule: str = "majority"
    quorum: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.of, list | tuple) or not self.of:
            raise InvalidInput(f"a vote needs members, got of={self.of!r}; type verifier='{{name: vote, of: [classifier, PATH]}}'")
        names = [part_name(member) for member in self.of]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise InvalidInput(f'two members of a vote are called "{doubled}"; rename one: {{name: {doubled}, as: OTHER}}')
        if self.rule not in RULES:
            raise UnknownName(f'a vote has no rule "{self.rule}"; {did_you_mean(str(self.rule), RULES)}')
        if not isinstance(self.votes_needed, int) or not 1 <= self.votes_needed <= len(names):
            raise InvalidInput(f"a vote of {len(names)} has quorum {self.quorum}, expected 1 to {len(names)}")
        if self.rule == "all" and self.votes_needed != len(names):
            raise InvalidInput(f"a vote of all has quorum {self.quorum}, expected {len(names)}, which it is without; drop quorum:")

    @property
    def votes_needed(self) -> int:
        """The fewest members that must be able to tell."""
        fewest = len(self.of) if self.rule == "all" else len(self.of) // 2 + 1
        return fewest if self.quorum is None else self.quorum

    def facts(self) -> dict[str, Any]:
        """What the vote depends on beside its options: what each member depends on."""
        return {"of": [part_facts(VERIFIERS, member) | {"name": part_name(member)} for member in self.of]}

    def build(self, run: str | Path | None = None) -> Vote:
        """Load every member; `run` is the run that is judged, for those who must know it."""
        return Vote({part_name(member): load_verifier(member, run) for member in self.of}, self.rule, self.votes_needed)

    def in_run(self, path: str | Path) -> "VoteInRun":
        """This vote for the run at `path`."""
        return VoteInRun(self, path)


@dataclass(frozen=True)
class VoteInRun:
    """A vote whose members are told the run that they judge."""

    vote: VoteConfig
    run: str | Path

    def build(self) -> Vote:
        """Load every member."""
        return self.vote.build(self.run)
