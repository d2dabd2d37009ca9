"""How one frame came out of noise: the sample after each denoising step, and what the network expected to come of it."""

import copy

import numpy as np
from torch import Tensor

from worldsim.simulator.denoising import Denoiser
from worldsim.simulator.state import LatentState
from worldsim.simulator.world_model import VideoWorldModel


def denoising_frames(model: VideoWorldModel, state: LatentState, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The next frame of each lane, drawn as `model.step` draws it, decoded at every denoising step.

    Args:
        model: the world model.
        state: B lanes, which stay as they are.
        actions: float32 `[B, A]`.

    Returns:
        The samples uint8 `[steps + 1, B, H, W, 3]`, from pure noise to the finished frame, and the clean frames that the network expected
        at each step, uint8 `[steps, B, H, W, 3]`.

    Raises:
        InvalidInput: actions of another shape, out of bounds or not finite.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    watched = copy.copy(model)
    watched.denoiser = Denoiser(model.network, model.sampler, model.precision, seen=lambda x, clean: seen.append((x, clean)))
    _, final = watched.step(state, actions)
    samples, expected = ([model.pixels(each[:, -1])[0] for each in kind] for kind in zip(*seen, strict=True))
    return np.stack([*samples, final]), np.stack(expected)
