"""Rollouts to be judged: windows of recordings, and what a world model makes of their first frames and their actions under several seeds.

Sampling is autoregressive, one frame from all before it, for it is the errors of that which are to be corrected. On disk one checksummed
HDF5 file. Knows no judge.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worldsim.data.checked_hdf5 import read_hdf5, written_hdf5
from worldsim.data.windows import windows_over
from worldsim.errors import DamagedFile, InvalidInput, WorldsimError
from worldsim.simulator import VideoWorldModel
from worldsim.types import Trajectory

FORMAT = "worldsim-candidates/1"
ARRAYS = ("real", "actions", "rollouts", "latents", "seeds")


@dataclass(frozen=True)
class Contexts:
    """N windows of L recorded frames: uint8 `[N, L, H, W, 3]`, the actions `[N, L - 1, A]` between them, the true states by name."""

    task_id: str
    real: np.ndarray
    actions: np.ndarray
    states: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Candidates:
    """G rollouts of each of N contexts; the first `given` frames were given.

    Attributes:
        contexts: what really happened under the same actions.
        given: frames at the beginning that the world model was shown.
        rollouts: the frames after them, uint8 `[N, G, L - given, H, W, 3]`.
        latents: the same as the model drew them, float32 `[N, G, L - given, h, w, C]`.
        seeds: uint64 `[N, G]`.
    """

    contexts: Contexts
    given: int
    rollouts: np.ndarray
    latents: np.ndarray
    seeds: np.ndarray

    def imagined(self) -> list[Trajectory]:
        """Every rollout behind the frames that it was given, context by context; no true state belongs to it."""
        return [self._trajectory(row, frames, {}) for row, group in enumerate(self.rollouts) for frames in group]

    def references(self) -> list[Trajectory]:
        """What really happened, once per rollout and in the same order."""
        own = self.contexts
        states = [{name: values[row] for name, values in own.states.items()} for row in range(len(own.real))]
        real = [self._trajectory(row, own.real[row, self.given :], states[row]) for row in range(len(own.real))]
        return [each for each in real for _ in range(self.rollouts.shape[1])]

    def _trajectory(self, row: int, frames: np.ndarray, states: Mapping[str, np.ndarray]) -> Trajectory:
        own = self.contexts
        return Trajectory(own.task_id, np.concatenate([own.real[row, : self.given], frames]), own.actions[row], states=states)


def draw_contexts(recorded: Sequence[Trajectory], count: int, length: int, seed: int, focus: Sequence[str] = ()) -> Contexts:
    """Windows of `length` frames of the recordings, more often where the states `focus` move.

    Raises:
        InvalidInput: an episode shorter than that.
    """
    rows = windows_over(recorded, length, focus).draw(count, torch.Generator().manual_seed(seed))  # [count, length]
    frames = np.concatenate([each.frames for each in recorded])
    actions = np.concatenate([np.concatenate([each.actions, np.zeros_like(each.actions[:1])]) for each in recorded])
    shared = set.intersection(*(set(each.states) for each in recorded))
    states = {name: np.concatenate([each.states[name] for each in recorded])[rows] for name in sorted(shared)}
    return Contexts(recorded[0].task_id, frames[rows], actions[rows[:, :-1]], states)


def sample(
    model: VideoWorldModel, contexts: Contexts, given: int, count: int, seed: int, watch: Callable[[int], None] = lambda lanes: None
) -> Candidates:
    """`count` rollouts of each context; `watch` is told how many were finished.

    Raises:
        InvalidInput: nothing is left to imagine, or frames and actions that are not the model's.
        WorldsimError: a rollout broke.
    """
    lanes, frames = len(contexts.real), contexts.real.shape[1]
    if not 0 < given < frames:
        raise InvalidInput(f"given={given} of {frames} frames, expected at least one, and one left to imagine")
    seeds = np.random.default_rng([seed, 11]).integers(2**62, size=(lanes, count), dtype=np.uint64)
    rolled = []
    for column in range(count):
        rolled.append(_rolled(model, contexts, given, seeds[:, column]))
        watch(lanes)
    rollouts, latents = (np.stack(each, axis=1) for each in zip(*rolled, strict=True))
    return Candidates(contexts, given, rollouts, latents, seeds)


def _rolled(model: VideoWorldModel, contexts: Contexts, given: int, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One rollout of each context: frames `[N, L - given, H, W, 3]` and latents."""
    spec = model.spec.action
    actions = np.clip(contexts.actions, spec.low, spec.high).astype(np.float32)
    state = model.start(contexts.real[:, :given], seeds, actions[:, : given - 1])
    frames, latents = [], []
    for action in actions[:, given - 1 :].swapaxes(0, 1):
        state, frame = model.step(state, action)
        frames.append(frame)
        latents.append(state.latest.cpu().numpy())
    if fault := next((fault for fault in state.faults if fault), None):
        raise WorldsimError(f"a rollout broke: {fault}; try another checkpoint")
    return np.stack(frames, axis=1), np.stack(latents, axis=1)


def write_candidates(path: str | os.PathLike, candidates: Candidates) -> None:
    """Write them, whole or not at all."""
    own = candidates.contexts
    arrays = {"real": own.real, "actions": own.actions, "rollouts": candidates.rollouts, "latents": candidates.latents}
    with written_hdf5(path) as file:
        for name, values in (arrays | {"seeds": candidates.seeds}).items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=1)
        for name, values in own.states.items():
            file[f"states/{name}"] = values
        file.attrs.update(format=FORMAT, task_id=own.task_id, given=candidates.given)


def read_candidates(path: str | os.PathLike) -> Candidates:
    """Read them back.

    Raises:
        DamagedFile: missing, torn or of another format.
    """
    with read_hdf5(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise DamagedFile(f"{path} holds no candidates ({FORMAT}); delete it and type the command again")
        real, actions, rollouts, latents, seeds = (file[name][()] for name in ARRAYS)
        states = {name: values[()] for name, values in file.get("states", {}).items()}
        return Candidates(Contexts(file.attrs["task_id"], real, actions, states), int(file.attrs["given"]), rollouts, latents, seeds)
