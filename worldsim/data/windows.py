"""Fixed-length clips out of recorded episodes: which frames, drawn how often. Knows frames as row numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worldsim.errors import InvalidInput
from worldsim.types import Trajectory

MATTERS = ("opening", "block")  # states of our own worlds whose movement matters: what a hand can move
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


def focus_of(trajectories: Sequence[Trajectory]) -> tuple[str, ...]:
    """Those of `MATTERS` that all episodes have recorded."""
    return tuple(name for name in MATTERS if all(name in each.states for each in trajectories))


def windows_over(trajectories: Sequence[Trajectory], length: int, focus: Sequence[str] = ()) -> Windows:
    """Windows over `trajectories` in this order. `focus` names states, numbers or rows of them: clips are drawn more often around their
    changes, and where such a number rests midway. One that an episode has not recorded does not count; without any, clips are equal.
    """
    frames = np.array([len(trajectory.frames) for trajectory in trajectories])
    first = np.concatenate([[0], np.cumsum(frames)[:-1]])
    moves, rests = np.zeros((2, frames.sum()), dtype=bool)
    for name in focus:
        if all(name in trajectory.states for trajectory in trajectories):
            values = np.concatenate([trajectory.states[name] for trajectory in trajectories])  # [F] or [F, N]
            changes, midway = _changing_and_midway(values, first)
            moves |= changes
            rests |= midway
    return Windows(first, frames, np.flatnonzero(moves), np.flatnonzero(rests & ~moves), length)


def _changing_and_midway(values: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of values `[F]` or `[F, N]`, bool `[F]` each: where they differ from the row before, unless the row is one of `first`; and where a
    number is between its ends. A row of numbers, such as a place, has none.
    """
    values = values.astype(np.float64)  # truth values and whole numbers, too, can be taken from one another
    low, high = values.min(axis=0), values.max(axis=0)
    changes = np.abs(np.diff(values, axis=0, prepend=values[:1])) > 0.005 * np.max(high - low)
    changes[first] = False
    if values.ndim > 1:
        return changes.any(axis=1), np.zeros(len(values), dtype=bool)
    return changes, (values > low + 0.06 * (high - low)) & (values < low + 0.7 * (high - low))
