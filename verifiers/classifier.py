"""A learnt judge (`worldsim train-verifier`): reads a state off the last frame and says how likely it passes the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict


class Classifier:
    """Estimates a state from the last frame; the score is a probability calibrated on held-out episodes."""

    def __init__(self, network: Any, config: dict) -> None:
        self._network, self.card = network, config
        self._target, self._threshold = config["target"], config["threshold"]
        self._scale, self._slope, self._offset = config["scale"], config["calibration"]["slope"], config["calibration"]["offset"]

    def estimate(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 `[N, H, W, 3]` to the estimated state `[N]`, in its own unit.

        Raises:
            InvalidInput: frames of another size.
        """
        return self._network.predict(frames)[:, 0].astype(np.float64) * self._scale

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """The probability of success of each, at its last frame."""
        values = self.estimate(np.stack([trajectory.frames[-1] for trajectory in trajectories])) if trajectories else []
        return [self._verdict(float(value)) for value in values]

    def _verdict(self, value: float) -> Verdict:
        score = 1 / (1 + np.exp(-(self._slope * (self._threshold - value) + self._offset)))
        return Verdict(float(score), f"{self._target} looks like {value:.3f} at the end", {self._target: value})


@VERIFIERS.register("classifier")
@dataclass
class ClassifierConfig:
    """A checkpoint folder written by `worldsim train-verifier`; by default the shipped judge of the drawer."""

    path: str = "classifier"

    def build(self) -> Classifier:
        """Load the checkpoint."""
        from worldsim.load import shipped_folder
        from worldsim.models.checkpoint import load_checkpoint
        from worldsim.models.convnet import ConvNetConfig

        checkpoint = load_checkpoint(shipped_folder("verifiers", self.path) or self.path, "verifier")
        return Classifier(checkpoint.fill("network", ConvNetConfig(**checkpoint.config["network"]).build()), checkpoint.config)
