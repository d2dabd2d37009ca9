"""WorldGym as a learner: its transformer under its own loss, from random weights, on latents of our shipped autoencoder."""

import numpy as np
import torch
from torch import Tensor

from worldsim.experiments.peers.learners import OwnKind, actions_into, decoded, encoded, latent_clips
from worldsim.experiments.peers.quality import GIVEN, Recordings
from worldsim.experiments.peers.worldgym import SETTINGS, WINDOW, WorldGym
from worldsim.models.autoencoder import Autoencoder
from worldsim.models.video_unet import VideoUNetConfig

OWN = OwnKind(VideoUNetConfig(window=WINDOW - 1), clip=WINDOW, settings=SETTINGS)
ABOUT = (
    "both are given 4 true frames and the recorded actions, and work on the same 8 x 8 x 12 latents, not on those of the speed rows; the "
    "autoencoder came trained, outside the budget; WorldGym's batch (4) and learning rate (2e-3) were chosen for so short a training, "
    "within 0.4 dB of the best of five trials of 45 s; ours are those of our stage posttrain"
)


class WorldGymLearner:
    """Its `Diffusion.loss_fn` on clips of a whole window."""

    rate, batch = 2e-3, 4

    def __init__(self, peer: WorldGym, recordings: Recordings, autoencoder: Autoencoder) -> None:
        self.peer, self.recordings, self.autoencoder, self.model = peer, recordings, autoencoder, peer.model.train()
        self.clips = latent_clips(recordings, autoencoder, WINDOW)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Of its own making; the noise is drawn from torch's default generator, as it does."""
        return self.peer.diffusion.loss_fn(self.model, *self.clips.draw(self.batch, generator))

    def continuations(self, given: np.ndarray, actions: np.ndarray) -> dict[str, np.ndarray]:
        """By its own sampler, a frame at a time."""
        latents = self.peer.continued(encoded(self.autoencoder, given), actions_into(self.recordings, actions))
        return {"": decoded(self.autoencoder, latents[:, GIVEN:])}


def learner(path: str, recordings: Recordings, autoencoder: Autoencoder) -> WorldGymLearner:
    """A fresh one from the checkout at `path`."""
    from worldsim.experiments.peers.worldgym import load

    channels = autoencoder.config.latent_channels
    return WorldGymLearner(load(path, channels=channels, action=recordings.action.size), recordings, autoencoder)
