"""What is timed: the world model of a checkpoint, or one of a preset's sizes with random weights, sampled in several ways."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from worldsim.errors import InvalidInput
from worldsim.experiments.bench.timing import Job
from worldsim.experiments.model_presets import model_preset
from worldsim.experiments.peers.ours import wake
from worldsim.experiments.schema import BenchConfig
from worldsim.experiments.setting import world_model_facts
from worldsim.load import load_world_model
from worldsim.models.autoencoder import AutoencoderConfig
from worldsim.models.checkpoint import parameter_count
from worldsim.models.engine import Engine
from worldsim.models.networks import build_network
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.types import ActionSpec, WorldModel, WorldSpec

KEPT = ("stream", "block")  # their frames do not all cost the same


@dataclass(frozen=True)
class Subject:
    """One set of weights, ready to run, and how it is sampled when nothing else is asked for."""

    spec: WorldSpec
    network: nn.Module
    autoencoder: nn.Module
    sampler: Sampler
    precision: str
    facts: dict[str, Any]

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(next(self.network.parameters()).device)

    def world(self, **options: Any) -> VideoWorldModel:
        """A world model of these weights with other options of its sampler; None leaves one as it is."""
        given = {name: value for name, value in options.items() if value is not None}
        if given.get("history") in KEPT:
            given |= {"rescale_over": "frame", "anchor": "episode"}  # all that kept features allow
        return VideoWorldModel(self.spec, self.network, self.autoencoder, replace(self.sampler, **given), precision=self.precision)


def subject_of(config: BenchConfig) -> Subject:
    """What is timed in the model alone: the preset, or without one the world model.

    Raises:
        InvalidInput: a world model that is no checkpoint, or a preset without a network of its own.
    """
    if config.preset and config.decoder:
        raise InvalidInput("decoder= belongs to the decoder of a checkpoint, and a preset has its own; leave preset= or decoder= out")
    return _invented(config.preset, Engine(**_engine(config)), config.device) if config.preset else world_model_of(config)


def world_model_of(config: BenchConfig) -> Subject:
    """The world model of the command.

    Raises:
        InvalidInput: it is no checkpoint.
    """
    facts, model_config = world_model_facts(config.world_model)
    if not model_config:
        raise InvalidInput(f'bench times checkpoints, and world model "{config.world_model}" is none; type world_model=PATH')
    model = load_world_model(config.world_model, device=config.device, decoder=config.decoder, **_engine(config))
    return Subject(model.spec, model.network, model.autoencoder, model.sampler, model.precision, facts)


def _engine(config: BenchConfig) -> dict[str, Any]:
    return {"precision": config.precision, "channels_last": config.channels_last, "compile": config.compile}


def _invented(name: str, engine: Engine, device: str) -> Subject:
    """A preset's network with random weights, none of them silent, and an autoencoder of its size."""
    preset = model_preset(name)
    if preset.folder:
        raise InvalidInput(f'"{name}" is the folder of a pretrained network, expected a preset; type preset=dynamicrafter_small')
    torch.manual_seed(0)
    with torch.device(device):
        network, autoencoder, height, width = (_authors if preset.kind == "vid2world" else _small)(preset)
    numbers = network.action_size
    action = ActionSpec(tuple(map(str, range(numbers))), (-1.0,) * numbers, (1.0,) * numbers, 10.0)
    facts = {"name": name, "random": True, "parameters": parameter_count(network, autoencoder), "network": parameter_count(network)}
    precision = engine.prepare(wake(network), wake(autoencoder), device)
    options = {"prediction": preset.prediction, "schedule": preset.schedule} | preset.sampler
    causal = {
        "history": "stream",
        "rescale_over": "frame",
        "anchor": "episode",
    }  # its network is strictly causal, whatever it is sampled as
    return Subject(
        WorldSpec(height, width, action, network.window, 10.0), network, autoencoder, Sampler(**options | causal), precision, facts
    )


def _small(preset: Any) -> tuple[nn.Module, nn.Module, int, int]:
    channels = preset.latent_channels
    network = build_network({"network_kind": preset.kind, "network": {"latent_channels": channels, **preset.network, "causal": True}})
    size = 8 * network.latent_shape[0]
    return network, AutoencoderConfig(channels, preset.autoencoder_width, size).build(), size, size


def _authors(preset: Any) -> tuple[nn.Module, nn.Module, int, int]:
    """The authors' network with all norms per frame, and a tiny decoder: their own costs as much as two evaluations of the U-Net."""
    from worldsim.experiments.bench.untold import TinyAutoencoder, untold

    network = untold(preset.network)
    height, width, channels = network.latent_shape
    return network, TinyAutoencoder(channels), 8 * height, 8 * width


def running(model: WorldModel, lanes: int, frames: int) -> Job:
    """`frames` frames of `lanes` lanes a call under random actions, in the middle of an episode: the window is full and has moved on."""
    rng, spec, given = np.random.default_rng(0), model.spec, _reach(model) + 2
    state = model.start(noise_frames(spec, lanes, given), np.arange(lanes, dtype=np.uint64))
    low, high = spec.action.low, spec.action.high

    def work() -> None:
        nonlocal state
        for _ in range(frames):
            state, _ = model.step(state, rng.uniform(low, high, (lanes, spec.action.size)).astype(np.float32))

    return Job(work, lanes * frames)


def _reach(model: WorldModel) -> int:
    return getattr(getattr(model, "network", None), "window", 0)


def cycle(subject: Subject, history: str) -> int:
    """Frames after which the cost of a frame repeats: kept features are moved, or begun again, every half window."""
    window = subject.network.window
    return window + 1 - (window + 1) // 2 if history in KEPT else 1


def noise_frames(spec: WorldSpec, lanes: int, frames: int = 1) -> np.ndarray:
    """uint8 `[lanes, frames, H, W, 3]`."""
    return np.random.default_rng(0).integers(0, 256, (lanes, frames, spec.height, spec.width, 3), dtype=np.uint8)
