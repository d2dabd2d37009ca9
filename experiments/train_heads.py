"""What `worldsim train stage=heads` teaches: depth and motion, from recordings that know them or by estimators in files."""

from functools import partial
from typing import Any

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import TrainConfig
from worldsim.experiments.stage_parts import Parts


def heads_objective(config: TrainConfig, parts: Parts, trajectories: list) -> Any:
    """The objective but for network, autoencoder, clips and options; `parts.network` has heads afterwards, and gradients where they belong.

    Raises:
        InvalidInput: a network that takes no heads, recordings or files that do not say what heads learn, weights that are none.
    """
    from worldsim.training.geometry import GeometryObjective, GeometryWeights

    if len(config.weights) != 4:
        raise InvalidInput(f"weights={config.weights}, expected those of video, depth, motion and warp; type weights=[0,1,1,0]")
    weights, truth = GeometryWeights(*map(float, config.weights)), _truth(config, trajectories)
    if parts.network.kind != "video_unet":
        raise InvalidInput(f"stage=heads is for networks of kind video_unet, this is a {parts.network.kind}")
    if parts.network.heads is None:
        parts.network = parts.network.extended(heads=units(truth, parts.network, parts.frame_size[0]))
    parts.network.requires_grad_(requires_grad=weights.diffusion > 0)
    parts.network.heads.requires_grad_(requires_grad=True)
    return partial(GeometryObjective, truth, weights)


def units(truth: Any, network: Any, pixels: int) -> Any:
    """Heads for frames of so many pixels, in units in which the truth is numbers of about one."""
    from worldsim.models.geometry_heads import GeometryHeadsConfig
    from worldsim.training.geometry import MOVES

    depth, moving = truth.depth[truth.depth.isfinite()], truth.forward.norm(dim=-1) > MOVES
    flow, rise = (float(each[moving].square().mean().sqrt()) if moving.any() else 0.0 for each in (truth.forward, truth.rise))
    scale = pixels // network.position.shape[0]
    return GeometryHeadsConfig(scale, float(depth.mean()), max(float(depth.std()), 0.01), max(flow, 1.0), max(rise, 0.01))


def _truth(config: TrainConfig, trajectories: list) -> Any:
    from worldsim.training.scene_truth import TorchScriptEstimator, recorded_scene

    if (config.depth is None) != (config.flow is None):
        raise InvalidInput("depth= and flow= go together; type both, or neither for what was recorded")
    if config.depth is not None:
        return TorchScriptEstimator(config.depth, config.flow)(trajectories)
    named = [each.partition(":") for each in config.moving]
    if not all(number.isdigit() and state for number, _, state in named):
        raise InvalidInput(f"moving={config.moving}, expected NUMBER:STATE each; type moving=[6:ball]")
    return recorded_scene(trajectories, {int(number): state for number, _, state in named})
