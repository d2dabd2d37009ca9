"""A world, a judge, a policy and a task small enough to check by hand. Knows numpy and worldsim.types, no torch.

The world is an 8x8 picture with one bright column. An action rolls the picture sideways by `round(action[0])` pixels,
and every frame carries noise of one grey level up or down that depends on (seed, frame index) only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.types import ActionSpec, Start, Task, Trajectory, Verdict, WorldSpec

SIZE = 8
SPEC = WorldSpec(
    height=SIZE,
    width=SIZE,
    action=ActionSpec(names=("right", "unused"), low=(-1.0, -1.0), high=(1.0, 1.0), rate_hz=5.0),
    context=2,
    fps=5.0,
)


def noise(seed: int, index: int) -> np.ndarray:
    """The noise of frame `index` of the episode with this seed: int16 `[8, 8, 3]` of -1 and +1."""
    draw = np.random.default_rng([seed, index]).integers(2, size=(SIZE, SIZE, 3))
    return (2 * draw - 1).astype(np.int16)


def next_frame(frame: np.ndarray, action: np.ndarray, seed: int, index: int) -> np.ndarray:
    """Frame `index` uint8 `[8, 8, 3]`, from the frame before it and the action between them: the whole toy in one line."""
    rolled = np.roll(frame, round(float(action[0])), axis=1).astype(np.int16)
    return np.clip(rolled + noise(seed, index), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class PixelState:
    """The last frame uint8 `[B, 8, 8, 3]`, the episode seed uint64 `[B]` and the frame index int64 `[B]` of every lane."""

    frames: np.ndarray
    seeds: np.ndarray
    index: np.ndarray

    def select(self, lanes: Sequence[int]) -> "PixelState":
        rows = np.asarray(lanes, dtype=np.intp)
        return PixelState(self.frames[rows], self.seeds[rows], self.index[rows])

    def merge(self, lanes: Sequence[int], other: "PixelState") -> "PixelState":
        merged = PixelState(self.frames.copy(), self.seeds.copy(), self.index.copy())
        rows = np.asarray(lanes, dtype=np.intp)
        merged.frames[rows], merged.seeds[rows], merged.index[rows] = other.frames, other.seeds, other.index
        return merged


class PixelShift:
    """The world model. `calls` lists the number of lanes of every `step`, so that a test can count network calls."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.calls: list[int] = []

    def start(self, frames: np.ndarray, seeds: np.ndarray) -> PixelState:
        frames = self.spec.check_frames(frames)
        return PixelState(frames[:, -1].copy(), np.asarray(seeds, dtype=np.uint64), np.zeros(len(frames), dtype=np.int64))

    def step(self, state: PixelState, actions: np.ndarray) -> tuple[PixelState, np.ndarray]:
        actions = self.spec.action.check(actions)
        self.calls.append(len(actions))
        index = state.index + 1
        lanes = zip(state.frames, actions, state.seeds, index, strict=True)
        frames = np.stack([next_frame(frame, action, int(seed), int(number)) for frame, action, seed, number in lanes])
        return PixelState(frames, state.seeds, index), frames


def picture(column: int, brightness: int = 200) -> np.ndarray:
    """uint8 `[8, 8, 3]`: mid grey with one bright column."""
    image = np.full((SIZE, SIZE, 3), 100, dtype=np.uint8)
    image[:, column] = brightness
    return image


def column_of(frame: np.ndarray) -> int:
    """Which column of uint8 `[8, 8, 3]` is brightest."""
    return int(frame.mean(axis=(0, 2)).argmax())


@dataclass(frozen=True)
class BrightColumn:
    """The judge: the bright column should end at `target`. A distance of d columns scores 1 / (1 + 2 d); a dark picture cannot be told."""

    target: int = 5

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        return [self._judge(trajectory.frames[-1]) for trajectory in trajectories]

    def _judge(self, frame: np.ndarray) -> Verdict:
        if frame.max() < 50:
            return Verdict(None, "too dark to tell")
        distance = abs(column_of(frame) - self.target)
        return Verdict(1 / (1 + 2 * distance), f"{distance} columns away")


class Seeker:
    """The policy: moves the bright column towards `target` by at most one pixel a step."""

    def __init__(self, target: int = 5) -> None:
        self.action = SPEC.action
        self.target = target

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """A seeker remembers nothing."""

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        offsets = [np.clip(self.target - column_of(frame), -1, 1) for frame in frames]
        return np.array([[offset, 0.0] for offset in offsets], dtype=np.float32)


def shift_task(horizon: int = 6) -> Task:
    """Bring the bright column to column 5, from column 1, 2 or 4; two frames of context each."""
    starts = tuple(Start(id=f"column-{column}", frames=np.stack([picture(column)] * 2), seed=column) for column in (1, 2, 4))
    return Task(id="shift", instruction="move the bright column to the right", horizon=horizon, starts=starts)
