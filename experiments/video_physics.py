"""The physics block of `worldsim evaluate-video`: how things move in predicted clips, beside a second real take and the first frame held.

Only numbers are kept of each batch. What a measure needs and the recordings, the protocol or the model lack is named, with what to type.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.experiments.physics_keys import PhysicsKeys
from worldsim.experiments.second_takes import second_takes
from worldsim.experiments.video_object import TrueObject
from worldsim.experiments.video_scenes import Look, Scene, scenes_apart
from worldsim.experiments.video_scores import last_given_held
from worldsim.metrics import mean_interval
from worldsim.metrics.physics import (
    motion_masks,
    motion_mse,
    physics_iq,
    spatial_iou,
    spatiotemporal_iou,
    static_motion,
    weighted_spatial_iou,
)
from worldsim.types import Trajectory

MODEL, CEILING, FLOOR = "model", "second take", "copy"
WAYS = (MODEL, CEILING, FLOOR)
HIGHER = ("mask_iou", "spatial_iou", "spatiotemporal_iou", "weighted_spatial_iou", "depth_delta1", "physics_iq")
LAST = ("spatial_iou", "weighted_spatial_iou")  # gather over a clip, so that its last frame is the clip's
UNITS = {
    "depth_rmse": "m",
    "depth_warp": "m",
    "chamfer_4d": "m",
    "flow_epe": "px",
    "trajectory_drift": "/frame",
    "chamfer_drift": "m/frame",
}
NO_LOOK = "it has no heads; add them: worldsim train stage=heads, or give depth=FILE flow=FILE, estimators as TorchScript"


class PhysicsScores:
    """Measures of all clips so far. `left_out` says what could not be measured, and why."""

    def __init__(self, keys: PhysicsKeys, given: int, fps: float, look: Look | None) -> None:
        self._keys, self._given, self._fps, self._look = keys, given, fps, look
        self._rows: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)  # (measure, way) -> [B, T] or [B]
        self.left_out: dict[str, str] = {}

    def add(self, recorded: Sequence[Trajectory], truth: np.ndarray, made: np.ndarray) -> None:
        """Score clips of recordings, their frames, and the model's, uint8 `[B, T, H, W, 3]`; both begin with the given frames."""
        clips = {MODEL: made, FLOOR: last_given_held(truth, self._given)}
        takes = self._takes(recorded)
        if takes:
            clips[CEILING] = np.stack([each.frames for each in takes])
        moved = motion_masks(truth)
        thing = TrueObject(self._keys, recorded, truth, self._fps) if self._keys.colour else None
        for way, frames in clips.items():
            self._keep(way, _of_two_clips(frames, truth, moved))
            if thing:
                self._keep(way, thing.apart(frames, self._given))
        self._geometry(recorded, takes, clips)

    def _keep(self, way: str, found: Mapping[str, np.ndarray]) -> None:
        for name, values in found.items():
            self._rows[name, way].append(values)

    def _takes(self, recorded: Sequence[Trajectory]) -> list[Trajectory] | None:
        """A second take of each clip, or None; once there is none of one clip, there is no ceiling for all."""
        if "second take" in self.left_out:
            return None
        try:
            return self._taken(recorded)
        except WorldsimError as error:
            self.left_out["second take"] = str(error)
            for name, way in list(self._rows):
                if way == CEILING:
                    del self._rows[name, way]
            return None

    def _taken(self, recorded: Sequence[Trajectory]) -> list[Trajectory]:
        if not self._keys.truth:
            raise InvalidInput("the protocol names no world to make it in; give one whose physics has truth=")
        return second_takes(self._keys.truth, recorded)

    def _geometry(self, recorded: Sequence[Trajectory], takes: Sequence[Trajectory] | None, clips: Mapping[str, np.ndarray]) -> None:
        """Depth and flow: of the model's clips as its heads see them, of the second take as the camera measured them."""
        if lacking := [name for name in ("depth", "segmentation", "intrinsics", "camera_pose") if name not in recorded[0].states]:
            self.left_out["depth and flow"] = f"the recordings hold no {', '.join(lacking)}; record them: worldsim collect truth=drop"
            return
        from worldsim.training.scene_truth import recorded_scene

        things = {self._keys.thing: self._keys.place} if self._keys.place else {}
        real = Scene.of(recorded, recorded_scene(recorded, things))
        if takes:
            self._keep(CEILING, scenes_apart(Scene.of(takes, recorded_scene(takes, things)), real))
        if self._look is None:
            self.left_out["depth and flow of the model"] = NO_LOOK
            return
        actions = np.stack([each.actions for each in recorded])
        for way in (MODEL, FLOOR):
            self._keep(way, scenes_apart(Scene(*self._look(clips[way], actions), real.seen, real.lens), real))

    def summary(self, seed: int) -> dict[str, dict[str, Any]]:
        """Each measure: the model's mean, its interval over clips, ceiling and floor, unit, which way is better, and curves by frame."""
        names = dict.fromkeys(name for name, _ in self._rows)
        found = {name: self._summed(name, seed) for name in names}
        score = self._score(seed)
        return ({"physics_iq": score} if score else {}) | found

    def _summed(self, name: str, seed: int) -> dict[str, Any]:
        values = {way: np.concatenate(self._rows[name, way]) for way in WAYS if (name, way) in self._rows}
        by_clip = {way: self._of_clips(name, each) for way, each in values.items()}
        means = {way: float(each.mean()) if len(each) else None for way, each in by_clip.items()}
        low, high = mean_interval(by_clip[MODEL], seed) if len(by_clip.get(MODEL, [])) else (None, None)
        curves = {
            way: np.nanmean(each, axis=0).tolist() for way, each in values.items() if each.ndim == 2 and not np.isnan(each).all(0).any()
        }
        return {
            "value": means.get(MODEL),
            "low": low,
            "high": high,
            "ceiling": means.get(CEILING),
            "floor": means.get(FLOOR),
            "unit": UNITS.get(name, ""),
            "better": "higher" if name in HIGHER else "lower",
            "clips": len(by_clip.get(MODEL, by_clip.get(CEILING, []))),
            "by_frame": curves,
        }

    def _of_clips(self, name: str, values: np.ndarray) -> np.ndarray:
        """One number per clip `[N]`, of the frames after the given ones; clips of which none counts are left out."""
        if values.ndim == 2:
            values = values[:, -1] if name in LAST else _mean_of_known(values[:, self._given :])
        return values[np.isfinite(values)]

    def _score(self, seed: int) -> dict[str, Any] | None:
        """The Physics-IQ style score, its interval over clips; it needs a second take."""
        if ("motion_mse", CEILING) not in self._rows:
            return None
        names = {"spatiotemporal": "spatiotemporal_iou", "spatial": "spatial_iou", "weighted": "weighted_spatial_iou", "mse": "motion_mse"}
        table = {way: {short: self._of_clips(name, np.concatenate(self._rows[name, way])) for short, name in names.items()} for way in WAYS}

        def score(way: str, rows: Any) -> float:
            return physics_iq(*({short: float(each[rows].mean()) for short, each in table[of].items()} for of in (way, CEILING)))

        count = len(table[MODEL]["mse"])
        drawn = np.random.default_rng(seed).integers(0, count, (1000, count))
        low, high = np.quantile([score(MODEL, rows) for rows in drawn], [0.025, 0.975])
        everyone = slice(None)
        bounds = {"low": float(low), "high": float(high), "ceiling": score(CEILING, everyone), "floor": score(FLOOR, everyone)}
        return {"value": score(MODEL, everyone), **bounds, "unit": "of 100", "better": "higher", "clips": count, "by_frame": {}}


def _of_two_clips(frames: np.ndarray, truth: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """`true` is where the real clips move."""
    mine = motion_masks(frames)
    return {
        "spatial_iou": spatial_iou(mine, true),
        "spatiotemporal_iou": spatiotemporal_iou(mine, true),
        "weighted_spatial_iou": weighted_spatial_iou(mine, true),
        "motion_mse": motion_mse(frames, truth),
        "static_motion": static_motion(frames, true),
    }


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    count = known.sum(1)
    return np.where(count > 0, np.where(known, values, 0).sum(1) / np.maximum(count, 1), np.nan)


def _number(value: float) -> float | None:
    """None for what is not known, as JSON has it."""
    return None if np.isnan(value) else float(value)
