"""A learnt judge (`worldsim train-verifier`): says how likely the last frames of an episode show success, or that it cannot tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict

RULES = ("last_step", "ever")
PIECE = 64  # clips per call of the network


class Classifier:
    """Probabilities calibrated on held-out episodes; `score` has the threshold at one half, `details["p"]` is the probability itself.

    Between the two ends of its band it abstains: the verdict has no score. Under the rule "ever" the likeliest moment counts.
    """

    def __init__(self, network: Any, card: dict[str, Any]) -> None:
        """`card` is what the checkpoint says: threshold, band, rule, temperature, and what the second output estimates."""
        self._network, self.card = network, card

    def outputs(self, clips: np.ndarray) -> np.ndarray:
        """Clips uint8 `[N, k, H, W, 3]` to the calibrated probability of success and the other estimates, float64 `[N, outputs]`.

        Raises:
            InvalidInput: frames of another size, or another number of them.
        """
        import torch

        from worldsim.statistics import probability_of

        shape = self._network.config
        if clips.shape[1:] != (wanted := (shape.frames, shape.height, shape.width, 3)):
            raise InvalidInput(f"clips have shape {list(clips.shape)}, this judge was trained on [N, {', '.join(map(str, wanted))}]")
        device = next(self._network.parameters()).device
        with torch.no_grad():
            parts = [self._network(torch.from_numpy(clips[at : at + PIECE]).to(device)).float().cpu() for at in range(0, len(clips), PIECE)]
        said = torch.cat(parts).double().numpy()
        said[:, 0] = probability_of(said[:, 0], self.card["temperature"])
        if about := self.card["estimates"]:
            said[:, 1] = said[:, 1] * about["scale"] + about["boundary"]
        return said

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """The verdict on each, by its last frames, or by those up to its likeliest step."""
        return [self._judge(trajectory) for trajectory in trajectories]

    def _judge(self, trajectory: Trajectory) -> Verdict:
        last = len(trajectory.frames) - 1
        ends = np.arange(last + 1) if self.card["rule"] == "ever" else np.array([last])
        rows = (ends[:, None] + np.arange(1 - self._network.config.frames, 1)).clip(min=0)
        said = np.concatenate([self.outputs(trajectory.frames[part]) for part in np.array_split(rows, -(-len(rows) // PIECE))])
        best = int(np.argmax(said[:, 0]))
        return self._verdict(said[best], "at the end" if ends[best] == last else f"at step {ends[best]}")

    def _verdict(self, said: np.ndarray, when: str) -> Verdict:
        from worldsim.statistics import centred

        p, about, (low, high) = float(said[0]), self.card["estimates"], self.card["band"]
        details = {"p": p} | ({about["name"]: float(said[1])} if about else {})
        if low <= p < high:
            return Verdict(None, f"could not tell: success looks {p:.0%} likely {when}, between {low:.2f} and {high:.2f}", details)
        looks = f", {about['name']} like {said[1]:.3f}" if about else ""
        return Verdict(centred(p, self.card["threshold"]), f"success looks {p:.0%} likely {when}{looks}", details)


@VERIFIERS.register("classifier")
@dataclass
class ClassifierConfig:
    """A checkpoint folder written by `worldsim train-verifier`; by default the shipped judge of the drawer.

    Attributes:
        path: the folder, or the name of one that ships.
        threshold: probability from which on it is success; None takes the checkpoint's, as for all that follow.
        band: two probabilities, between which the judge abstains; [] for none.
        rule: "last_step", or "ever" for success at any step.
        features: folder of the frozen picture model, where the judge stands on one and it has moved.
        device: where the network runs.
    """

    identified_by: ClassVar = ("temperature", "threshold", "band", "rule", "estimates")  # of a checkpoint's config, besides its weights

    path: str = "classifier"
    threshold: float | None = None
    band: list[float] | None = None
    rule: str | None = None
    features: str | None = None
    device: str = "cpu"

    def build(self) -> Classifier:
        """Load the checkpoint.

        Raises:
            InvalidInput: no such checkpoint, one of an earlier version, or options that cannot be.
            DamagedFile: it is not whole.
        """
        from worldsim.load import shipped_folder
        from worldsim.models.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(shipped_folder("verifiers", self.path) or self.path, "verifier")
        if "temperature" not in checkpoint.config:
            raise InvalidInput(f"{self.path} is a judge of an earlier version of worldsim; train it again: worldsim train-verifier")
        shape = checkpoint.config["network"] | ({"features": self.features} if self.features else {})
        network = checkpoint.fill("network", build_network(shape)).to(self.device)
        return Classifier(network, checkpoint.config | self._replaced(checkpoint.config))

    def _replaced(self, card: dict[str, Any]) -> dict[str, Any]:
        """Threshold, band and rule, those given before those of the checkpoint; a given threshold takes the checkpoint's band away."""
        threshold = card["threshold"] if self.threshold is None else self.threshold
        kept = card["band"] if self.threshold is None else []
        band = list(kept if self.band is None else self.band) or [threshold, threshold]
        rule = self.rule or card["rule"]
        if not 0 <= threshold <= 1:
            raise InvalidInput(f"threshold is {threshold}, expected a probability between 0 and 1 such as 0.5")
        if len(band) != 2 or not 0 <= band[0] <= threshold <= band[1]:
            raise InvalidInput(f"band is {band}, expected two probabilities with the threshold ({threshold:.3g}) between them")
        if rule not in RULES:
            raise InvalidInput(f'rule is "{rule}", expected {" or ".join(RULES)}')
        return {"threshold": threshold, "band": band, "rule": rule}


def build_network(shape: dict[str, Any]) -> Any:
    """The network that a checkpoint or a recipe describes: a small convolutional one, or a head on a frozen picture model."""
    if "features" in shape:
        from worldsim.models.frozen_features import FeatureHeadConfig

        return FeatureHeadConfig(**shape).build()
    from worldsim.models.video_convnet import VideoConvNetConfig

    return VideoConvNetConfig(**shape).build()
