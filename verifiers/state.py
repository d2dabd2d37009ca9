"""The judge that knows: a recorded true state against a threshold. It works in the true world only."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict


@VERIFIERS.register("state")
@dataclass
class StateVerifier:
    """Success when the last value of `name` lies below `threshold` (metres for the drawer's opening)."""

    name: str = "opening"
    threshold: float = 0.02

    def build(self) -> "StateVerifier":
        """Itself: the config is the judge."""
        return self

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """1 or 0 for each; "could not tell" where the state was not recorded."""
        return [self._judge(trajectory) for trajectory in trajectories]

    def _judge(self, trajectory: Trajectory) -> Verdict:
        if self.name not in trajectory.states:
            return Verdict(None, f'no true state "{self.name}" was recorded')
        value = float(trajectory.states[self.name][-1])
        return Verdict(float(value < self.threshold), f"{self.name} is {value:.3f} at the end", {self.name: value})
