"""Fixed-length clips out of recorded episodes: which frames, drawn how often. Knows frames as row numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worldsim.errors import InvalidInput
from worldsim.types import Trajectory

MATTERS = ("moved", "opening")  # states whose movement matters, of our own worlds: all that a hand can move, the drawer
MOVING, RESTING = 0.45, 0.20  # shares of clips drawn at a moving and at a half-way resting thing; the rest is uniform


@dataclass(frozen=True)
class Windows:
    """Clips of `length` frames over concatenated episodes.

    Attributes:
        first: row of the first frame of each episode, int64 `[N]`.
        frames: number of frames of each episode, int64 `[N]`.
        moving, resting: rows near which clips are drawn more often.
        length: frames per clip.
    """

    first: np.ndarray
    frames: np.ndarray
    moving: np.ndarray
    resting: np.ndarray
    length: int

    def __post_init__(self) -> None:
        if self.frames.min() < self.length:
            raise InvalidInput(
                f"the shortest episode has {self.frames.min()} frames, a clip needs {self.length}; set clip={self.frames.min()}"
            )

    def draw(self, count: int, generator: torch.Generator) -> np.ndarray:
        """Rows int64 `[count, length]` of `count` clips, each inside one episode."""
        rng = np.random.default_rng(torch.randint(2**62, (1,), generator=generator).item())
        anchors = np.array([self._anchor(rng) for _ in range(count)])
        episode = np.searchsorted(self.first, anchors, side="right") - 1
        latest = self.first[episode] + self.frames[episode] - self.length
        begin = np.clip(anchors - rng.integers(0, self.length, count), self.first[episode], latest)
        return begin[:, None] + np.arange(self.length)

    def _anchor(self, rng: np.random.Generator) -> int:
        kind = rng.random()
        if kind < MOVING and len(self.moving):
            return int(rng.choice(self.moving))
        if kind < MOVING + RESTING and len(self.resting):
            return int(rng.choice(self.resting))
        return int(rng.integers(self.first[-1] + self.frames[-1]))


def focus_of(trajectories: Sequence[Trajectory]) -> str | None:
    """The first of `MATTERS` that all episodes have recorded; None where there is none."""
    return next((name for name in MATTERS if all(name in each.states for each in trajectories)), None)


def windows_over(trajectories: Sequence[Trajectory], length: int, focus: str | None = None) -> Windows:
    """Windows over `trajectories` in this order; `focus` names the state whose movement matters most (None or absent: clips are equal)."""
    frames = np.array([len(trajectory.frames) for trajectory in trajectories])
    first = np.concatenate([[0], np.cumsum(frames)[:-1]])
    moving, resting = [], []
    if focus is not None and all(focus in trajectory.states for trajectory in trajectories):
        values = [trajectory.states[focus] for trajectory in trajectories]
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        for begin, value in zip(first, values, strict=True):
            change = np.abs(np.diff(value, prepend=value[0])) > 0.005 * (high - low)
            midway = (value > low + 0.06 * (high - low)) & (value < low + 0.7 * (high - low))
            moving.append(begin + np.flatnonzero(change))
            resting.append(begin + np.flatnonzero(midway & ~change))
    return Windows(first, frames, _rows(moving), _rows(resting), length)


def _rows(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)
