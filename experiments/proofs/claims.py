"""The claims, each as a function of the models of one seed to its row. The lines were set before any of them was run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import write_json
from worldsim.experiments.proofs import tracks
from worldsim.experiments.proofs.models import BALL, Models, sampled
from worldsim.experiments.proofs.rows import FAIL, NULL, PASS, Row, above, below, interval, ratio
from worldsim.types import Trajectory

HEADS_ALONE, WARP_OFF, WARP_ON = (0.0, 1.0, 1.0, 0.0), (1.0, 0.1, 0.1, 0.0), (1.0, 0.1, 0.1, 0.1)


def far_off(models: Models, folder: Path, swap: int = 0) -> np.ndarray:
    """Trajectory L2 of a model on each held-out episode, `[N]`; kept beside the rows, since several claims ask for it."""
    kept = models.own / "rows" / f"l2-{folder.name}-{swap}.json"
    if not kept.exists():
        episodes = models.recorded("validation")
        frames, _ = tracks.imagined(sampled(folder), episodes, models.seed, swap)
        write_json(kept, tracks.distance(frames, tracks.real_frames(episodes)).tolist())
    return np.array(json.loads(kept.read_text(encoding="utf-8")))


def gravity(models: Models) -> Row:
    """SFT learns where a ball falls."""
    real = tracks.real_frames(models.recorded("validation"))
    trained, fresh = (far_off(models, folder) for folder in (models.sft(), models.untrained()))
    still = tracks.distance(np.repeat(real[:, :1], real.shape[1], axis=1), real)
    found = max((interval(np.stack([trained, control], 1), ratio) for control in (still, fresh)), key=lambda each: each[0])
    beside = {"SFT": trained.mean(), "untrained": fresh.mean(), "first frame": still.mean()}
    measure = "centroid L2 on held-out starts, share of the better of untrained and first frame held"
    return row_of("SFT learns gravity", measure, "below 0.5", found, below(found, 0.5), models, beside)


def swap(models: Models) -> Row:
    """What the encoder says of another scene hurts."""
    own, other = (far_off(models, models.sft(), swap) for swap in (0, 1))
    found = interval(other - own)
    beside = {"own": own.mean(), "swapped": other.mean()}
    measure = "change of L2 told of another scene"
    return row_of("the network listens to the encoder", measure, "above 0", found, above(found, 0.0), models, beside)


def stage_two(models: Models) -> Row:
    """DPO on adapters beats the model that it began at."""
    before = models.sft()
    return changed("DPO (II) helps", before, models.preferred("stage-2", before, "lora"), models)


def stage_three(models: Models) -> Row:
    """DPO on the encoder's head beats stage two."""
    before = models.preferred("stage-2", models.sft(), "lora")
    return changed("PhysEncoder DPO (III) helps", before, models.preferred("stage-3", before, "encoder_head"), models)


def changed(claim: str, before: Any, after: Any, models: Models) -> Row:
    """The row of a claim that one model is nearer to what happens than another."""
    old, new = (far_off(models, folder) for folder in (before, after))
    found = interval(new - old)
    verdict = below(found, 0.0)
    if verdict == PASS and new.mean() > 0.95 * old.mean() and "(II)" in claim:
        verdict = NULL
    line = "below 0, by 5 % or more" if "(II)" in claim else "below 0, else null"
    return row_of(claim, "paired change of L2", line, found, verdict, models, {"before": old.mean(), "after": new.mean()})


def depth(models: Models) -> Row:
    """Heads on the frozen network know how far things are."""
    said, true = scene_of(models, "heads", HEADS_ALONE)
    constant = true.depth.mean()
    mine, theirs = (np.abs(each - true.depth) / true.depth for each in (said.depth, constant))
    found = interval(np.stack([mine.mean((1, 2, 3)), theirs.mean((1, 2, 3))], 1), ratio)
    mean = true.depth.mean((0, 1))
    beside = {"AbsRel": mine.mean(), "constant": theirs.mean(), "mean picture": (np.abs(mean - true.depth) / true.depth).mean()}
    ball = true.ball
    beside |= {"AbsRel ball": mine[ball].mean(), "mean picture ball": (np.abs(mean - true.depth) / true.depth)[ball].mean()}
    return row_of("heads work: depth", "AbsRel, share of a constant depth's", "below 0.5", found, below(found, 0.5), models, beside)


