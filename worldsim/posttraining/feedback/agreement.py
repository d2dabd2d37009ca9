"""A verifier as a judge of the world model: 1 where it says of the imagined clip what is true of the real one, whatever that is.

Success is never rewarded: an imagined failure of what really failed gets the 1, an imagined success gets none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from worldsim.load import load_verifier, part_facts
from worldsim.posttraining.feedback.reward import FEEDBACK, Reward
from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory


@FEEDBACK.register("agreement")
@dataclass
class AgreementFeedback:
    """Whether a verifier's verdict on the imagined clip is what the recorded state says; without states, what it says of the recording.

    Attributes:
        verifier: name, path or mapping of the verifier.
        state: the verifier that knows the recorded state.
    """

    name: ClassVar[str] = "agreement"
    trusted: ClassVar[bool] = False

    verifier: Any = "classifier"
    state: Any = "state"

    def build(self) -> "AgreementFeedback":
        """Itself."""
        return self

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it."""
        return {"name": self.name, "verifier": part_facts(VERIFIERS, self.verifier), "state": part_facts(VERIFIERS, self.state)}

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """1 or 0 for each; None where either could not be told."""
        judge = load_verifier(self.verifier)
        said, seen = judge.judge(rollouts), judge.judge(references)
        known = load_verifier(self.state).judge(references)
        truth = [seen[row].success if verdict.success is None else verdict.success for row, verdict in enumerate(known)]
        return [
            Reward(None if None in (verdict.success, true) else float(verdict.success == true))
            for verdict, true in zip(said, truth, strict=True)
        ]
