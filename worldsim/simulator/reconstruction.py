"""How well a world model gives a frame back that noise was laid over. Knows no episode and draws no frame of its own."""

import copy

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.simulator.denoising import Denoiser, Evaluate
from worldsim.simulator.state import LatentState
from worldsim.simulator.world_model import VideoWorldModel

RECONSTRUCTION_STEP = 2_000_000  # the "step" under which that noise is drawn, beyond those of sampling and of history


class _Once(Denoiser):
    """A denoiser that makes one step only, from given latents `[B, h, w, C]` with noise at `level` over them."""

    def __init__(self, model: VideoWorldModel, latents: Tensor, level: float) -> None:
        super().__init__(model.network, model.sampler, model.precision)
        self._latents, self._level = latents, level

    def _sample(self, evaluate: Evaluate, state: LatentState, frames: int) -> Tensor:
        noise = self.noise(state.seeds, state.frame + 1, RECONSTRUCTION_STEP)
        levels = torch.full_like(state.known[:, -1], self._level)
        return self._clean(evaluate, state, self.schedule.add_noise(self._latents, noise, levels)[:, None], self._level)


def reconstructed(model: VideoWorldModel, state: LatentState, actions: np.ndarray, frames: np.ndarray, level: float) -> np.ndarray:
    """What one evaluation of the network makes of the frames after the newest, when noise at `level` lies over them.

    A frame that the network finds likely after this history and action comes back as it was. Only the noise is random, and it is keyed
    by (seed, frame).

    Args:
        model: the world model.
        state: B lanes with a history of one length, which stay as they are.
        actions: float32 `[B, A]`, after which the frames came.
        frames: uint8 `[B, H, W, 3]`.
        level: of the noise, above 0 (none) and at most 1 (nothing but noise).

    Returns:
        uint8 `[B, H, W, 3]`.

    Raises:
        InvalidInput: another level, or what `model.step` refuses.
    """
    if not 0 < level <= 1:
        raise InvalidInput(f"level is {level}, expected a noise level above 0 and at most 1 such as 0.5")
    once = copy.copy(model)
    once.denoiser = _Once(model, model.latents(model.spec.check_frames(frames[:, None]))[:, 0], level)
    return once.step(state, actions)[1]
