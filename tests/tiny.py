"""Checkpoints, recordings and a true world that are the real thing, only very small and untrained. Frames are 16 x 16."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from stirred import stir

from worldsim.data.tasks import write_starts
from worldsim.data.trajectory_file import write_trajectory
from worldsim.models.autoencoder import AutoencoderConfig
from worldsim.models.checkpoint import save_checkpoint
from worldsim.models.convnet import ConvNetConfig
from worldsim.models.video_convnet import VideoConvNetConfig
from worldsim.models.video_unet import VideoUNetConfig
from worldsim.simulator import Sampler, save_world_model
from worldsim.types import ActionSpec, Start, Task, Trajectory, WorldSpec

SIZE = 16
ACTION = ActionSpec(names=("x", "y", "z"), low=(-1.0,) * 3, high=(1.0,) * 3, rate_hz=10.0)
LEAK = {"latents": 0.0, "levels": 0.0, "actions": 0.0}


def world_model(folder: Path, size: int = SIZE, action: ActionSpec = ACTION, **facts) -> Path:
    """A causal world model with random weights, all of which matter."""
    torch.manual_seed(1)
    network = VideoUNetConfig(
        latent_channels=4, latent_size=size // 8, channels=(16, 32), embedding=32, window=4, action_size=action.size
    ).build()
    network.set_causal(causal=True)
    stir(network)
    autoencoder = AutoencoderConfig(width=8, latent_channels=4, frame_size=size).build()
    with torch.no_grad():
        for layer in (layer for layer in autoencoder.decoder if isinstance(layer, torch.nn.Conv2d)):
            layer.weight.mul_(2)  # so that a small difference in the latent is seen
    spec = WorldSpec(height=size, width=size, action=action, context=4, fps=action.rate_hz)
    save_world_model(folder, spec, network, autoencoder, Sampler(steps=2), {"leak": LEAK} | facts)
    return folder


def policy(folder: Path, seed: int = 0, size: int = SIZE, action: ActionSpec = ACTION, **facts) -> Path:
    """A cloned policy with random weights."""
    torch.manual_seed(seed)
    network = ConvNetConfig(outputs=action.size, width=4, frame_size=size).build()
    torch.nn.init.normal_(network.head.weight, std=1.0)
    save_checkpoint(folder, "policy", {"network": network}, {"network": network.describe(), "action": vars(action), **facts})
    return folder


def classifier(folder: Path, seed: int = 0, size: int = SIZE, frames: int = 2, **facts) -> Path:
    """A judge with random weights whose threshold lies among what it says."""
    torch.manual_seed(seed)
    network = VideoConvNetConfig(frames=frames, height=size, width=size, channels=4).build()
    torch.nn.init.normal_(network.head.weight, std=1.0)
    card = {"temperature": 1.0, "threshold": 0.5, "band": [], "rule": "last_step", "estimates": None}
    save_checkpoint(folder, "verifier", {"network": network}, {"network": network.describe()} | card | facts)
    return folder


def picture(seed: int) -> np.ndarray:
    """Smooth noise, uint8 `[16, 16, 3]`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)


def task_file(path: Path, starts: int = 5, horizon: int = 4) -> Path:
    """A task with this many starts."""
    begin = tuple(Start(f"{seed:07d}", picture(seed)[None], seed) for seed in range(starts))
    write_starts(path, Task("tiny", "close the drawer", horizon, begin))
    return path


class Slide:
    """A true world: action x shifts the picture by a pixel, and every step of positive x closes the opening a little."""

    action = ACTION

    def reset(self, starts):
        self._frames = np.stack([picture(start.seed) for start in starts])
        self._opening = np.full(len(starts), 0.03)
        return self._frames

    def step(self, actions):
        push = self.action.check(actions)[:, 0]
        self._frames = np.stack([np.roll(frame, int(np.sign(x)), axis=1) for frame, x in zip(self._frames, push, strict=True)])
        self._opening = self._opening - 0.005 * (push > 0)
        return self._frames, self.states()

    def states(self):
        return {"opening": self._opening.copy()}


@dataclass
class SlideConfig:
    """Registered by `tiny_runs.slide`."""

    def build(self) -> Slide:
        return Slide()


def recordings(folder: Path, lengths=(4, 4, 6), states: bool = True) -> Path:
    """Episodes of the true world under random actions, of these lengths."""
    for seed, length in enumerate(lengths):
        world, rng = Slide(), np.random.default_rng(seed)
        frames, openings = [world.reset([Start("", np.zeros(0), seed)])[0]], [world.states()["opening"][0]]
        actions = rng.uniform(-1, 1, (length, 3)).astype(np.float32)
        for action in actions:
            frame, state = world.step(action[None])
            frames.append(frame[0])
            openings.append(state["opening"][0])
        known = {"opening": np.array(openings)} if states else {}
        metadata = {"fps": 10.0, "instruction": "close the drawer"}
        write_trajectory(folder / f"{seed:07d}.h5", Trajectory("tiny", np.stack(frames), actions, seed, states=known, metadata=metadata))
    return folder
