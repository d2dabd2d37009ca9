"""Ways to break a world model on purpose, at a given frame of the episode with a given seed; and one that wants much memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from toy import PixelState

from worldsim.simulator import VideoWorldModel


def poison(model: VideoWorldModel, breaks: Mapping[int, int]) -> VideoWorldModel:
    """`model`, changed in place: for each seed in `breaks`, the latent of that frame holds a NaN."""
    denoiser = model.denoiser

    def poisoned(state, latents):
        latents = latents.clone()
        for lane, (seed, frame) in enumerate(zip(state.seeds, state.frame.tolist(), strict=True)):
            if breaks.get(seed) == frame + 1:
                latents[lane].view(-1)[lane] = torch.nan
        return latents

    def wrapped(whole):
        def drawn(state, *arguments):
            made = whole(state, *arguments)
            return (poisoned(state, made[0]), *made[1:]) if isinstance(made, tuple) else poisoned(state, made)

        return drawn

    for name in ("next_frame", "write_and_next", "frames_ahead"):  # of which a way to keep the past uses one
        setattr(denoiser, name, wrapped(getattr(denoiser, name)))
    return model


@dataclass(frozen=True)
class StuckState:
    """An inner state, and the latest frames uint8 `[B, H, W, 3]` with their seeds and numbers."""

    inner: object
    frames: np.ndarray
    seeds: np.ndarray
    index: np.ndarray

    def select(self, lanes):
        rows = np.asarray(lanes)
        return StuckState(self.inner.select(lanes), self.frames[rows], self.seeds[rows], self.index[rows])

    def merge(self, lanes, other):
        rows = np.asarray(lanes)
        mine, theirs = PixelState(self.frames, self.seeds, self.index), PixelState(other.frames, other.seeds, other.index)
        merged = mine.merge(rows, theirs)
        return StuckState(self.inner.merge(lanes, other.inner), merged.frames, merged.seeds, merged.index)


class Stuck:
    """`model`, in which the picture of an episode stays as it is from the frame that `breaks` names for its seed on."""

    def __init__(self, model, breaks: Mapping[int, int]) -> None:
        self.model, self.spec, self.breaks = model, model.spec, breaks

    def start(self, frames, seeds):
        return StuckState(self.model.start(frames, seeds), frames[:, -1], np.asarray(seeds), np.zeros(len(frames), dtype=np.int64))

    def step(self, state, actions):
        inner, frames = self.model.step(state.inner, actions)
        index = state.index + 1
        stuck = [self.breaks.get(int(seed), 10**9) <= number for seed, number in zip(state.seeds, index, strict=True)]
        frames = np.where(np.array(stuck)[:, None, None, None], state.frames, frames)
        return replace(state, inner=inner, frames=frames, index=index), frames


class Hungry:
    """`model`, which runs out of memory as torch does when a call holds more than `most` lanes. `calls` lists the lanes of each call."""

    def __init__(self, model, most: int, error: Exception) -> None:
        self.model, self.spec, self.most, self.error, self.calls = model, model.spec, most, error, []

    def _eat(self, lanes: int) -> None:
        self.calls.append(lanes)
        if lanes > self.most:
            raise self.error

    def start(self, frames, seeds, *actions):
        self._eat(len(frames))
        return self.model.start(frames, seeds, *actions)

    def step(self, state, actions):
        self._eat(len(actions))
        return self.model.step(state, actions)
