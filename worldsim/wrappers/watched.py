"""A world model that is watched: a lane that breaks or stands still is named in its state, and nothing else changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.types import ActionSpec, State, WorldModel
from worldsim.wrappers.chunked import faults_of

PATIENCE = 3  # steps under moving actions that may not all show the same picture
FROZEN = f"the picture stood still for {PATIENCE} steps in which the policy moved"
MOVE = 0.01  # of a component's range, away from rest: an action beyond it moves


@dataclass(frozen=True)
class WatchedState:
    """The model's own state; beside it, of each lane, the last frame, for how many steps it has stood still, and its fault.

    Attributes:
        inner: the model's state.
        frames: uint8 `[B, H, W, 3]`.
        still: int64 `[B]`.
        faults: one line per lane, empty while it is sound; once set it stays.
    """

    inner: State
    frames: np.ndarray
    still: np.ndarray
    faults: tuple[str, ...]

    def select(self, lanes: Sequence[int]) -> "WatchedState":
        """Some lanes, in the given order."""
        rows = np.asarray(lanes, dtype=np.intp)
        return WatchedState(self.inner.select(lanes), self.frames[rows], self.still[rows], tuple(self.faults[lane] for lane in lanes))

    def merge(self, lanes: Sequence[int], other: "WatchedState") -> "WatchedState":
        """This state with `lanes` replaced by the lanes of `other`."""
        rows, frames, still, faults = np.asarray(lanes, dtype=np.intp), self.frames.copy(), self.still.copy(), list(self.faults)
        frames[rows], still[rows] = other.frames, other.still
        for lane, fault in zip(lanes, other.faults, strict=True):
            faults[lane] = fault
        return WatchedState(self.inner.merge(lanes, other.inner), frames, still, tuple(faults))


class Watched:
    """`model`, whose states carry `faults`: those that the model itself reports, and lanes whose picture is frozen.

    A lane is frozen when its uint8 frames stay bit for bit the same over `PATIENCE` steps in a row, each under an action that moves: one
    with a component more than a hundredth of its range away from rest (the legal value nearest to zero). An absolute gripper, whose
    value is a position, moves nothing by itself. So a policy that stands still is never taken for a broken world.
    """

    def __init__(self, model: WorldModel) -> None:
        self.model, self.spec = model, model.spec

    def start(self, frames: np.ndarray, seeds: np.ndarray, *actions: np.ndarray) -> WatchedState:
        """As the model's own `start`."""
        inner = self.model.start(frames, seeds, *actions)
        return WatchedState(inner, frames[:, -1].copy(), np.zeros(len(frames), dtype=np.int64), faults_of(inner, len(frames)))

    def step(self, state: WatchedState, actions: np.ndarray) -> tuple[WatchedState, np.ndarray]:
        """As the model's own `step`."""
        inner, frames = self.model.step(state.inner, actions)
        still = np.where(unchanged(frames, state.frames) & moving(actions, self.spec.action), state.still + 1, 0)
        found = zip(state.faults, faults_of(inner, len(frames)), still.tolist(), strict=True)
        faults = tuple(before or new or (FROZEN if count >= PATIENCE else "") for before, new, count in found)
        return WatchedState(inner, frames, still, faults), frames


def unchanged(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Which of the frames uint8 `[B, H, W, 3]` are the same in every pixel, bool `[B]`; a few pixels are looked at first."""
    same = (new[:, ::8, ::8] == old[:, ::8, ::8]).all(axis=(1, 2, 3))
    for lane in np.flatnonzero(same):
        same[lane] = np.array_equal(new[lane], old[lane])
    return same


def moving(actions: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """Which actions `[B, A]` ask for motion, bool `[B]`."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    counts = [not (spec.gripper == "absolute" and "grip" in name) for name in spec.names]
    return ((np.abs(actions - np.clip(0, low, high)) > MOVE * (high - low)) & counts).any(axis=1)
