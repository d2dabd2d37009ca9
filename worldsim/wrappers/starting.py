"""Beginning some lanes of a batch while the others go on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldsim.types import State, WorldModel


def start_lanes(model: WorldModel, state: State | None, count: int, begun: Mapping[int, tuple[np.ndarray, Any]]) -> State:
    """A state of `count` lanes in which those of `begun` are new and the others bit-identical.

    Args:
        model: the world model.
        state: of `count` lanes; it may be None, or of another number of lanes, where `begun` names all of them.
        count: number of lanes.
        begun: lane to its first frames uint8 `[T0, H, W, 3]`, of one length or several, and its seed.

    Raises:
        InvalidInput: what the model says of the frames.
    """
    state = None if len(begun) == count else state
    for length in sorted({len(frames) for frames, _ in begun.values()}):  # one batched start for all histories of one length
        lanes = [lane for lane, (frames, _) in begun.items() if len(frames) == length]
        seeds = np.array([begun[lane][1] for lane in lanes], dtype=np.uint64)
        started = model.start(np.stack([begun[lane][0] for lane in lanes]), seeds)
        if lanes == list(range(count)):
            return started
        state = (started.select([0] * count) if state is None else state).merge(lanes, started)
    return state
