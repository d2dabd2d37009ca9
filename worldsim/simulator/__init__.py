"""The learned world behind the `WorldModel` protocol."""

from worldsim.simulator.checkpoint import open_world_model, read_world_model, save_world_model, stored_sampler
from worldsim.simulator.denoising import HISTORY_STEP
from worldsim.simulator.reconstruction import reconstructed
from worldsim.simulator.sampler import HISTORY_MODES, RELEASED, Sampler
from worldsim.simulator.state import LatentState
from worldsim.simulator.unrolled import denoising_frames
from worldsim.simulator.world_model import VideoWorldModel

__all__ = [
    "HISTORY_MODES",
    "HISTORY_STEP",
    "RELEASED",
    "LatentState",
    "Sampler",
    "VideoWorldModel",
    "denoising_frames",
    "open_world_model",
    "read_world_model",
    "reconstructed",
    "save_world_model",
    "stored_sampler",
]
