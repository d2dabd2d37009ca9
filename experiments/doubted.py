"""Recordings replayed open loop in a world model: the signals against each rollout, and what was really wrong with it. Chooses no limit."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.data.cameras import camera_of
from worldsim.errors import InvalidInput
from worldsim.experiments.open_loop import Prediction, predict
from worldsim.experiments.recordings import read_split, recordings_folder
from worldsim.experiments.schema import TrustConfig
from worldsim.experiments.setting import check_verifier_frames, chosen_verifier
from worldsim.load import load_verifier
from worldsim.trust import SIGNALS, Measuring, apart, rollout_values
from worldsim.types import Trajectory, WorldModel

SPLIT = "validation"


@dataclass(frozen=True)
class Doubted:
    """Rollouts in the order of the recordings, those left out that nobody could judge.

    Attributes:
        signals: a value per rollout `[N]`, by the signal's name.
        errors: mean absolute difference from the recorded frames, in grey levels `[N]`.
        wrong: whether the verdict differs from that of the recorded state, or the error lies beyond the tolerance `[N]`.
        unscored: how many were left out.
        judge: who judged, as asked for; None where only frames count.
    """

    signals: dict[str, np.ndarray]
    errors: np.ndarray
    wrong: np.ndarray
    unscored: int
    judge: Any


def doubted(config: TrustConfig, model: WorldModel, model_config: dict[str, Any], reader: Any) -> Doubted:
    """Replay and measure.

    Raises:
        InvalidInput: recordings that no rollout can be called wrong by.
    """
    recorded = read_split(recordings_folder(config.data), SPLIT, camera_of(model_config), config.episodes)
    predictions = predict(model, recorded, [each.actions for each in recorded], seed=config.seed, batch=config.batch)
    imagined = [_rollout(model, each, config.seed + row) for row, each in enumerate(predictions)]
    errors = np.array([apart(i.frames[1:], r.frames[1:]).mean() for i, r in zip(imagined, recorded, strict=True)])
    judge = None if config.verifier == "none" else chosen_verifier(config.verifier, model_config)
    wrong, known = _wrong(config, model, judge, recorded, imagined, errors)
    how = Measuring(config.every, config.draws, config.noise_level, reader)
    names = [name for name in SIGNALS if config.signal in (None, name) and _measurable(name, model, reader)]
    chosen = [imagined[row] for row in np.flatnonzero(known)]
    signals = rollout_values(model, chosen, how, names, config.over, config.batch)
    return Doubted(signals, errors[known], wrong[known], int((~known).sum()), judge)


def _rollout(model: WorldModel, made: Prediction, seed: int) -> Trajectory:
    """What the world model made, under the actions that it was given: recorded ones within its bounds."""
    spec = model.spec.action
    actions = np.clip(made.recorded.actions, spec.low, spec.high).astype(np.float32)
    return Trajectory(made.recorded.task_id, made.frames, actions, seed)


def _measurable(name: str, model: WorldModel, reader: Any) -> bool:
    return {"inverse_dynamics": reader is not None, "denoising": hasattr(model, "denoiser")}.get(name, True)


def _wrong(
    config: TrustConfig, model: WorldModel, judge: Any, recorded: list[Trajectory], imagined: list[Trajectory], errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What is wrong, and of which rollouts that is known; bool `[N]` each."""
    far = errors > (np.inf if config.tolerance is None else config.tolerance)
    if judge is None:
        return far, np.ones_like(far)
    check_verifier_frames(judge, model.spec)
    truth = [verdict.success for verdict in load_verifier("state").judge(recorded)]
    if None in truth:
        raise InvalidInput(f"{config.data} has no true states, so no verdict can be called wrong; type verifier=none tolerance=4")
    said = [verdict.success for verdict in load_verifier(judge).judge(imagined)]
    known = np.array([None not in each for each in zip(truth, said, strict=True)])
    return far | np.array([t != s for t, s in zip(truth, said, strict=True)]), known
