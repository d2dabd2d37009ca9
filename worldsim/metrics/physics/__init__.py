"""Whether things in predicted video move as they really do: by masks, motion, depth and flow. Arrays in, numbers per frame out.

Every measure takes clips of equal length and gives one number for each frame, `[N, T]`, unless it says otherwise; a frame's number depends
on no later frame. None of them needs weights.
"""

from worldsim.metrics.physics.clouds import cloud_distance, drift
from worldsim.metrics.physics.counterfactual import clips_apart, counterfactual_gap
from worldsim.metrics.physics.depth import abs_rel, depth_rmse, depth_warp, within_quarter
from worldsim.metrics.physics.falling import gravity_error
from worldsim.metrics.physics.flow import end_point_error, flow_outliers
from worldsim.metrics.physics.impossible import IMPOSSIBLE, impossible, surprised
from worldsim.metrics.physics.masks import (
    area_violation,
    centroids,
    colour_mask,
    mask_chamfer,
    mask_iou,
    overlap_rate,
    teleports,
    trajectory_l2,
)
from worldsim.metrics.physics.motion import (
    motion_masks,
    motion_mse,
    physics_iq,
    spatial_iou,
    spatiotemporal_iou,
    static_motion,
    weighted_spatial_iou,
)

__all__ = [
    "IMPOSSIBLE",
    "abs_rel",
    "area_violation",
    "centroids",
    "clips_apart",
    "cloud_distance",
    "colour_mask",
    "counterfactual_gap",
    "depth_rmse",
    "depth_warp",
    "drift",
    "end_point_error",
    "flow_outliers",
    "gravity_error",
    "impossible",
    "mask_chamfer",
    "mask_iou",
    "motion_masks",
    "motion_mse",
    "overlap_rate",
    "physics_iq",
    "spatial_iou",
    "spatiotemporal_iou",
    "static_motion",
    "surprised",
    "teleports",
    "trajectory_l2",
    "weighted_spatial_iou",
    "within_quarter",
]
