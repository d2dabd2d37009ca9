"""Our world models of a peer's size, with random weights, as jobs to be timed. Knows no peer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldsim.experiments.peers.timing import Contender
from worldsim.models.autoencoder import AutoencoderConfig
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.types import ActionSpec, WorldSpec

GUIDANCE = 1.5  # any value but 1 costs a second branch


@dataclass(frozen=True)
class Setting:
    """How our model is sampled in one row of the comparison."""

    steps: int
    guided: bool

    def __str__(self) -> str:
        return f"{self.steps} steps{', guided' if self.guided else ''}"

    def sampler(self) -> Sampler:
        """As options of the simulator; features of history are kept."""
        return Sampler(steps=self.steps, guidance=GUIDANCE if self.guided else 1.0, history="stream")


@dataclass(frozen=True)
class OwnModel:
    """A network of ours, and the autoencoder that is counted and timed with it (None: neither side decodes)."""

    network: VideoUNetConfig
    autoencoder: AutoencoderConfig | None = None

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on, as JSON."""
        network = self.network.build()
        decoder = "counted and timed" if self.autoencoder else "left out on both sides"
        return {"latent": list(network.latent_shape), "network": network.describe(), "history": "stream", "decoder": decoder}

    def build(self) -> tuple[VideoUNet, nn.Module]:
        """Both parts, random but the same in every run, and none silent."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.network.build()
            autoencoder = Undecoded(network.latent_shape) if self.autoencoder is None else self.autoencoder.build()
        network.set_causal(causal=True)
        return wake(network), wake(autoencoder)


class Undecoded(nn.Module):
    """In place of an autoencoder: latents of noise for every frame, and a blank pixel for every latent."""

    def __init__(self, latent_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.latent_shape = latent_shape

    def encode(self, frames: Tensor) -> Tensor:
        """`[N, h, w, C]`."""
        return torch.randn(len(frames), *self.latent_shape, generator=torch.Generator().manual_seed(0))

    def decode(self, latents: Tensor) -> Tensor:
        """`[N, 1, 1, 3]`."""
        return latents.new_zeros(len(latents), 1, 1, 3)


def wake(module: nn.Module, size: float = 0.02) -> nn.Module:
    """`module` with small random numbers where a whole parameter is zero, so that no part of it is trivial."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module.eval().requires_grad_(requires_grad=False)


def running(own: OwnModel, setting: Setting, lanes: int) -> Contender:
    """Our model in the middle of an episode, its window full. A call makes as many frames as pass between two moves of its memory."""
    network, autoencoder = own.build()
    side = 1 if own.autoencoder is None else own.autoencoder.frame_size
    size = network.action_size
    spec = WorldSpec(side, side, ActionSpec(tuple(map(str, range(size))), (-1.0,) * size, (1.0,) * size, 10.0), network.window, 10.0)
    model, rng = VideoWorldModel(spec, network, autoencoder, setting.sampler()), np.random.default_rng(0)
    state = model.start(rng.integers(0, 256, (lanes, 1, side, side, 3), dtype=np.uint8), np.arange(lanes))
    count = max(1, network.window // 2) + 1

    def make(frames: int) -> None:
        nonlocal state
        for _ in range(frames):
            state, _ = model.step(state, rng.uniform(-1, 1, (lanes, size)).astype(np.float32))

    make(network.window)
    return Contender(lambda: make(count), count * lanes)
