"""Depth and motion of clips that are there already, recorded or imagined, by the heads of a world model. Knows no truth to compare with."""

import numpy as np
import torch

from worldsim.data.actions import normalise
from worldsim.errors import InvalidInput
from worldsim.models.autoencoder import to_unit
from worldsim.models.checkpoint import use_precision
from worldsim.models.geometry_heads import Geometry
from worldsim.models.network import first_unled
from worldsim.simulator.denoising import HISTORY_STEP
from worldsim.simulator.world_model import VideoWorldModel


@torch.no_grad()
def clip_geometry(model: VideoWorldModel, frames: np.ndarray, actions: np.ndarray) -> Geometry:
    """What the heads say of each frame, held as history is, from itself and those before it; one pass over all frames.

    Args:
        model: with heads.
        frames: uint8 `[B, T, H, W, 3]`.
        actions: float32 `[B, T - 1, A]` between them.

    Returns:
        float32 arrays `[B, T, H, W]` and `[B, T, H, W, 2]`; motion into the first frame is NaN.

    Raises:
        InvalidInput: a network without heads, or frames and actions that are not the model's.
    """
    frames, network, denoiser = model.spec.check_frames(frames), model.network, model.denoiser
    lanes, count = frames.shape[:2]
    if actions.shape != (lanes, count - 1, network.action_size):
        expected = [lanes, count - 1, network.action_size]
        raise InvalidInput(f"{count} frames of {lanes} lanes take actions {expected}, got {list(actions.shape)}")
    checked = model.spec.action.check(actions.reshape(-1, network.action_size)).reshape(actions.shape)
    led = np.pad(normalise(checked, model.spec.action), ((0, 0), (1, 0), (0, 0)))
    with use_precision(model.precision, model.device):
        pixels = to_unit(torch.from_numpy(np.ascontiguousarray(frames)).to(model.device))
        latents = model.autoencoder.encode(pixels.flatten(0, 1)).to(denoiser.dtype).unflatten(0, (lanes, count))
        context = network.context_for(pixels[:, 0].to(denoiser.dtype), latents[:, 0])
        levels = torch.full(latents.shape[:2], model.sampler.history_level).to(latents)
        noise = torch.stack([denoiser.noise([0] * lanes, torch.full((lanes,), t), HISTORY_STEP) for t in range(count)], dim=1)
        held = denoiser.schedule.add_noise(latents, noise, levels, shrink=model.sampler.history_shrink)
        led, known = first_unled(network, torch.from_numpy(led).to(latents), torch.ones_like(levels))
        _, said = network(held[:, None], levels[:, None], led, known[:, None], None, context, geometry=True)
    depth, *motion = (each[:, 0].float().cpu().numpy() for each in said)
    for each in motion:
        each[:, 0] = np.nan
    return Geometry(depth, *motion)
