"""What a world model can say, after the fact, against an episode that it imagined. Knows no judge, no truth and no limit.

Every signal is a number per measured step, from the frames and actions that are stored and nothing else, so a run that is there already is
measured without being played again. All noise is keyed by the episode's seed and the step: a value depends neither on the other episodes
nor on the order.

seeds             grey levels by which the same step, imagined again with other noise, differs from the stored frame
denoising         grey levels by which the stored frame differs from what the network makes of it under noise
inverse_dynamics  how far the action that a network reads off two neighbouring frames is from the given one, as a share of its range

A fourth one, "judge", is none of the world model's: how near the judge's score comes to the line between success and failure.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.trust.reseeded import apart, reseeded
from worldsim.types import State, Trajectory, Verdict, WorldModel

SIGNALS = ("seeds", "denoising", "inverse_dynamics", "judge")
SUMMARIES: dict[str, Callable[[np.ndarray], float]] = {"mean": np.mean, "max": np.max}


@dataclass(frozen=True)
class Measuring:
    """How signals are measured.

    Attributes:
        every: steps between two that are measured, counted back from the last, which always is.
        draws: times that such a step is imagined again.
        level: of the noise that frames are reconstructed from.
        reader: reads actions off frames (`worldsim.posttraining.feedback.inverse_dynamics.InverseDynamics`); None leaves that signal out.
    """

    every: int = 4
    draws: int = 1
    level: float = 0.5
    reader: Any = None


def unsureness(verdict: Verdict) -> float:
    """The signal "judge": 0 for a score of 0 or 1, up to one half for a score of one half, or none."""
    return 0.5 if verdict.score is None else 0.5 - abs(verdict.score - 0.5)


def measure(model: WorldModel, episodes: Sequence[Trajectory], how: Measuring, names: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """The named signals of every measured step, float64 `[N]` by name, for each episode; all have the same number of steps, above 0.

    Raises:
        InvalidInput: frames or actions of another size than the model's.
    """
    frames = np.stack([each.frames for each in episodes])  # [B, T + 1, H, W, 3]
    actions = np.stack([each.actions for each in episodes])  # [B, T, A]
    steps = range((actions.shape[1] - 1) % how.every, actions.shape[1], how.every)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    if imagined := [name for name in names if name != "inverse_dynamics"]:
        for step, state in enumerate(histories(model, frames, actions, [each.seed for each in episodes])):
            for name in imagined if step in steps else ():
                found[name].append(MEASURED[name](model, state, actions[:, step], frames[:, step + 1], how))
    if "inverse_dynamics" in names:
        residuals = np.stack([how.reader.apart(each).mean(axis=1) for each in episodes], axis=1)  # [T, B]
        found["inverse_dynamics"] = list(residuals[list(steps)])
    return [{name: np.array([each[row] for each in values]) for name, values in found.items()} for row in range(len(episodes))]


def rollout_values(
    model: WorldModel, episodes: Sequence[Trajectory], how: Measuring, names: Sequence[str], over: str = "mean", batch: int = 50
) -> dict[str, np.ndarray]:
    """One number of each named signal for each episode, float64 `[N]`: what `over` makes of its steps; 0 for one without a step.

    Episodes of one length are measured together, `batch` at a time.

    Raises:
        InvalidInput: as `measure`.
    """
    values = {name: np.zeros(len(episodes)) for name in names}
    for length in {len(each) for each in episodes} - {0}:
        rows = [row for row, each in enumerate(episodes) if len(each) == length]
        for few in (rows[at : at + batch] for at in range(0, len(rows), batch)):
            found = measure(model, [episodes[row] for row in few], how, names)
            for name in names:
                values[name][few] = [SUMMARIES[over](each[name]) for each in found]
    return values


def histories(model: Any, frames: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> Iterator[State]:
    """The state before each of the actions `[B, T, A]`, in which the frames `[B, T + 1, H, W, 3]` up to there are history.

    A model without `observed` is started anew with the frames up to each step.
    """
    keys = np.asarray(seeds, dtype=np.uint64)
    state = model.start(frames[:, :1], keys)
    yield state
    for step in range(1, actions.shape[1]):
        if hasattr(model, "observed"):
            state = model.observed(state, actions[:, step - 1], frames[:, step])
        else:
            state = model.start(frames[:, : step + 1], keys)
        yield state


def seed_disagreement(model: WorldModel, state: State, actions: np.ndarray, frames: np.ndarray, how: Measuring) -> np.ndarray:
    """Mean over draws of the difference between `frames` and the step imagined again, in grey levels `[B]`."""
    draws = [model.step(reseeded(state, draw), actions)[1] for draw in range(1, how.draws + 1)]
    return np.mean([apart(frames, each) for each in draws], axis=0)


def denoising_error(model: Any, state: State, actions: np.ndarray, frames: np.ndarray, how: Measuring) -> np.ndarray:
    """Difference between `frames` and what the network makes of them under noise, in grey levels `[B]`."""
    from worldsim.simulator import reconstructed

    return apart(frames, reconstructed(model, state, actions, frames, how.level))


MEASURED = {"seeds": seed_disagreement, "denoising": denoising_error}
