"""DIAMOND as a learner: its denoiser under its own loss, from random weights, on pixels."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from worldsim.data.windows import windows_over
from worldsim.experiments.peers.diamond import CONDITIONING, INNER, SETTINGS, Diamond
from worldsim.experiments.peers.learners import FOCUS, OwnKind, actions_into
from worldsim.experiments.peers.quality import GIVEN, Recordings
from worldsim.models.autoencoder import to_pixels, to_unit
from worldsim.models.video_unet import VideoUNetConfig

OWN = OwnKind(VideoUNetConfig(channels=(64, 128)), clip=12, settings=SETTINGS)
NOISE = {"loc": -0.4, "scale": 1.2, "sigma_min": 2e-3, "sigma_max": 20}  # of its training configuration
ABOUT = (
    "both are given 4 true frames and the recorded actions; DIAMOND takes our actions through a linear layer in place of its table of "
    "18 buttons; its batch (4) and learning rate (1e-3) are the best of three tried for so short a training, ours are those of our stage "
    "posttrain; our autoencoder came trained, outside the budget"
)


class DiamondLearner:
    """Its `Denoiser.forward` on five frames at a time."""

    rate, batch = 1e-3, 4

    def __init__(self, peer: Diamond, recordings: Recordings) -> None:
        self.peer, self.recordings, self.model = peer, recordings, peer.denoiser
        features = INNER["cond_channels"] // CONDITIONING
        self.model.inner_model.act_emb = nn.Sequential(nn.Linear(recordings.action.size, features), nn.Flatten())
        self.model.requires_grad_(requires_grad=True).train()
        self.model.setup_training(peer.classes["SigmaDistributionConfig"](**NOISE))
        self.windows = windows_over(recordings.train, CONDITIONING + 1, FOCUS)
        self.frames = torch.from_numpy(np.concatenate([each.frames for each in recordings.train]))
        self.actions = torch.cat([actions_into(recordings, each.actions[None])[0] for each in recordings.train])

    def loss(self, generator: torch.Generator) -> Tensor:
        """Of its own making; the noise is drawn from torch's default generator, as it does."""
        rows = torch.from_numpy(self.windows.draw(self.batch, generator))
        whole = torch.ones(rows.shape, dtype=torch.bool)
        batch = SimpleNamespace(obs=_planes(self.frames[rows]), act=self.actions[rows[:, 1:]], mask_padding=whole)
        return self.model(batch)[0]

    def continuations(self, given: np.ndarray, actions: np.ndarray) -> dict[str, np.ndarray]:
        """By its own sampler."""
        frames, leaving = list(_planes(torch.from_numpy(given)).unbind(1)), actions_into(self.recordings, actions)[:, 1:]
        sampler = self.peer.sampler()
        for t in range(leaving.shape[1] - GIVEN + 1):
            frame, _ = sampler.sample(torch.stack(frames[-CONDITIONING:], dim=1), leaving[:, t : t + CONDITIONING])
            frames.append(frame)
        return {"": to_pixels(torch.stack(frames[GIVEN:], dim=1).movedim(2, -1)).numpy()}


def _planes(frames: Tensor) -> Tensor:
    """uint8 `[B, T, H, W, 3]` to float32 `[B, T, 3, H, W]` in [-1, 1]."""
    return to_unit(frames).movedim(-1, 2).contiguous()


def learner(path: str, recordings: Recordings, autoencoder: nn.Module) -> DiamondLearner:
    """A fresh one from the checkout at `path`."""
    from worldsim.experiments.peers.diamond import load

    return DiamondLearner(load(path), recordings)
