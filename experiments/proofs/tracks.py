"""Where the ball is in imagined frames, how far that is from where it was, and pairs of rollouts made of that. Knows no training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.types import Trajectory

MOVES = 0.1  # pixels from which on a pixel counts as moving
LANES = 32  # rollouts that are imagined at once
TIE = 1e-3  # what the difference of all pixels counts for beside that of the ball's place, where the latter cannot tell
REDDER = 40  # by which the ball's pixels are redder than green or blue, of 255


def centres(frames: np.ndarray) -> np.ndarray:
    """Centre (right, down) of the red of each frame uint8 `[..., H, W, 3]`, in pixels, `[..., 2]`.

    Where there is none it is the middle of the frame: a ball that has vanished is far from where it was, whatever that is.
    """
    pixels = frames.astype(np.int16)
    red = (pixels[..., 0] - pixels[..., 1:].max(-1) - REDDER).clip(min=0).astype(float)  # [..., H, W]
    height, width = red.shape[-2:]
    total = red.sum((-2, -1))
    found = np.stack([(red.sum(-2) * np.arange(width)).sum(-1), (red.sum(-1) * np.arange(height)).sum(-1)], -1)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.where(total[..., None] > 0, found / np.maximum(total, 1e-9)[..., None], middle)


def distance(imagined: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Trajectory L2 of each clip `[N, L, H, W, 3]`: mean distance of the centres, in frame diagonals, over frames after the first; `[N]`.

    The form of PISA's and PhysMaster's measure, with Euclidean distances.
    """
    apart = np.linalg.norm(centres(imagined[:, 1:]) - centres(real[:, 1:]), axis=-1)
    return apart.mean(1) / (np.sqrt(2) * real.shape[2])


def real_frames(episodes: Sequence[Trajectory]) -> np.ndarray:
    """Recorded clips, uint8 `[N, L, H, W, 3]`."""
    return np.stack([episode.frames for episode in episodes])


def imagined(model: Any, episodes: Sequence[Trajectory], seed: int, swap: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rollouts of the episodes' first frames under their actions: frames `[N, L, H, W, 3]` and latents `[N, L, h, w, C]`.

    With `swap` each is told what the encoder says of the start that many episodes further on.
    """
    from dataclasses import replace

    frames, latents = [], []
    for begin in range(0, len(episodes), LANES):
        some = episodes[begin : begin + LANES]
        seeds = np.random.default_rng([seed, begin]).integers(2**62, size=len(some), dtype=np.uint64)
        state = model.start(np.stack([each.frames[:1] for each in some]), seeds)
        if swap:
            state = replace(state, context={name: each.roll(swap, 0) for name, each in state.context.items()})
        seen, kept = [np.stack([each.frames[0] for each in some])], [state.latest]
        for action in np.stack([each.actions for each in some], axis=1):
            state, frame = model.step(state, action)
            seen.append(frame)
            kept.append(state.latest)
        frames.append(np.stack(seen, axis=1))
        latents.append(np.stack([each.cpu().numpy() for each in kept], axis=1))
    return np.concatenate(frames), np.concatenate(latents)


def _pixels_apart(imagined: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Root mean squared difference of each clip, of 1, `[N]`."""
    return np.sqrt((((imagined.astype(np.float32) - real) / 255) ** 2).mean((1, 2, 3, 4)))


def pairs(model: Any, episodes: Sequence[Trajectory], seed: int) -> Any:
    """Pairs of rollouts as `Sequences` of two versions, the nearer first; the half of the contexts whose two differ most.

    Raises:
        InvalidInput: no pair differs.
    """
    import torch

    from worldsim.data.actions import normalise
    from worldsim.posttraining.sequences import Sequences, parted

    rolled = [imagined(model, episodes, seed=100 * seed + side) for side in (1, 2)]
    real = real_frames(episodes)
    far = np.stack([distance(frames, real) + TIE * _pixels_apart(frames, real) for frames, _ in rolled])  # [2, N]
    gap = np.abs(far[0] - far[1])
    rows = np.flatnonzero((gap >= np.median(gap)) & (gap > 0))
    if not len(rows):
        raise InvalidInput("no two rollouts of one start differ, so there is nothing to prefer; train longer")
    order = far.argsort(0)[:, rows]  # [2, n]: the nearer, the further
    latents = torch.from_numpy(np.stack([each for _, each in rolled])[order, rows])
    led = np.stack(
        [np.concatenate([np.zeros((1, each.actions.shape[1])), normalise(each.actions, model.spec.action)]) for each in episodes]
    )
    mask = parted(latents[0], latents[1], 1)
    return Sequences(latents.half(), torch.from_numpy(led[rows].astype(np.float32)), mask, torch.ones(mask.shape))
