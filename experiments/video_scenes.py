"""Depth and motion of clips, measured by a camera, seen by a model's heads or guessed by networks from files; and how far two lie apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.metrics.physics import abs_rel, cloud_distance, depth_rmse, depth_warp, drift, end_point_error, flow_outliers, within_quarter
from worldsim.types import Trajectory

Look = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Scene:
    """Depth and motion of clips: arrays `[N, T, H, W]`, flow `[N, T, H, W, 2]`; `seen`: pixels of what moves that are seen again."""

    depth: np.ndarray
    flow: np.ndarray
    rise: np.ndarray
    seen: np.ndarray
    lens: Any

    @classmethod
    def of(cls, episodes: Sequence[Trajectory], truth: Any) -> "Scene":
        """What the camera measured and, since things are rigid, how every pixel moved."""
        from worldsim.geometry import Lens

        shaped = {name: value.numpy().reshape(len(episodes), -1, *value.shape[1:]) for name, value in truth._asdict().items()}
        seen = shaped["visible"].astype(bool) & (np.linalg.norm(np.nan_to_num(shaped["forward"]), axis=-1) > 0)
        lens = Lens(*(np.stack([each.states[name] for each in episodes]) for name in ("intrinsics", "camera_pose")))
        return cls(shaped["depth"], shaped["forward"], shaped["rise"], seen, lens)


def scenes_apart(mine: Scene, real: Scene) -> dict[str, np.ndarray]:
    """Every measure of depth, flow and space, `[N, T]`, and how fast the clouds part, `[N]`."""
    clouds = cloud_distance(mine.depth, real.depth, real.lens)
    return {
        "depth_abs_rel": abs_rel(mine.depth, real.depth),
        "depth_delta1": within_quarter(mine.depth, real.depth),
        "depth_rmse": depth_rmse(mine.depth, real.depth),
        "depth_warp": depth_warp(mine.depth, mine.flow, mine.rise, mine.seen),
        "flow_epe": end_point_error(mine.flow, real.flow, real.seen),
        "flow_outliers": flow_outliers(mine.flow, real.flow, real.seen),
        "chamfer_4d": clouds,
        "chamfer_drift": drift(clouds[:, 1:]),
    }


def by_heads(model: Any) -> Look:
    """Depth, flow into each frame and rise, of clips uint8 `[N, T, H, W, 3]` under their actions, as the model's own heads see them."""
    from worldsim.simulator.clip_geometry import clip_geometry

    def look(clips: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        said = clip_geometry(model, clips, actions)
        return said.depth, said.forward, said.rise

    return look


def by_files(depth: str, flow: str) -> Look:
    """The same as estimators in local TorchScript files guess them, called as `worldsim train stage=heads depth= flow=` calls them."""
    from worldsim.training.scene_truth import TorchScriptEstimator

    guess = TorchScriptEstimator(depth, flow)

    def look(clips: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        said = guess([Trajectory("", *each) for each in zip(clips, actions, strict=True)])
        return tuple(getattr(said, name).numpy().reshape(*clips.shape[:2], *getattr(said, name).shape[1:]) for name in FIELDS)

    return look


FIELDS = ("depth", "forward", "rise")
