"""World models on disk: a checkpoint folder with network, autoencoder, sampler and what the actions mean."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from worldsim.models.autoencoder import Autoencoder
from worldsim.models.autoencoders import FrameAutoencoder, build_autoencoder, with_decoder
from worldsim.models.checkpoint import load_checkpoint, parameter_count, read_config, save_checkpoint
from worldsim.models.engine import Engine
from worldsim.models.networks import build_network, network_facts
from worldsim.simulator.sampler import RELEASED, Sampler
from worldsim.simulator.world_model import VideoWorldModel
from worldsim.types import ActionSpec, WorldSpec

KINDS = ("world_model", "vid2world")  # the first is ours


def save_world_model(
    folder: str | Path, spec: WorldSpec, network: nn.Module, autoencoder: Autoencoder | FrameAutoencoder, sampler: Sampler, facts: dict
) -> str:
    """Write a world model as a checkpoint folder; `facts` (leak, training) go into its config. Returns the hash of the weights."""
    config = {
        "spec": {"height": spec.height, "width": spec.width, "context": spec.context, "fps": spec.fps, "action": vars(spec.action)},
        **network_facts(network),
        "autoencoder": autoencoder.describe(),
        "sampler": vars(sampler),
        "parameters": parameter_count(network, autoencoder),
    }
    return save_checkpoint(folder, "world_model", {"network": network, "autoencoder": autoencoder}, config | facts)


def read_world_model(folder: str | Path) -> dict[str, Any]:
    """The config of a world model folder: one of ours, or a converted Vid2World checkpoint.

    Raises:
        InvalidInput, DamagedFile: see `worldsim.models.checkpoint.read_config`.
    """
    return read_config(folder, *KINDS)


def stored_sampler(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a world model is sampled when nothing else is asked for; a converted Vid2World checkpoint as its authors did.

    One that was converted strictly need not compute its window in every step.
    """
    if config["kind"] == "world_model":
        return dict(config["sampler"])
    strict = config["unet"]["norm"] != "clip" and config["unet"]["image_tokens"] == "per_frame"
    return vars(RELEASED) | ({"history": "window", "rescale_over": "frame"} if strict else {})


def open_world_model(folder: str | Path, *, device: str = "cpu", decoder: str | Path | None = None, **options: object) -> VideoWorldModel:
    """Load a world model folder.

    Args:
        folder: one of ours, or a converted Vid2World checkpoint.
        device: where it runs.
        decoder: folder of a small decoder to use in place of its own, see `worldsim.models.autoencoders.with_decoder`.
        **options: fields of `Sampler` and of `worldsim.models.engine.Engine`; those that are not None replace what the checkpoint says.

    Raises:
        InvalidInput, DamagedFile: see `worldsim.models.checkpoint.load_checkpoint`.
    """
    config, given = read_world_model(folder), {name: value for name, value in options.items() if value is not None}
    engine = Engine(**{field.name: given.pop(field.name) for field in fields(Engine) if field.name in given})
    sampler = Sampler(**(stored_sampler(config) | given))
    spec, network, autoencoder = (_ours if config["kind"] == "world_model" else _converted)(folder)
    if decoder is not None:
        autoencoder = with_decoder(autoencoder, decoder, network.latent_shape, (spec.height, spec.width))
    model = VideoWorldModel(spec, network, autoencoder, sampler, precision=engine.prepare(network, autoencoder, device))
    model.card = config
    return model


def _ours(folder: str | Path) -> tuple[WorldSpec, nn.Module, nn.Module]:
    checkpoint = load_checkpoint(folder, "world_model")
    config = checkpoint.config
    spec = WorldSpec(**(config["spec"] | {"action": ActionSpec(**config["spec"]["action"])}))
    return spec, checkpoint.fill("network", build_network(config)), checkpoint.fill("autoencoder", build_autoencoder(config))


def _converted(folder: str | Path) -> tuple[WorldSpec, nn.Module, nn.Module]:
    from worldsim.models.vid2world.network import opened

    return opened(folder)
