"""What `world_model=` may name when a world model is trained: a preset, or a pretrained video U-Net of diffusers. Values only."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldsim.errors import InvalidInput
from worldsim.experiments.presets import load_preset

KINDS = ("video_unet", "vid2world", "diffusers")


@dataclass
class ModelPreset:
    """One world model to be trained; the values live in `configs/world_models/NAME.yaml`.

    Attributes:
        kind: of network, see `worldsim.models.networks`.
        network: sizes of the network; latent size and action size come from the data where they are left out.
        latent_channels, autoencoder_width: of the autoencoder that the first stage trains.
        objective: "two-stream" (targets see a nearly clean history) or "forcing" (every frame at its own level, as in the paper).
        prediction, schedule: what the network predicts, and how noise is added.
        clip: frames per training clip.
        action_dropout, image_dropout: shares of frames and clips trained without their action and without the first image.
        batch, learning_rate: null takes the stage's own.
        constant_rate: keep the learning rate, as the paper does.
        average: decay of the averaged weights; 0 keeps none.
        clip_norm: of the gradient.
        pretrained: whether causalization must begin at a pretrained network.
        episodes: recorded for a run whose `data` names a true world and is not there; null refuses it.
        sampler: options of the sampler that the checkpoint is saved with.
    """

    kind: str = "video_unet"
    network: dict[str, Any] = field(default_factory=dict)
    latent_channels: int = 12
    autoencoder_width: int = 64
    objective: str = "two-stream"
    prediction: str = "clean"
    schedule: str = "linear"
    clip: int = 12
    action_dropout: float = 0.1
    image_dropout: float = 0.0
    batch: int | None = None
    learning_rate: float | None = None
    constant_rate: bool = False
    average: float = 0.998
    clip_norm: float = 1.0
    pretrained: bool = True
    episodes: int | None = None
    sampler: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput(f'kind is "{self.kind}", expected one of {", ".join(KINDS)}')
        if self.objective not in ("two-stream", "forcing"):
            raise InvalidInput(f'objective is "{self.objective}", expected two-stream or forcing')


DIFFUSERS = {
    "kind": "diffusers",
    "objective": "forcing",
    "prediction": "v",
    "schedule": "zero_snr",
    "clip": 16,
    "action_dropout": 0.2,
    "batch": 2,
    "learning_rate": 1e-5,
    "sampler": {"steps": 10, "guidance": 2.5, "rescale": 0.7, "history": "recompute", "history_level": 0.04},
}


def model_preset(name: str) -> ModelPreset:
    """A preset by name or YAML file, or one for the folder of a pretrained U-Net that diffusers' `save_pretrained` wrote.

    Raises:
        UnknownName, InvalidInput: see `load_preset`; or a folder that holds no U-Net.
    """
    if not Path(name).is_dir():
        return load_preset("world_model", name, ModelPreset)
    try:
        described = json.loads((Path(name) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{name} holds no readable config.json, expected the unet folder of a diffusers pipeline") from error
    if "_class_name" not in described:
        raise InvalidInput(f"{name}/config.json names no _class_name, expected the unet folder of a diffusers pipeline; see docs/method.md")
    return ModelPreset(folder=name, **DIFFUSERS)
