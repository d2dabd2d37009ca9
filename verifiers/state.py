"""The judge that knows: a recorded true state against a threshold. It works in the true world only."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldsim.data.splits import OWN
from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict

MISSED = [task for task in OWN if task != "drawer"]
RULES = {task: ("miss", 0.0) for task in MISSED}  # the state that tells, and below what it is a success
SAID = "success"  # the state by which a world says itself whether its task is done


@VERIFIERS.register("state")
@dataclass
class StateVerifier:
    """Success when the last value of `name` lies below `threshold` (metres for the drawer's opening).

    Where nothing else is asked for, or there is no such state, an episode of a task that has a rule of its own (`RULES`) is judged by that;
    one that holds whether its task is done (the state `success`, 0 or 1) by that.

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

    def rule(self, trajectory: Trajectory) -> tuple[str, float]:
        """The state that an episode is judged by, and where success begins."""
        own = RULES.get(trajectory.task_id)
        if own and (self == StateVerifier() or self.name not in trajectory.states):
            return own
        if SAID in trajectory.states and self.name not in trajectory.states:
            return SAID, 0.5
        return self.name, self.threshold

    def _judge(self, trajectory: Trajectory) -> Verdict:
        name, threshold = self.rule(trajectory)
        if name not in trajectory.states:
            return Verdict(None, f'no true state "{name}" was recorded')
        value = float(trajectory.states[name][-1])
        success = value >= threshold if name == SAID else value < threshold
        return Verdict(float(success), f"{name} is {value:.3f} at the end", {name: value})
