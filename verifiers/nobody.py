"""The absence of a judge, for recordings whose success nothing here can tell."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict


@VERIFIERS.register("none")
@dataclass
class NobodyConfig:
    """Leaves every trajectory unscored."""

    def build(self) -> "NobodyConfig":
        """Itself: the config is the judge."""
        return self

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """Say "could not tell" of each."""
        return [Verdict(None, "nobody judged") for _ in trajectories]