def flow(models: Models) -> Row:
    """Heads on the frozen network know how things move."""
    said, true = scene_of(models, "heads", HEADS_ALONE)
    moving = true.ball_before[:, 1:] & (np.linalg.norm(true.forward[:, 1:], axis=-1) > tracks.MOVES)
    mine, theirs = (np.linalg.norm(each[:, 1:] - true.forward[:, 1:], axis=-1) for each in (said.forward, 0 * true.forward))
    moved = moving.any((1, 2, 3))
    pairs = np.stack([(each * moving).sum((1, 2, 3))[moved] for each in (mine, theirs)], 1)
    found = interval(pairs, ratio)
    beside = {"EPE": mine[moving].mean(), "zero flow": theirs[moving].mean()}
    return row_of("heads work: flow", "EPE on the moving ball, share of zero flow's", "below 0.5", found, below(found, 0.5), models, beside)


def warp(models: Models) -> Row:
    """The warp loss makes depth agree with motion."""
    (off, true), (on, _) = (scene_of(models, name, weights) for name, weights in (("warp-off", WARP_OFF), ("warp-on", WARP_ON)))
    gaps = [_gap(each, true) for each in (off, on, true)]
    errors = [(np.abs(each.depth - true.depth) / true.depth).mean() for each in (off, on)]
    found = interval(gaps[1] - gaps[0])
    verdict = below(found, 0.0)
    if verdict == PASS and errors[1] > 1.02 * errors[0]:
        verdict = FAIL
    beside = {"off": gaps[0].mean(), "on": gaps[1].mean(), "truth": gaps[2].mean(), "AbsRel off": errors[0], "AbsRel on": errors[1]}
    line = "below 0, AbsRel not worse by 2 %"
    return row_of("warp loss works", "paired change of depth-warp L1 in metres, moving ball", line, found, verdict, models, beside)


def _gap(said: Any, true: Any) -> np.ndarray:
    """Depth-warp L1 of each episode on what moves and is still seen, metres `[N]`."""
    from worldsim.geometry import depth_gap

    gap = np.abs(depth_gap(said.depth[:, :-1], said.depth[:, 1:], said.forward[:, 1:], said.rise[:, 1:]))
    counts = true.visible[:, 1:] & true.ball_before[:, 1:] & (np.linalg.norm(true.forward[:, 1:], axis=-1) > tracks.MOVES)
    moved = counts.any((1, 2, 3))
    return (gap * counts).sum((1, 2, 3))[moved] / counts.sum((1, 2, 3))[moved]


class _True:
    """Exact geometry of episodes of one length, `[N, T, ...]`, and where the ball is (`ball`) and was a frame before (`ball_before`)."""

    def __init__(self, episodes: Sequence[Trajectory]) -> None:
        from worldsim.training.scene_truth import recorded_scene

        found = recorded_scene(episodes, {BALL: "ball"})
        for name, value in found._asdict().items():
            setattr(self, name, value.numpy().reshape(len(episodes), -1, *value.shape[1:]))
        self.ball = np.stack([each.states["segmentation"] for each in episodes]) == BALL
        self.ball_before = np.roll(self.ball, 1, axis=1)


def scene_of(models: Models, name: str, weights: tuple[float, ...], frames: np.ndarray | None = None) -> tuple[Any, _True]:
    """What the heads say of held-out recorded frames, or of others under the same actions, each from those before it; and what is true."""
    from worldsim.models.geometry_heads import Geometry
    from worldsim.simulator.clip_geometry import clip_geometry
    from worldsim.training.geometry import GeometryWeights

    episodes, before = models.recorded("validation"), models.sft()
    if name != "heads":
        before = models.with_heads("heads", before, GeometryWeights(*HEADS_ALONE))
    model = sampled(models.with_heads(name, before, GeometryWeights(*weights)))
    frames = tracks.real_frames(episodes) if frames is None else frames
    actions = np.stack([each.actions for each in episodes])
    said = [clip_geometry(model, frames[some], actions[some]) for some in np.array_split(np.arange(len(frames)), -(-len(frames) // 32))]
    return Geometry(*(np.concatenate(each) for each in zip(*said, strict=True))), _True(episodes)


def row_of(claim: str, measure: str, line: str, found: tuple[float, float, float], verdict: str, models: Models, beside: dict) -> Row:
    """A row of these models' seed."""
    return Row(claim, measure, line, *found, verdict, models.seed, {name: float(value) for name, value in beside.items()})
