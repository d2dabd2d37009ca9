"""DIAMOND's Atari world model (Alonso et al. 2024), from a checkout of it: its denoiser and sampler, timed as they are.

Only its model files are loaded. What they import besides torch stands in empty: `data.Batch` and `utils.LossAndLogs` are names in
annotations there, and `models` is a bare package, so that its agent and its actor-critic stay unread.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worldsim.experiments.peers.borrowed import imported, importing_from, require_files, stand_in
from worldsim.experiments.peers.ours import OwnModel, Setting, wake
from worldsim.experiments.peers.timing import Contender
from worldsim.models.autoencoder import AutoencoderConfig
from worldsim.models.checkpoint import parameter_count
from worldsim.models.video_unet import VideoUNetConfig

COMMIT, SOURCE = "5bcd159", "eloialonso/diamond"
SIDE, CONDITIONING, STEPS, ACTIONS = 64, 4, 3, 18
INNER = {"cond_channels": 256, "depths": [2, 2, 2, 2], "channels": [64, 64, 64, 64], "attn_depths": [False] * 4}
WANTED = ("Denoiser", "DenoiserConfig", "InnerModelConfig", "DiffusionSampler", "DiffusionSamplerConfig", "SigmaDistributionConfig")
OURS = {"8x8 latents": OwnModel(VideoUNetConfig(channels=(64, 128)), AutoencoderConfig())}  # DIAMOND has no decoder, ours is counted
SETTINGS = (Setting(4, guided=True), Setting(4, guided=False), Setting(3, guided=False))


@dataclass(frozen=True)
class Diamond:
    """DIAMOND's classes, and its model with the values of its Atari configuration."""

    classes: dict[str, Any]
    denoiser: nn.Module

    @property
    def parameters(self) -> int:
        """Of the denoiser; reward and end model, which an agent needs besides, are not counted."""
        return parameter_count(self.denoiser)

    def facts(self) -> dict[str, Any]:
        """What the numbers depend on, as JSON."""
        return {"steps": STEPS, "conditioning_frames": CONDITIONING, "pixels": [SIDE, SIDE, 3], "space": "pixels"}

    def sampler(self) -> Any:
        """Its own, with its own defaults: Euler steps."""
        return self.classes["DiffusionSampler"](self.denoiser, self.classes["DiffusionSamplerConfig"](num_steps_denoising=STEPS))

    def running(self, lanes: int) -> Contender:
        """A frame of each lane after four random ones."""
        wake(self.denoiser)
        sampler, generator = self.sampler(), torch.Generator().manual_seed(0)
        seen = 2 * torch.rand(lanes, CONDITIONING, 3, SIDE, SIDE, generator=generator) - 1
        actions = torch.randint(ACTIONS, (lanes, CONDITIONING), generator=generator)
        return Contender(lambda: sampler.sample(seen, actions), lanes)


def load(path: str) -> Diamond:
    """DIAMOND's model, freshly initialised, from the checkout at `path`.

    Raises:
        PeerMissing, InvalidInput: no checkout, or one of another commit.
    """
    source = Path(path) / "src"
    require_files(source, "models/diffusion/denoiser.py", "diamond", SOURCE)
    stand_ins = {
        "data": stand_in("data", Batch=object),
        "utils": stand_in("utils", LossAndLogs=object),
        "models": stand_in("models", folder=source / "models"),
    }
    with importing_from(source, (), stand_ins):
        classes = dict(zip(WANTED, imported("models.diffusion", "diamond", COMMIT, *WANTED), strict=True))
        inner = classes["InnerModelConfig"](img_channels=3, num_steps_conditioning=CONDITIONING, num_actions=ACTIONS, **INNER)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            denoiser = classes["Denoiser"](classes["DenoiserConfig"](inner, sigma_data=0.5, sigma_offset_noise=0.3))
    return Diamond(classes, denoiser)
