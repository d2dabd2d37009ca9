"""People and vision-language models as judges: shown what really happened on the left and the imagined clip on the right, they say whether
both agree. They accept or reject; p(yes) is the reward where it is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.load import load_verifier, part_facts
from worldsim.posttraining.feedback.reward import FEEDBACK, Reward
from worldsim.registry import VERIFIERS
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory, Verdict

GAP = 4  # white columns between the two
PROMPT = "same_motion"
QUESTION = "in both halves of the picture the same things move in the same way and end in the same places"


def beside(rollout: Trajectory, reference: Trajectory) -> Trajectory:
    """The reference on the left, the rollout on the right, frame by frame."""
    gap = np.full((*rollout.frames.shape[:2], GAP, 3), 255, np.uint8)
    frames = np.concatenate([reference.frames, gap, rollout.frames], axis=2)
    about = {"policy": "recorded actions", "world": "imagined", "instruction": QUESTION}
    return Trajectory(rollout.task_id, frames, rollout.actions, metadata=about)


def write_to_label(path: str | Path, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> None:
    """A run folder of the clips side by side, for `worldsim label`; one that is there already is left as it is."""
    task = {"id": rollouts[0].task_id, "instruction": QUESTION}
    identity = {"world_model": {"name": "candidates"}, "verifier": {"name": "none"}, "task": task, "sampler": {}, "seed": 0}
    with RunFolder.open(path, {"identity": identity}) as run:
        for number, (rollout, reference) in enumerate(zip(rollouts, references, strict=True)):
            if not run.has_episode(f"{number:06d}"):
                run.add_episode(f"{number:06d}", beside(rollout, reference))


class SideBySide:
    """What both kinds of judge share: a verifier that is shown both clips at once."""

    trusted: ClassVar[bool] = False
    name: ClassVar[str]
    binary = True

    def build(self) -> "SideBySide":
        """Itself."""
        return self

    def spec(self) -> Any:
        """The verifier, as a name or mapping."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it; "prompt" is what it is asked."""
        known = part_facts(VERIFIERS, self.spec())
        return {"name": self.name, "binary": self.binary, "verifier": known, "prompt": [QUESTION, known.get("prompt")]}

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """1 for accepted, 0 for rejected, or p(yes); None where it could not tell."""
        shown = [beside(a, b) for a, b in zip(rollouts, references, strict=True)]
        return [self._reward(verdict) for verdict in load_verifier(self.spec()).judge(shown)]

    def _reward(self, verdict: Verdict) -> Reward:
        if verdict.success is None:
            return Reward(None)
        return Reward(float(verdict.success) if self.binary else float(verdict.details.get("p", verdict.score)))


@FEEDBACK.register("vlm")
@dataclass
class VlmFeedback(SideBySide):
    """A vision-language model.

    Attributes:
        verifier: which one, a mapping as `evaluate` takes it: {name: vlm, model: NAME} or {name: vlm-local, path: FOLDER}.
        binary: accept or reject; else p(yes).
    """

    name: ClassVar[str] = "vlm"

    verifier: Any = None
    binary: bool = True

    def __post_init__(self) -> None:
        if self.verifier is None:
            raise InvalidInput("feedback=vlm needs a model; type feedback='{name: vlm, verifier: {name: vlm-local, path: FOLDER}}'")

    def spec(self) -> Any:
        """The model, as `evaluate` takes it, asked by the prompt for two halves unless it says otherwise."""
        given = dict(self.verifier) if isinstance(self.verifier, Mapping) else {"name": self.verifier}
        return {"prompt": PROMPT} | given


@FEEDBACK.register("human")
@dataclass
class HumanFeedback(SideBySide):
    """People, through `worldsim label`: they are whom other judges are calibrated against, so they may train at once.

    Attributes:
        labels: run folder that was labelled, or file of labels exported from one; y is "both agree". None writes the run folder first.
        rater: whose; None is the majority.
    """

    name: ClassVar[str] = "human"
    trusted: ClassVar[bool] = True

    labels: str | None = None
    rater: str | None = None

    def spec(self) -> Any:
        """The labels as a verifier."""
        return {"name": "human", "labels": self.labels, "rater": self.rater}
