"""A toy world with exact geometry: a plate of 8 x 8 pixels before a wall, that moves a cell to the side and nearer with each action."""

import numpy as np
import stirred
import torch
from test_training import DIFFUSION, trajectory

from worldsim.data.windows import windows_over
from worldsim.models.geometry_heads import GeometryHeadsConfig
from worldsim.models.video_unet import VideoUNet
from worldsim.training.geometry import GeometryObjective, GeometryWeights, SceneTruth
from worldsim.training.latents import LatentClips
from worldsim.training.stages import VideoOptions

WALL, NEAR, NEARER, CELL, FRAMES = 2.0, 1.5, 0.1, 8, 6
HEADS = GeometryHeadsConfig(scale=CELL, depth_mean=1.8, depth_scale=0.5, flow_scale=8.0, rise_scale=0.1)


def episodes(count: int, seed: int = 0) -> tuple[LatentClips, SceneTruth]:
    """Clips of 4 x 4 latents of 4 channels, and what is to be seen in their 32 x 32 frames."""
    rng = np.random.default_rng(seed)
    columns, actions, rows = [], [], []
    for _ in range(count):
        column, steps = [int(rng.integers(4))], np.zeros((FRAMES, 3), np.float32)
        for frame in range(1, FRAMES):
            moves = [step for step in (-1, 1) if 0 <= column[-1] + step < 4]
            steps[frame, 0] = rng.choice(moves)
            column.append(column[-1] + int(steps[frame, 0]))
        columns += column
        actions.append(steps)
        rows += [int(rng.integers(4))] * FRAMES
    scenes = [_scene(rows[i], columns[i], columns[i - 1] if i % FRAMES else columns[i], i % FRAMES) for i in range(len(rows))]
    latents = torch.full((len(rows), 4, 4, 4), -0.5)
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        latents[i, row, column] = 1 - 0.2 * (i % FRAMES)
    windows = windows_over([trajectory(np.zeros(FRAMES), size=2)] * count, FRAMES)
    clips = LatentClips(latents.half(), torch.from_numpy(np.concatenate(actions)), windows)
    return clips, SceneTruth(*(torch.stack(each) for each in zip(*scenes, strict=True)))


def _scene(row: int, column: int, before: int, time: int) -> SceneTruth:
    here, there = ((slice(CELL * row, CELL * (row + 1)), slice(CELL * at, CELL * (at + 1))) for at in (column, before))
    depth, rise, visible = torch.full((32, 32), WALL), torch.zeros(32, 32), torch.ones(32, 32, dtype=torch.bool)
    forward, backward = torch.zeros(32, 32, 2), torch.zeros(32, 32, 2)
    depth[here] = NEAR - NEARER * time
    if time:
        visible[here] = column == before  # the wall there is hidden now
        forward[there] = torch.tensor([float(CELL * (column - before)), 0.0])
        backward[here] = -forward[there]
        rise[there] = -NEARER
    return SceneTruth(depth, forward, rise, backward, visible)


def objective(net: VideoUNet, weights: GeometryWeights, seed: int = 0, count: int = 24) -> GeometryObjective:
    """The loss of heads on the toy."""
    clips, truth = episodes(count, seed)
    return GeometryObjective(truth, weights, net, stirred.autoencoder(), clips, DIFFUSION, VideoOptions(batch=4, dropout=0.1))
