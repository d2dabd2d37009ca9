"""The claims about learning from feedback: `worldsim posttrain` itself, beside controls of equal compute, measured on held-out starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.experiments.proofs import tracks
from worldsim.experiments.proofs.claims import HEADS_ALONE, changed, far_off, row_of, scene_of
from worldsim.experiments.proofs.models import Models, sampled
from worldsim.experiments.proofs.rows import FAIL, PASS, Row, below, interval

SPREAD = 0.005  # by which rewards, minus root mean squared differences of pixels, are divided before exp
WAYS: Mapping[str, dict[str, Any]] = {
    "rwr": {"mode": "rwr", "feedback": "simulator", "weighting": "exp", "temperature": SPREAD},
    "self-sft": {"mode": "sft", "learn_from": "own"},
    "filtered-sft": {"mode": "sft", "feedback": "simulator", "quantile": 0.5},
    "real-sft": {"mode": "sft", "learn_from": "real"},
    "dpo-real": {"mode": "dpo", "learn_from": "real", "lambda_sft": 1.0},
    "grpo": {"mode": "grpo", "feedback": "simulator", "beta": 0.01},
}
SHARPER = 0.05  # share by which pictures may lose sharpness, beyond which a gain does not count


def taught(models: Models, way: str) -> Path:
    """The model after one way of post-training, from that of stage one."""
    return models.posttrained(way, models.sft(), WAYS[way])


def rwr(models: Models) -> Row:
    """Reward-weighted regression beats training on the same rollouts unweighted."""
    errors = {way: far_off(models, taught(models, way)) for way in ("self-sft", "rwr", "filtered-sft", "real-sft")}
    found = interval(errors["rwr"] - errors["self-sft"])
    beside = {"before": far_off(models, models.sft()).mean()} | {way: each.mean() for way, each in errors.items()}
    measure = "paired change of L2 against SFT on the same rollouts, unfiltered"
    return row_of("RWR works", measure, "below 0", found, below(found, 0.0), models, beside)


def real_preferred(models: Models) -> Row:
    """Preferring what happened to own rollouts beats as much more training on what happened."""
    before, after = taught(models, "real-sft"), taught(models, "dpo-real")
    return changed("DPO, real against own, beats equal extra SFT on real data", before, after, models)


def rl(models: Models) -> Row:
    """Group-relative RL brings what the heads see of imagined frames nearer to the true points."""
    from worldsim.posttraining.signs import sharpness

    before, after = models.sft(), taught(models, "grpo")
    episodes = models.recorded("validation")
    rolled = [tracks.imagined(sampled(folder), episodes, models.seed)[0] for folder in (before, after)]
    clouds, edges = [clouds_apart(models, frames) for frames in rolled], [sharpness(frames[:, 1:]) for frames in rolled]
    found = interval(clouds[1] - clouds[0])
    verdict = below(found, 0.0)
    if verdict == PASS and edges[1] < (1 - SHARPER) * edges[0]:
        verdict = FAIL
    beside = {
        "before": clouds[0].mean(),
        "after": clouds[1].mean(),
        "real frames": clouds_apart(models, tracks.real_frames(episodes)).mean(),
    }
    beside |= {"sharpness before": edges[0], "sharpness after": edges[1]}
    beside |= {"L2 before": far_off(models, before).mean(), "L2 after": far_off(models, after).mean()}
    line = "below 0, sharpness not down by 5 %"
    return row_of("RL works", "paired change of 4D Chamfer, metres", line, found, verdict, models, beside)


def clouds_apart(models: Models, frames: np.ndarray) -> np.ndarray:
    """4D Chamfer distance of clips under the held-out actions, uint8 `[N, L, H, W, 3]`, as the heads see them: metres `[N]`."""
    from worldsim.posttraining.chamfer import cloud_distances

    said, _ = scene_of(models, "heads", HEADS_ALONE, frames)
    return np.array(
        [cloud_distances(depth, each.states)[1:].mean() for depth, each in zip(said.depth, models.recorded("validation"), strict=True)]
    )
