"""What a world model makes of real first frames and given actions, step by step or all frames at once. Knows nothing of metrics."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.types import WorldModel


@runtime_checkable
class JointModel(Protocol):
    """A world model that can also draw all frames of a clip together (non-autoregressively)."""

    def imagine_jointly(self, frames: np.ndarray, actions: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Given frames uint8 `[B, T0, H, W, 3]`, actions float32 `[B, T, A]` and seeds uint64 `[B]` to new frames `[B, T, H, W, 3]`."""


def continue_stepwise(
    model: WorldModel, given: np.ndarray, actions: np.ndarray, seeds: Sequence[int], before: np.ndarray | None = None
) -> np.ndarray:
    """One new frame per action, each made from all before it.

    Args:
        model: the world model.
        given: real first frames uint8 `[B, T0, H, W, 3]`; the first action acts on the last of them.
        actions: `[B, T, A]`; those beyond the model's bounds are clipped to them.
        seeds: B numbers.
        before: `[B, T0 - 1, A]`, the actions between the given frames, where there are several.

    Returns:
        The new frames, uint8 `[B, T, H, W, 3]`.

    Raises:
        InvalidInput: frames of another size or actions of another kind than the model's.
        WorldsimError: a lane broke; nothing is measured of frames that are not the model's.
    """
    legal = _legal(model, actions)
    state = model.start(given, np.array(seeds, dtype=np.uint64), *_known(model, before))
    frames = []
    for action in legal.swapaxes(0, 1):  # [T, B, A]
        state, frame = model.step(state, action)
        frames.append(frame)
    faults = [f"lane {lane}: {fault}" for lane, fault in enumerate(getattr(state, "faults", ())) if fault]
    if faults:
        raise WorldsimError(f"{faults[0]}; try precision=fp32, or another checkpoint")
    return np.stack(frames, axis=1)


def continue_jointly(
    model: WorldModel, given: np.ndarray, actions: np.ndarray, seeds: Sequence[int], before: np.ndarray | None = None
) -> np.ndarray:
    """All new frames drawn together; otherwise as `continue_stepwise`.

    Raises:
        InvalidInput: the model only goes step by step, or as `continue_stepwise`.
    """
    if not isinstance(model, JointModel):
        raise InvalidInput("this world model cannot draw all frames of a clip together (it has no imagine_jointly); type mode=ar")
    legal = _legal(model, actions)
    frames = model.imagine_jointly(given, legal, np.array(seeds, dtype=np.uint64), *_known(model, before))
    expected = (*legal.shape[:2], *given.shape[2:])
    if frames.shape != expected:
        raise InvalidInput(f"imagine_jointly returned frames {list(frames.shape)}, expected {list(expected)}: one new frame per action")
    return frames


def _known(model: WorldModel, before: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """The actions between given frames as a further argument, where there are any."""
    return () if before is None or before.shape[1] == 0 else (_legal(model, before),)


def _legal(model: WorldModel, actions: np.ndarray) -> np.ndarray:
    """Actions float32 within the model's bounds."""
    spec = model.spec.action
    if actions.shape[-1] != spec.size:
        names = ", ".join(spec.names)
        raise InvalidInput(f"recorded actions have {actions.shape[-1]} numbers, expected {spec.size} ({names}); give other data=FOLDER")
    return np.clip(actions, spec.low, spec.high).astype(np.float32)
