"""World models on disk: a checkpoint folder with network, autoencoder, sampler and what the actions mean."""

from pathlib import Path

from torch import nn

from worldsim.models.autoencoder import Autoencoder
from worldsim.models.autoencoders import FrameAutoencoder, build_autoencoder
from worldsim.models.checkpoint import load_checkpoint, parameter_count, save_checkpoint
from worldsim.models.cpu import choose_precision
from worldsim.models.networks import build_network, network_facts
from worldsim.simulator.sampler import Sampler
from worldsim.simulator.world_model import VideoWorldModel
from worldsim.types import ActionSpec, WorldSpec


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


def open_world_model(folder: str | Path, *, device: str = "cpu", precision: str = "auto", **sampler: object) -> VideoWorldModel:
    """Load a world model folder; `sampler` options that are not None replace its own (steps, guidance, history).

    Raises:
        InvalidInput, DamagedFile: see `worldsim.models.checkpoint.load_checkpoint`.
    """
    checkpoint = load_checkpoint(folder, "world_model")
    config = checkpoint.config
    options = config["sampler"] | {name: value for name, value in sampler.items() if value is not None}
    spec = WorldSpec(**(config["spec"] | {"action": ActionSpec(**config["spec"]["action"])}))
    network = checkpoint.fill("network", build_network(config)).to(device)
    autoencoder = checkpoint.fill("autoencoder", build_autoencoder(config)).to(device)
    model = VideoWorldModel(spec, network, autoencoder, Sampler(**options), precision=choose_precision(precision, device))
    model.card = config
    return model
