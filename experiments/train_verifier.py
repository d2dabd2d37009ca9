"""`worldsim train-verifier`: learn to judge the last frames of episodes, then calibrate the judgement on episodes held out."""

from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import digest_of
from worldsim.data.splits import hash_split
from worldsim.experiments.labelled_clips import Source, labelled_clips
from worldsim.experiments.schema import TrainVerifierConfig, recipe
from worldsim.statistics import (
    calibration_error,
    choose_band,
    choose_threshold,
    fit_temperature,
    log_loss,
    probability_of,
    wilson_interval,
)
from worldsim.training.judging import Judging, LabelledClips
from worldsim.verifiers.classifier import build_network
from worldsim.verifiers.state import StateVerifier

HALVES = {"calibration": 0.5, "test": 0.5}  # of the held-out episodes: what is chosen on the one is measured on the other
HELD_OUT_RELIVED = 0.5  # of the held-out moments: what is judged is imagined, so calibration must see it
CRITERION = "least mean of both classes' rates of mistakes on the calibration half of the held-out episodes"


def run(config: TrainVerifierConfig) -> None:
    """Train, calibrate, measure and write the checkpoint; the same command again goes on from what was saved.

    Raises:
        WorldsimError: anything about the request that cannot be met, before a step is trained.
    """
    import torch

    from worldsim.experiments.setting import use_torch
    from worldsim.models.checkpoint import save_checkpoint

    use_torch(config.threads, config.device)
    source = Source(Path(config.data), config.labels, config.frames, config.held_out, config.task)
    held_out, counts = labelled_clips(source, "validation", config.every, _relive(config, HELD_OUT_RELIVED))
    halves = {half: _half(held_out, half) for half in HALVES}
    for half, clips in halves.items():
        clips.require_both(f"held-out ({half} half)")
    clips, trained = labelled_clips(source, "train", config.every, _relive(config, config.relived))
    clips.require_both("training")
    print(f"labelled by {config.labels}: {_said(trained, clips)} to learn from, {_said(counts, held_out)} held out")
    estimates = _estimates(source, clips)
    torch.manual_seed(config.seed)
    model = build_network(_shape(config, clips, outputs=2 if estimates else 1)).to(config.device)
    _learn(config, clips, Judging(model, clips, **_scale(estimates), batch=config.batch, shift=config.shift))
    chosen = calibrate(logits_of(model, halves["calibration"]), halves["calibration"].labels, config.abstain)
    facts = {
        "network": model.describe(),
        "rule": config.rule,
        "estimates": estimates,
        **chosen,
        "training": recipe(config) | {"clips": len(clips)},
    }
    measured = measure(logits_of(model, halves["test"]), halves["test"], chosen)
    save_checkpoint(config.out, "verifier", {"network": model}, facts | {"held_out": measured})
    _print(chosen, measured)


def calibrate(logits: np.ndarray, labels: np.ndarray, abstain: float | None) -> dict[str, Any]:
    """Temperature, threshold and band from logits `[N]` of held-out clips and their labels; `abstain` as in `TrainVerifierConfig`."""
    temperature = fit_temperature(logits, labels)
    p = probability_of(logits, temperature)
    threshold = choose_threshold(p, labels)
    band = [] if abstain is None else list(choose_band(p, labels, threshold, abstain))
    return {"temperature": temperature, "threshold": threshold, "threshold_by": CRITERION, "band": band}


def measure(logits: np.ndarray, clips: LabelledClips, chosen: dict[str, Any]) -> dict[str, Any]:
    """What the judge gets right on other held-out clips, and how true its probabilities are before and after calibration."""
    p, (low, high) = probability_of(logits, chosen["temperature"]), chosen["band"] or [chosen["threshold"]] * 2
    answered = (p < low) | (p >= high)
    said, truth = p[answered] >= high, clips.labels[answered]
    found = {
        "clips": len(p),
        "abstained": int((~answered).sum()),
        **_confusion(said, truth),
        "false_success_rate": _rate(said & ~truth, ~truth),
        "false_failure_rate": _rate(~said & truth, truth),
        "calibration_error_before": calibration_error(probability_of(logits, 1.0), clips.labels),
        "calibration_error": calibration_error(p, clips.labels),
        "log_loss_before": log_loss(logits, clips.labels),
        "log_loss": log_loss(logits, clips.labels, chosen["temperature"]),
    }
    return found | {"last_frames": _confusion(said[clips.final[answered]], truth[clips.final[answered]])}


