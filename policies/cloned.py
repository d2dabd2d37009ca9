"""An image policy learnt by imitation (`worldsim train-policy`): one frame in, one action out, no memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.data.actions import undo
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Task


class ClonedPolicy:
    """Actions of a small convolutional network, clipped to the bounds. Its frames must be of the size it was trained on.

    `normalised`: the network gives numbers in [-1, 1] that stand for the bounds.
    """

    def __init__(self, action: ActionSpec, network: Any, *, normalised: bool = False) -> None:
        self.action, self._network, self._normalised = action, network, normalised

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Nothing to forget."""

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`.

        Raises:
            InvalidInput: frames of another size.
        """
        given = self._network.predict(frames)
        return undo(given, self.action) if self._normalised else np.clip(given, self.action.low, self.action.high).astype(np.float32)


@POLICIES.register("cloned")
@dataclass
class ClonedConfig:
    """A checkpoint folder written by `worldsim train-policy`.

    Attributes:
        path: the folder, or the name of one that ships.
        device: "cpu", "cuda" or "cuda:1".
    """

    path: str
    device: str = "cpu"

    def build(self, action: ActionSpec | None = None) -> ClonedPolicy:
        """Load the checkpoint; `action` is the world's and is compared by whoever joins the two."""
        from worldsim.models.checkpoint import load_checkpoint
        from worldsim.models.convnet import ConvNetConfig

        checkpoint = load_checkpoint(self.path, "policy")
        network = checkpoint.fill("network", ConvNetConfig(**checkpoint.config["network"]).build())
        normalised = checkpoint.config.get("normalised", False)
        return ClonedPolicy(ActionSpec(**checkpoint.config["action"]), network.to(self.device), normalised=normalised)
