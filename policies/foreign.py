"""Somebody else's network in this process, asked lane by lane, and what identifies its folder. Knows no kind of network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import digest_of_files
from worldsim.errors import DamagedFile, UnknownName, show_traceback
from worldsim.registry import did_you_mean
from worldsim.types import ActionSpec, Task

OUT_OF_RANGE = ("refuse", "clip")


class ForeignPolicy:
    """A policy whose code is not ours: whatever it raises, and whatever it gives that is no action, is the fault of the lane it acts in.

    A lane at fault is not asked again and gives NaN until it is reset. Subclasses have `begin` and `ask`.

    Args:
        spec: what an action means.
        out_of_range: what becomes of an action beyond the bounds: "refuse" it, or "clip" it.
    """

    def __init__(self, spec: ActionSpec, out_of_range: str = "refuse") -> None:
        self.action, self.faults = spec, {}
        self._clip = clips(out_of_range)

    def begin(self, lane: int, task: Task, seed: int) -> None:
        """An episode begins in a lane."""
        raise NotImplementedError

    def ask(self, frame: np.ndarray, lane: int) -> Any:
        """From a frame uint8 `[H, W, 3]` to an action `[A]`, array or tensor."""
        raise NotImplementedError

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes`; what was at fault before is forgotten."""
        for lane, task, seed in zip(lanes, tasks, seeds, strict=True):
            self.faults.pop(lane, None)
            try:
                self.begin(lane, task, int(seed))
            except Exception as error:  # somebody else's code, as in `act`
                show_traceback(error)
                self.faults[lane] = f"its code failed at the beginning ({first_line(error)})"

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]` to float32 `[B, A]`, NaN in lanes at fault."""
        return np.stack([self._action(frame, lane) for frame, lane in zip(frames, lanes, strict=True)])

    def _action(self, frame: np.ndarray, lane: int) -> np.ndarray:
        if lane not in self.faults:
            try:
                action = numbers_of(self.ask(frame, lane))
                if problem := problem_of(action, self.action, clip=self._clip):
                    self.faults[lane] = problem
                else:
                    return np.clip(action, np.float32(self.action.low), np.float32(self.action.high))
            except Exception as error:  # somebody else's code: it may raise anything, and the other lanes go on
                show_traceback(error)
                self.faults[lane] = f"its code failed ({first_line(error)})"
        return np.full(self.action.size, np.nan, np.float32)


def clips(out_of_range: str) -> bool:
    """Whether an action beyond the bounds is cut: "clip", or else "refuse".

    Raises:
        UnknownName: neither.
    """
    if out_of_range not in OUT_OF_RANGE:
        raise UnknownName(f'out_of_range is "{out_of_range}"; {did_you_mean(out_of_range, OUT_OF_RANGE)}')
    return out_of_range == "clip"


def problem_of(action: np.ndarray, spec: ActionSpec, *, clip: bool) -> str | None:
    """Why this is no action `[A]` of `spec`; None where it is one. With `clip` it may leave the bounds."""
    if action.shape != (spec.size,):
        return f"it gave an action of shape {list(action.shape)}, expected [{spec.size}]"
    if not np.isfinite(action).all():
        names = [name for name, value in zip(spec.names, action, strict=True) if not np.isfinite(value)]
        return f"it gave an action that is not finite in {', '.join(names)}"
    low, high = np.float32(spec.low), np.float32(spec.high)
    outside = np.flatnonzero((action < low - 1e-6) | (action > high + 1e-6))
    if len(outside) == 0 or clip:
        return None
    axis = outside[0]
    bounds = f"[{low[axis]:g}, {high[axis]:g}]"
    return f'it gave {action[axis]:g} as "{spec.names[axis]}", expected a number in {bounds}; out_of_range: clip would cut it'


def fingerprint(folder: str | Path) -> str:
    """What a checkpoint folder holds, as a short hash of all its files, whole: two checkpoints may differ in a few layers only.

    Raises:
        DamagedFile: no such folder, or an empty one.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise DamagedFile(f"{folder} holds no checkpoint; give the folder, downloaded before")
    return digest_of_files(files, folder)


def numbers_of(answer: Any) -> np.ndarray:
    """What a network returned, tensor or array, as float32."""
    answer = answer.detach().float().cpu().numpy() if hasattr(answer, "detach") else answer
    return np.asarray(answer, dtype=np.float32)


def first_line(error: Exception) -> str:
    """An error as one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"
