"""What cannot have happened: real clips changed so that they break off, stand still or run backwards while actions go on. Frames only."""

from collections.abc import Callable

import numpy as np


def _frozen(clips: np.ndarray, begin: int) -> np.ndarray:
    """Nothing moves any more."""
    return np.concatenate([clips[:, :begin], np.repeat(clips[:, begin - 1 : begin], clips.shape[1] - begin, axis=1)], axis=1)


def _skipped(clips: np.ndarray, begin: int) -> np.ndarray:
    """A quarter of the clip is left out; the last frame stays to the end."""
    left_out = max(1, clips.shape[1] // 4)
    return clips[:, [*range(begin), *np.minimum(np.arange(begin, clips.shape[1]) + left_out, clips.shape[1] - 1)]]


def _backwards(clips: np.ndarray, begin: int) -> np.ndarray:
    """Time turns round."""
    return clips[:, [*range(begin), *np.abs(2 * (begin - 1) - np.arange(begin, clips.shape[1]))]]


def _elsewhere(clips: np.ndarray, begin: int) -> np.ndarray:
    """It goes on as the next clip of the batch does."""
    return np.concatenate([clips[:, :begin], np.roll(clips, -1, axis=0)[:, begin:]], axis=1)


IMPOSSIBLE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "frozen": _frozen,
    "skipped": _skipped,
    "backwards": _backwards,
    "elsewhere": _elsewhere,
}


def impossible(clips: np.ndarray, how: str) -> np.ndarray:
    """Clips `[N, T, H, W, 3]` of which the second half, from frame T // 2 on, is changed; `how` is one of `IMPOSSIBLE`."""
    return IMPOSSIBLE[how](clips, clips.shape[1] // 2)


def surprised(possible: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Whether the changed clip surprises more than the real one, float64 `[N]`: 1, 0, or .5 for a tie (violation of expectation)."""
    return (np.sign(np.asarray(changed, dtype=np.float64) - possible) + 1) / 2