def logits_of(model: Any, clips: LabelledClips) -> np.ndarray:
    """The first output for every clip, float64 `[N]`."""
    import torch

    device = next(model.parameters()).device
    with torch.no_grad():
        parts = [
            model(torch.from_numpy(clips.show(which)).to(device))[:, 0].float().cpu()
            for which in np.array_split(np.arange(len(clips)), 1 + len(clips) // 64)
        ]
    return torch.cat(parts).double().numpy()


def _half(clips: LabelledClips, half: str) -> LabelledClips:
    """The held-out clips that are calibrated on, or those that are measured on; clips of one start stay together."""
    return clips.only(np.array([hash_split(str(group), HALVES, "judge") == half for group in clips.groups]))


def _confusion(said: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    counts = {"true_success": said & truth, "false_success": said & ~truth, "missed": ~said & truth, "true_failure": ~said & ~truth}
    return {name: int(which.sum()) for name, which in counts.items()}


def _rate(which: np.ndarray, among: np.ndarray) -> dict[str, float] | None:
    """A rate with its Wilson interval; None of nothing."""
    if not among.any():
        return None
    hits, count = int(which.sum()), int(among.sum())
    return {"rate": hits / count, **wilson_interval(hits, count)._asdict()}


def _learn(config: TrainVerifierConfig, clips: LabelledClips, objective: Judging) -> None:
    from tqdm import tqdm

    from worldsim.training.loop import LoopConfig, train

    with tqdm(total=config.steps, desc="train-verifier", unit="step") as bar:

        def watch(progress) -> None:
            bar.update(progress.iteration - bar.n)
            bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)

        where, keys = Path(config.out) / ".training", {"seed": config.seed, "device": config.device, "save_seconds": config.save_seconds}
        learned = digest_of([clips.labels.tolist(), clips.groups.tolist()])  # other labels are another training
        train(objective, LoopConfig(where, config.steps, recipe=recipe(config) | {"learned": learned}, **keys), watch)


def _relive(config: TrainVerifierConfig, share: float) -> Any:
    """How clips are seen by the world model asked for, if one is."""
    if config.world_model is None:
        return None
    from worldsim.experiments.relived import Relive
    from worldsim.load import load_world_model

    return Relive(load_world_model(config.world_model, device=config.device), share, config.seed, config.relived_steps)


def _estimates(source: Source, clips: LabelledClips) -> dict[str, Any] | None:
    """What the second output learns, where every label was read off a number: its name, unit and the boundary of success."""
    judge = source.judge()
    if not isinstance(judge, StateVerifier):
        return None
    name, boundary = judge.rule(next(source.episodes("train"))[1])
    return {"name": name, "boundary": boundary, "scale": float(np.std(clips.values)) or 1.0}


def _scale(estimates: dict[str, Any] | None) -> dict[str, float]:
    return {key: estimates[key] for key in ("boundary", "scale")} if estimates else {"boundary": 0.0, "scale": 1.0}


def _shape(config: TrainVerifierConfig, clips: LabelledClips, outputs: int) -> dict[str, Any]:
    """The network asked for, as its config's values."""
    height, width = clips.frames.shape[1:3]
    shape = {"frames": config.frames, "height": height, "width": width, "outputs": outputs}
    if config.features is None:
        return shape | {"channels": config.channels}
    from worldsim.models.frozen_features import digest_of_model

    return shape | {"features": config.features, "sha256": digest_of_model(config.features), "hidden": config.hidden}


def _said(counts: dict[str, int], clips: LabelledClips) -> str:
    left = f" ({counts['unlabelled']} more without a label)" if counts["unlabelled"] else ""
    return f"{len(clips)} clips of {counts['episodes']} episodes{left}"


def _print(chosen: dict[str, Any], measured: dict[str, Any]) -> None:
    print(f"temperature {chosen['temperature']:.3f}, threshold {chosen['threshold']:.3f}, band {chosen['band'] or 'none'}")
    print(f"held out: {measured}")
