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
from worldsim.trust import SIGNALS, Measuring, apart, rollout_values, unsureness
from worldsim.types import Trajectory, Verdict, WorldModel

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
    judge = None if config.verifier == "none" else chosen_verifier(config.verifier, model_config, recorded[0].task_id)
    said = [Verdict(None)] * len(imagined) if judge is None else _said(model, judge, imagined)
    wrong, known = _wrong(config, recorded, None if judge is None else said, errors)
    rows = np.flatnonzero(known)
    how = Measuring(config.every, config.draws, config.noise_level, reader)
    names = _measurable(config, model, recorded[0], read=reader is not None, judged=judge is not None)
    of_frames = [name for name in names if name != "judge"]
    signals = rollout_values(model, [imagined[row] for row in rows], how, of_frames, config.over, config.batch) if of_frames else {}
    signals |= {"judge": np.array([unsureness(said[row]) for row in rows])} if "judge" in names else {}
    return Doubted(signals, errors[known], wrong[known], int((~known).sum()), judge)


def _said(model: WorldModel, judge: Any, imagined: list[Trajectory]) -> list[Verdict]:
    check_verifier_frames(judge, model.spec)
    return load_verifier(judge).judge(imagined)


def _measurable(config: TrustConfig, model: WorldModel, recorded: Trajectory, *, read: bool, judged: bool) -> list[str]:
    """The signals asked for that there are of this world model; "seeds" where its states have some, so that a step has other noise.

    Raises:
        InvalidInput: there is none.
    """
    state = model.start(recorded.frames[None, :1], np.zeros(1, dtype=np.uint64))
    able = {"seeds": hasattr(state, "seeds"), "denoising": hasattr(model, "denoiser"), "inverse_dynamics": read, "judge": judged}
    names = [name for name in SIGNALS if config.signal in (None, name) and able[name]]
    if not names:
        raise InvalidInput(f"{config.signal or 'a signal'} cannot be measured of this world model; name another signal=, or a verifier")
    return names


def _rollout(model: WorldModel, made: Prediction, seed: int) -> Trajectory:
    """What the world model made, under the actions that it was given: recorded ones within its bounds."""
    spec = model.spec.action
    actions = np.clip(made.recorded.actions, spec.low, spec.high).astype(np.float32)
    return Trajectory(made.recorded.task_id, made.frames, actions, seed)


def _wrong(
    config: TrustConfig, recorded: list[Trajectory], said: list[Verdict] | None, errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What is wrong, and of which rollouts that is known; bool `[N]` each."""
    far = errors > (np.inf if config.tolerance is None else config.tolerance)
    if said is None:
        return far, np.ones_like(far)
    truth = [verdict.success for verdict in load_verifier("state").judge(recorded)]
    if None in truth:
        raise InvalidInput(f"{config.data} has no true states, so no verdict can be called wrong; type verifier=none tolerance=4")
    ends = list(zip(truth, (verdict.success for verdict in said), strict=True))
    return far | np.array([true != imagined for true, imagined in ends]), np.array([None not in each for each in ends])
