"""Random models that are quick to evaluate. Every weight is stirred, also those that begin at zero, so that no path is silent."""

import numpy as np
import torch

from worldsim.models.autoencoder import Autoencoder, AutoencoderConfig
from worldsim.models.convnet import ConvNet, ConvNetConfig
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.types import ActionSpec, WorldSpec

ACTION = ActionSpec(names=("x", "y", "z"), low=(-1.0, -1.0, -2.0), high=(1.0, 1.0, 2.0), rate_hz=10.0)
SPEC = WorldSpec(height=32, width=32, action=ACTION, context=4, fps=10.0)
TRUNKS = {
    "unet": {"channels": (16, 32), "levels": (("res", "conv"), ("res", "conv", "time", "space"))},
    "transformer": {"channels": (32,), "levels": (("space", "time", "space"),), "patch": 2},
    "hybrid": {"channels": (32,), "levels": (("res", "conv", "time", "space"),), "patch": 2},
}


def stir(module: torch.nn.Module, seed: int = 0, size: float = 0.1) -> torch.nn.Module:
    """`module` with noise added to every parameter, in place, and every value one that float16 can hold, so that checkpoints keep it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
            parameter.copy_(parameter.half())
    return module.eval()


def network(trunk: str = "unet", *, causal: bool = True, seed: int = 0, window: int = 4) -> VideoUNet:
    """A stirred video network on 4 x 4 latents of 4 channels."""
    torch.manual_seed(seed)
    sizes = {"latent_channels": 4, "latent_size": 4, "embedding": 32, "window": window, "causal": causal}
    return stir(VideoUNetConfig(**sizes, **TRUNKS[trunk]).build(), seed)


def autoencoder(seed: int = 0) -> Autoencoder:
    """A stirred autoencoder of 32 x 32 frames."""
    torch.manual_seed(seed)
    return stir(AutoencoderConfig(latent_channels=4, width=8, frame_size=32).build(), seed, size=0.02)


def convnet(outputs: int = 3, seed: int = 0) -> ConvNet:
    """A stirred picture network of 32 x 32 frames."""
    torch.manual_seed(seed)
    return stir(ConvNetConfig(outputs=outputs, width=4, frame_size=32).build(), seed, size=0.02)


def world_model(trunk: str = "unet", seed: int = 0, **sampler: object) -> VideoWorldModel:
    """A world model of 32 x 32 frames, in float32."""
    return VideoWorldModel(SPEC, network(trunk, seed=seed), autoencoder(seed), Sampler(**sampler))


def pictures(lanes: int, frames: int = 1, seed: int = 0) -> np.ndarray:
    """uint8 `[lanes, frames, 32, 32, 3]` of noise."""
    return np.random.default_rng(seed).integers(0, 256, (lanes, frames, 32, 32, 3), dtype=np.uint8)


def actions(lanes: int, steps: int, seed: int = 0) -> np.ndarray:
    """float32 `[steps, lanes, 3]` within the bounds."""
    return np.random.default_rng(seed).uniform(ACTION.low, ACTION.high, (steps, lanes, 3)).astype(np.float32)
