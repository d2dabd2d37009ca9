"""Phys4D's judge: minus the distance between the points that a world model's own heads see in a rollout and those that were really there.

It looks through a learned head, so it must be calibrated before it may train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.posttraining.chamfer import cloud_distances
from worldsim.posttraining.feedback.reward import FEEDBACK, Reward
from worldsim.types import Trajectory


@FEEDBACK.register("chamfer")
@dataclass
class ChamferFeedback:
    """Minus the Chamfer distance of each frame after the first, and its mean (4D Chamfer, arXiv 2603.03485).

    Attributes:
        world_model: name or folder of one with depth and motion heads, which looks at the rollouts.
    """

    name: ClassVar[str] = "chamfer"
    trusted: ClassVar[bool] = False

    world_model: str | None = None

    def __post_init__(self) -> None:
        if self.world_model is None:
            raise InvalidInput(
                "feedback=chamfer looks through a world model with heads; type feedback='{name: chamfer, world_model: FOLDER}'"
            )

    def build(self) -> "ChamferFeedback":
        """Itself."""
        return self

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it."""
        from worldsim.load import find_checkpoint
        from worldsim.registry import WORLD_MODELS
        from worldsim.simulator import read_world_model

        folder = find_checkpoint("world model", self.world_model, WORLD_MODELS.names())
        return {"name": self.name, "sha256": read_world_model(folder)["sha256"]}

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """Rewards up to 0, of each frame after the first and of the clip.

        Raises:
            InvalidInput: a world model without heads, or recordings without depth and camera.
        """
        from worldsim.load import load_world_model
        from worldsim.simulator.clip_geometry import clip_geometry

        model = load_world_model(self.world_model)
        rewards = []
        for rollout, reference in zip(rollouts, references, strict=True):
            depth = clip_geometry(model, rollout.frames[None], rollout.actions[None]).depth[0]
            found = -cloud_distances(depth, reference.states)[1:]
            rewards.append(Reward(float(np.mean(found)), tuple(found.tolist())))
        return rewards
