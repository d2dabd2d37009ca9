"""Open loop: actions of recorded episodes in a world model, and how close its frames stay to the recorded ones. Knows no file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.continuations import continue_stepwise
from worldsim.load import load_verifier
from worldsim.statistics import student_interval, wilson_interval
from worldsim.types import Trajectory, Verdict, Verifier, WorldModel


@dataclass(frozen=True)
class Prediction:
    """A recorded episode and what the world model made of its first frame and some actions: `frames` like `recorded.frames`."""

    recorded: Trajectory
    frames: np.ndarray


def shuffled(recorded: Sequence[Trajectory]) -> list[np.ndarray]:
    """Each episode's actions taken from the next one, the last from the first, cut or repeated to its own length.

    Raises:
        InvalidInput: there is only one episode.
    """
    if len(recorded) < 2:
        raise InvalidInput("shuffle_actions needs at least two episodes; type episodes=2, or give a folder with more")
    others = [*recorded[1:], recorded[0]]
    return [np.resize(other.actions, own.actions.shape) for own, other in zip(recorded, others, strict=True)]


def predict(
    model: WorldModel, recorded: Sequence[Trajectory], actions: Sequence[np.ndarray], *, seed: int, batch: int
) -> Iterator[Prediction]:
    """The model's continuation of each first frame under the given actions, in the order of `recorded`.

    Episodes of one length run together, `batch` at a time. Actions beyond the model's bounds are clipped to them.

    Raises:
        InvalidInput: recorded actions that mean something else than the model's.
    """
    from tqdm import tqdm

    for each in recorded:
        model.spec.action.refuse_recorded(each.metadata.get("action", {}), f'episode "{each.metadata.get("episode", each.start_id)}"')
    made: dict[int, Prediction] = {}
    with tqdm(total=len(recorded), desc="replay", unit="episode", leave=False) as bar:
        for rows in _batches(recorded, batch):
            chosen = np.stack([actions[row] for row in rows])  # [B, T, A]
            first = np.stack([recorded[row].frames[:1] for row in rows])
            made_up = continue_stepwise(model, first, chosen, [seed + row for row in rows])
            frames = np.concatenate([first, made_up], axis=1)  # [B, T + 1, H, W, 3]
            made |= {row: Prediction(recorded[row], lane) for row, lane in zip(rows, frames, strict=True)}
            bar.update(len(rows))
    return (made[row] for row in range(len(recorded)))


def _batches(recorded: Sequence[Trajectory], size: int) -> Iterator[list[int]]:
    """Indices of episodes of one length, at most `size` together."""
    for length in dict.fromkeys(map(len, recorded)):
        rows = [row for row, trajectory in enumerate(recorded) if len(trajectory) == length]
        yield from (rows[begin : begin + size] for begin in range(0, len(rows), size))


def psnr_by_step(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Mean PSNR at every step over the episodes that reach it, of the prediction and of repeating the first frame.

    Each mean has Student's 95 % interval over episodes, None at a step that one episode alone reaches.
    """
    from worldsim.metrics import psnr

    ours = [psnr(each.frames[1:], each.recorded.frames[1:]) for each in predictions]
    copies = [psnr(each.recorded.frames[:1], each.recorded.frames[1:]) for each in predictions]
    columns = {name: _columns(rows) for name, rows in (("psnr", ours), ("copy_psnr", copies))}
    return {
        "steps": [step + 1 for step in range(len(columns["psnr"]))],
        **{name: [float(np.mean(column)) for column in found] for name, found in columns.items()},
        **{f"{name}_interval": [_interval(column) for column in found] for name, found in columns.items()},
        "episodes": len(predictions),
        "episodes_by_step": [len(column) for column in columns["psnr"]],
    }


def _columns(rows: Sequence[np.ndarray]) -> list[list[float]]:
    """By step, the values of the episodes that reach it."""
    return [[float(row[step]) for row in rows if step < len(row)] for step in range(max(map(len, rows)))]


def _interval(values: list[float]) -> list[float] | None:
    return list(student_interval(values)) if len(values) > 1 else None


def success_agreement(predictions: Sequence[Prediction], name: str, verifier: Callable[[], Verifier]) -> dict[str, Any] | None:
    """How often the judge of the last predicted frame says what the recorded state says; None where no state was recorded.

    `verifier` gives the judge called `name`, and is called only where there is something to compare.
    """
    true = load_verifier("state").judge([each.recorded for each in predictions])
    if all(verdict.success is None for verdict in true):
        return None
    imagined = [Trajectory(each.recorded.task_id, each.frames, each.recorded.actions) for each in predictions]
    return {"verifier": name, **_confusion(true, verifier().judge(imagined))}


def _confusion(true: Sequence[Verdict], said: Sequence[Verdict]) -> dict[str, Any]:
    outcomes = [(t.success, s.success) for t, s in zip(true, said, strict=True)]
    scored = [outcome for outcome in outcomes if None not in outcome]
    agree = sum(t == s for t, s in scored)
    low, high = wilson_interval(agree, len(scored)) if scored else (None, None)
    return {
        "agree": agree,
        "scored": len(scored),
        "rate": agree / len(scored) if scored else None,
        "low": low,
        "high": high,
        "true_positive": scored.count((True, True)),
        "false_positive": scored.count((False, True)),
        "false_negative": scored.count((True, False)),
        "true_negative": scored.count((False, False)),
        "unscored": len(outcomes) - len(scored),
    }
