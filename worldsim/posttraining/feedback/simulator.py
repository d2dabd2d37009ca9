"""The true world as a judge: how far an imagined clip lies from what was recorded under the same actions. Needs no calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.posttraining.feedback.reward import FEEDBACK, Reward
from worldsim.types import Trajectory

MEASURES = ("pixels", "reading")


@FEEDBACK.register("simulator")
@dataclass
class SimulatorFeedback:
    """Minus the distance of each imagined frame from the recorded one, and its mean.

    Attributes:
        measure: "pixels" is the root mean squared difference, in [0, 1]; "reading" what a verifier reads off imagined frames (the shipped
            classifier: the drawer's opening, in metres) against the recorded state of the same name.
        verifier: that one; it must estimate a state.
    """

    name: ClassVar[str] = "simulator"
    trusted: ClassVar[bool] = True

    measure: str = "pixels"
    verifier: str = "classifier"

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise InvalidInput(f"measure is {self.measure}, expected {' or '.join(MEASURES)}")

    def build(self) -> "SimulatorFeedback":
        """Itself."""
        return self

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it."""
        if self.measure == "pixels":
            return {"name": self.name, "measure": self.measure}
        from worldsim.load import part_facts
        from worldsim.registry import VERIFIERS

        return {"name": self.name, "measure": self.measure, "verifier": part_facts(VERIFIERS, self.verifier)}

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """Rewards up to 0, of each frame after the first and of the clip.

        Raises:
            InvalidInput: a verifier that estimates nothing, or a state that was not recorded.
        """
        distances = _pixels if self.measure == "pixels" else self._readings()
        found = [distances(a, b) for a, b in zip(rollouts, references, strict=True)]
        return [Reward(-float(each.mean()), tuple(-each.astype(float))) for each in found]

    def _readings(self) -> Any:
        from worldsim.load import load_verifier

        judge = load_verifier(self.verifier)
        about = getattr(judge, "card", {}).get("estimates")
        if not about:
            raise InvalidInput(f"verifier {self.verifier} reads no state off frames; type feedback=simulator, which compares pixels")
        return lambda rollout, reference: _read_off(judge, about["name"], rollout, reference)


def _pixels(rollout: Trajectory, reference: Trajectory) -> np.ndarray:
    """`[L - 1]`."""
    apart = (rollout.frames[1:].astype(np.float32) - reference.frames[1:]) / 255
    return np.sqrt((apart**2).mean((1, 2, 3)))


def _read_off(judge: Any, name: str, rollout: Trajectory, reference: Trajectory) -> np.ndarray:
    if name not in reference.states:
        raise InvalidInput(f'the recordings hold no state "{name}"; type feedback=simulator, which compares pixels')
    steps = range(1, len(rollout.frames))
    said = judge.judge([Trajectory(rollout.task_id, rollout.frames[: t + 1], rollout.actions[:t]) for t in steps])
    return np.abs(np.array([verdict.details[name] for verdict in said]) - reference.states[name][1:])
