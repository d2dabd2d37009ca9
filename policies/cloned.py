"""An image policy learnt by imitation (`worldsim train-policy`): one frame in, one action out, no memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Task


class ClonedPolicy:
    """Actions of a small convolutional network, clipped to the bounds. Its frames must be of the size it was trained on."""

    def __init__(self, action: ActionSpec, network: Any) -> None:
        self.action, self._network = action, network

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Nothing to forget."""

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`.

        Raises:
            InvalidInput: frames of another size.
        """
        return np.clip(self._network.predict(frames), self.action.low, self.action.high).astype(np.float32)


@POLICIES.register("cloned")
@dataclass
class ClonedConfig:
    """A checkpoint folder written by `worldsim train-policy`."""

    path: str
    device: str = "cpu"

    def build(self, action: ActionSpec | None = None) -> ClonedPolicy:
        """Load the checkpoint; `action` is the world's and is compared by whoever joins the two."""
        from worldsim.models.checkpoint import load_checkpoint
        from worldsim.models.convnet import ConvNetConfig

        checkpoint = load_checkpoint(self.path, "policy")
        network = checkpoint.fill("network", ConvNetConfig(**checkpoint.config["network"]).build())
        return ClonedPolicy(ActionSpec(**checkpoint.config["action"]), network.to(self.device))
