"""The judge that knows: a recorded true state against a threshold. It works in the true world only."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict

RULES = {"drop": ("miss", 0.0)}  # by task: the state that tells, and what it must lie below


@VERIFIERS.register("state")
@dataclass
class StateVerifier:
    """Success when the last value of `name` lies below `threshold` (metres for the drawer's opening).

    An episode of a world that has no such state but a rule of its own (`RULES`) is judged by that.

    Attributes:
        name: the recorded state that is looked at.
        threshold: below this it is a success, in the state's unit.
    """

    name: str = "opening"
    threshold: float = 0.02

    def build(self) -> "StateVerifier":
        """Itself: the config is the judge."""
        return self

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """1 or 0 for each; "could not tell" where the state was not recorded."""
        return [self._judge(trajectory) for trajectory in trajectories]

    def _judge(self, trajectory: Trajectory) -> Verdict:
        name, threshold = self.name, self.threshold
        if name not in trajectory.states:
            name, threshold = RULES.get(trajectory.task_id, (name, threshold))
        if name not in trajectory.states:
            return Verdict(None, f'no true state "{name}" was recorded')
        value = float(trajectory.states[name][-1])
        return Verdict(float(value < threshold), f"{name} is {value:.3f} at the end", {name: value})
