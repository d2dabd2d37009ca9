"""Inverse dynamics as a judge: whether the action that a small network reads off two imagined frames is the one that was given.

The network learns that on real recordings only (the idea of RLIR, arXiv 2509.23958), so that what it rewards is that actions act as they do
in the real world.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from worldsim.data.actions import normalise
from worldsim.errors import InvalidInput
from worldsim.posttraining.feedback.reward import FEEDBACK, Reward
from worldsim.types import ActionSpec, Trajectory

KIND = "inverse_dynamics"
PIECE = 256  # pairs of frames per call of the network


@FEEDBACK.register(KIND)
@dataclass
class InverseDynamicsFeedback:
    """The share of steps whose action is read off as given; only components that can be read off real frames count.

    Attributes:
        path: checkpoint folder, `RUN/inverse_dynamics` of a post-training; None trains one on the recordings first.
        tolerance: how far the read action may be from the given one, as a share of its range, to count as the same.
    """

    name: ClassVar[str] = KIND
    trusted: ClassVar[bool] = False

    path: str | None = None
    tolerance: float = 0.15

    def build(self) -> "InverseDynamics":
        """Load the network.

        Raises:
            InvalidInput: none was trained, or it cannot read any component.
        """
        from worldsim.models.checkpoint import load_checkpoint
        from worldsim.models.video_convnet import VideoConvNetConfig

        if self.path is None:
            raise InvalidInput("feedback=inverse_dynamics needs a trained network; type feedback='{name: inverse_dynamics, path: FOLDER}'")
        checkpoint = load_checkpoint(self.path, KIND)
        network = checkpoint.fill("network", VideoConvNetConfig(**checkpoint.config["network"]).build())
        return InverseDynamics(network, checkpoint.config, self.tolerance)


class InverseDynamics:
    """The judge itself."""

    name, trusted = KIND, False

    def __init__(self, network: Any, card: dict[str, Any], tolerance: float) -> None:
        self._network, self._spec = network, ActionSpec(**card["action"])
        self._readable = np.array(card["readable"], bool)
        if not self._readable.any():
            raise InvalidInput("no component of the action can be read off neighbouring frames of these recordings; ask another judge")
        self._tolerance = tolerance
        self.facts = {"name": KIND, "sha256": card["sha256"], "tolerance": tolerance}

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """1 or 0 for each step, and their mean."""
        return [self._score(rollout) for rollout in rollouts]

    def apart(self, rollout: Trajectory) -> np.ndarray:
        """How far the action that is read is from the given one, by step and readable component, as a share of its range; `[T, A']`."""
        read = read_actions(self._network, neighbours(rollout.frames))
        return np.abs(read - normalise(rollout.actions, self._spec))[:, self._readable] / 2  # normalised actions span 2

    def _score(self, rollout: Trajectory) -> Reward:
        right = (self.apart(rollout) <= self._tolerance).all(1).astype(float)
        return Reward(float(right.mean()), tuple(right))


def neighbours(frames: np.ndarray) -> np.ndarray:
    """Every two neighbouring frames of uint8 `[T + 1, H, W, 3]`, `[T, 2, H, W, 3]`."""
    return np.stack([frames[:-1], frames[1:]], axis=1)


def read_actions(network: Any, clips: np.ndarray) -> np.ndarray:
    """The normalised actions that the network reads off pairs of frames, `[N, A]`."""
    import torch

    with torch.no_grad():
        return np.concatenate([network(torch.from_numpy(clips[at : at + PIECE])).numpy() for at in range(0, len(clips), PIECE)])


class ReadingActions:
    """The objective that it is trained by: smooth absolute error of the normalised actions. For `worldsim.training.loop`."""

    def __init__(self, model: Any, recorded: Sequence[Trajectory], spec: ActionSpec, batch: int = 64) -> None:
        self.model, self.batch = model, batch
        self._frames = np.concatenate([neighbours(each.frames) for each in recorded])
        self._actions = np.concatenate([normalise(each.actions, spec) for each in recorded])

    def loss(self, generator: Any) -> Any:
        """Mean error of one batch."""
        import torch

        from worldsim.models.autoencoder import to_unit
        from worldsim.training.wear import worn

        rows = torch.randint(len(self._actions), (self.batch,), generator=generator).numpy()
        clips = worn(to_unit(torch.from_numpy(self._frames[rows])), generator, 0)
        return torch.nn.functional.smooth_l1_loss(self.model(clips), torch.from_numpy(self._actions[rows]), beta=0.1)

    def preview(self, path: Path) -> None:
        """There is no picture to show."""


def explained(network: Any, recorded: Sequence[Trajectory], spec: ActionSpec) -> np.ndarray:
    """The share of each component's variance that is read off recordings, R squared `[A]`; 0 for a component that never changes."""
    given = np.concatenate([normalise(each.actions, spec) for each in recorded])
    read = np.concatenate([read_actions(network, neighbours(each.frames)) for each in recorded])
    spread = given.var(0)
    return np.where(spread > 0, 1 - ((read - given) ** 2).mean(0) / np.where(spread > 0, spread, 1), 0.0)
