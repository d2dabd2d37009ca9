"""Our model as a learner: a causal network trained from random weights by our own loss, on latents of the shipped autoencoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from worldsim.data.actions import normalise
from worldsim.experiments.continuations import continue_stepwise
from worldsim.experiments.peers.ours import Setting
from worldsim.experiments.peers.quality import GIVEN, Recordings
from worldsim.models.autoencoder import Autoencoder, to_pixels
from worldsim.models.video_unet import VideoUNetConfig
from worldsim.training.latents import LatentClips, encode_frames, encode_trajectories
from worldsim.types import ActionSpec, WorldSpec

FOCUS = ("opening",)  # clips are drawn more often around its movement, on both sides


def shipped_autoencoder() -> Autoencoder:
    """That of the shipped drawer world, trained and frozen, in float32."""
    from worldsim.load import load_world_model

    return load_world_model("drawer", precision="fp32").autoencoder.requires_grad_(requires_grad=False)


def latent_clips(recordings: Recordings, autoencoder: Autoencoder, length: int) -> LatentClips:
    """Clips of `length` frames."""
    return encode_trajectories(autoencoder, recordings.train, recordings.action, length, focus=FOCUS)


def actions_into(recordings: Recordings, actions: np.ndarray) -> Tensor:
    """`[N, T - 1, A]` between T frames as normalised actions into each of them, `[N, T, A]`, zeros into the first."""
    normal = np.stack([normalise(each, recordings.action) for each in actions])
    return torch.from_numpy(np.concatenate([np.zeros_like(normal[:, :1]), normal], axis=1))


def encoded(autoencoder: Autoencoder, frames: np.ndarray) -> Tensor:
    """uint8 `[N, T, H, W, 3]` to latents `[N, T, h, w, C]`."""
    return encode_frames(autoencoder, frames.reshape(-1, *frames.shape[2:])).unflatten(0, frames.shape[:2])


@torch.no_grad()
def decoded(autoencoder: Autoencoder, latents: Tensor) -> np.ndarray:
    """Latents `[N, T, h, w, C]` to uint8 `[N, T, H, W, 3]`."""
    return to_pixels(autoencoder.decode(latents.flatten(0, 1))).unflatten(0, latents.shape[:2]).numpy()


@dataclass(frozen=True)
class OwnKind:
    """Sizes of our network, frames per clip, clips per step, and the settings that it is scored with."""

    network: VideoUNetConfig
    clip: int
    settings: tuple[Setting, ...]
    batch: int = 8


class OwnLearner:
    """Diffusion forcing with two streams from the first step on: no pretraining, no causalization, none of its own frames as history."""

    rate = 1e-3

    def __init__(self, kind: OwnKind, recordings: Recordings, autoencoder: Autoencoder) -> None:
        from worldsim.diffusion.schedule import get_schedule
        from worldsim.training.loss import Diffusion
        from worldsim.training.stages import VideoObjective, VideoOptions

        self.kind, self.recordings, self.autoencoder = kind, recordings, autoencoder
        network = kind.network.build()
        network.set_causal(causal=True)
        self.model: nn.Module = network
        clips, diffusion = latent_clips(recordings, autoencoder, kind.clip), Diffusion(get_schedule("linear"))
        self.objective = VideoObjective(network, autoencoder, clips, diffusion, VideoOptions(batch=kind.batch, dropout=0.1))

    def loss(self, generator: torch.Generator) -> Tensor:
        """Of `worldsim.training`."""
        return self.objective.loss(generator)

    def continuations(self, given: np.ndarray, actions: np.ndarray) -> dict[str, np.ndarray]:
        """One for each setting, and what the autoencoder alone makes of the truth."""
        made = {str(setting): self._continued(setting, given, actions) for setting in self.kind.settings}
        truth = self.recordings.frames[:, GIVEN:]
        return made | {"autoencoder on the truth": decoded(self.autoencoder, encoded(self.autoencoder, truth))}

    def _continued(self, setting: Setting, given: np.ndarray, actions: np.ndarray) -> np.ndarray:
        from worldsim.simulator import VideoWorldModel

        spec: ActionSpec = self.recordings.action
        world = WorldSpec(*given.shape[2:4], spec, self.model.window, spec.rate_hz)
        model = VideoWorldModel(world, self.model, self.autoencoder, setting.sampler())
        return continue_stepwise(model, given, actions[:, GIVEN - 1 :], range(len(given)), actions[:, : GIVEN - 1])
