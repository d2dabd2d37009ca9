"""How each video U-Net of diffusers is called: the order of its axes and the inputs that it wants beside latents and timesteps.

Knows nothing about causality, actions or noise levels. diffusers is imported only when a network is built.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

FIRST = "first_latents"  # the context entry that holds the latents of the first frames, [B, h, w, C]
SVD_IDS = (6.0, 127.0, 0.0)  # frames per second less one, motion bucket, noise on the first frame


@dataclass(frozen=True)
class Family:
    """One class of U-Net.

    Attributes:
        time_axis: axis of the frames in its `sample`: 1 of `[B, T, C, h, w]` or 2 of `[B, C, T, h, w]`.
        neutral: its config to one row of each input beside sample, timestep and first frame, with the value that says nothing.
        concatenated: the first frame's latent is appended to the channels of every frame.
        first_input: the name of the input that takes the first frame's latent, repeated over time like `sample`.
        text_per_frame: `encoder_hidden_states` has a row for each frame, `[B * T, L, D]`.
    """

    time_axis: int
    neutral: Callable[[Mapping[str, Any]], dict[str, Tensor]]
    concatenated: bool = False
    first_input: str | None = None
    text_per_frame: bool = False

    @property
    def takes_first(self) -> bool:
        """Whether the first frame's latent is an input."""
        return self.concatenated or self.first_input is not None


def _text(config: Mapping[str, Any]) -> dict[str, Tensor]:
    size = config["cross_attention_dim"]
    return {"encoder_hidden_states": torch.zeros(1, size if isinstance(size, int) else size[0])}


def _svd(config: Mapping[str, Any]) -> dict[str, Tensor]:
    count = config["projection_class_embeddings_input_dim"] // config["addition_time_embed_dim"]
    ids = torch.tensor(SVD_IDS) if count == len(SVD_IDS) else torch.zeros(count)
    return {**_text(config), "added_time_ids": ids}


def _i2vgen(config: Mapping[str, Any]) -> dict[str, Tensor]:
    return {**_text(config), "image_embeddings": torch.zeros(config["cross_attention_dim"]), "fps": torch.tensor(16.0)}


FAMILIES = {
    "UNetSpatioTemporalConditionModel": Family(1, _svd, concatenated=True),
    "UNet3DConditionModel": Family(2, _text),
    "I2VGenXLUNet": Family(2, _i2vgen, first_input="image_latents"),
    "UNetMotionModel": Family(2, _text, text_per_frame=True),
}


def family_named(name: str) -> Family:
    """The family of a class name.

    Raises:
        UnknownName: with the closest known name.
    """
    if name not in FAMILIES:
        raise UnknownName(f'unknown U-Net class "{name}"; {did_you_mean(name, FAMILIES)}')
    return FAMILIES[name]


def family_of(unet: nn.Module) -> Family:
    """The family of a network, by its class or a class that it descends from.

    Raises:
        UnknownName: a class of no family.
    """
    names = [each.__name__ for each in type(unet).__mro__]
    return family_named(next((name for name in names if name in FAMILIES), names[0]))


def is_unet(net: nn.Module) -> bool:
    """Whether `net` is a U-Net of one of the families itself."""
    return any(each.__name__ in FAMILIES for each in type(net).__mro__)


def build_unet(class_name: str, values: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised U-Net from its class and the values of its config; entries that begin with `_` are notes and left out.

    Raises:
        UnknownName: unknown class, or a config entry that the class does not have.
        InvalidInput: values that the class refuses, or a network that takes other inputs than its family's.
    """
    family = family_named(class_name)
    import diffusers

    made = getattr(diffusers, class_name)
    values = {name: value for name, value in values.items() if not name.startswith("_")}
    known = inspect.signature(made).parameters
    for name in values:
        if name not in known:
            raise UnknownName(f'{class_name} has no config entry "{name}"; {did_you_mean(name, known)}')
    try:
        unet = made(**values)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InvalidInput(f"{class_name} refuses this config: {str(error).splitlines()[0]}") from error
    _check(class_name, unet.config, family)
    return unet


def _check(class_name: str, config: Mapping[str, Any], family: Family) -> None:
    expected = config["out_channels"] * (2 if family.concatenated else 1)
    if config["in_channels"] != expected:
        raise InvalidInput(
            f"this {class_name} takes {config['in_channels']} channels in and gives {config['out_channels']}, expected {expected} in; "
            "inpainting and masked variants are not supported"
        )
    for entry in ("addition_embed_type", "encoder_hid_dim_type"):
        if config.get(entry) is not None:
            raise InvalidInput(
                f'this {class_name} has {entry}="{config[entry]}", expected null; take one without SDXL or IP-Adapter inputs'
            )


def config_values(unet: nn.Module) -> dict[str, Any]:
    """The config of a U-Net as values that JSON keeps: tuples become lists, notes are left out."""
    return {name: _plain(value) for name, value in unet.config.items() if not name.startswith("_")}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def smallest_latents(unet: nn.Module) -> tuple[int, int, int]:
    """`(h, w, C)` of the smallest latents whose deepest map still has 2 x 2 places."""
    side = 2 ** len(unet.config["block_out_channels"])
    return side, side, unet.config["out_channels"]


def neutral_context(unet: nn.Module, first_latents: Tensor) -> dict[str, Tensor]:
    """Everything that `call` takes as context, with the values that say nothing except the first latents.

    Args:
        unet: a network of one of the families.
        first_latents: `[B, h, w, C]`.

    Returns:
        "first_latents" where the network takes them, and `[B, ...]` for each other input.
    """
    family, rows = family_of(unet), len(first_latents)
    context = {name: row.to(first_latents).expand(rows, *row.shape) for name, row in family.neutral(unet.config).items()}
    return context | ({FIRST: first_latents} if family.takes_first else {})


def call(unet: nn.Module, latents: Tensor, timesteps: Tensor, context: Mapping[str, Tensor] | None = None) -> Tensor:
    """Evaluate any U-Net of the families.

    Args:
        unet: as diffusers made it, or causalized.
        latents: noisy latents `[B, T, C, h, w]`.
        timesteps: `[B]`; a causalized network also takes `[B, T]`, one for each frame.
        context: `[B, ...]` by name, see `neutral_context`; a missing entry is neutral (a first frame of zeros). I2VGen-XL sees the
            first frame's latent at every time, so that a frame's input does not depend on how many frames there are.

    Returns:
        `[B, T, C, h, w]`.

    Raises:
        UnknownName: a context entry that the network does not take.
        InvalidInput: a context entry with another number of rows.
    """
    family = family_of(unet)
    inputs = neutral_context(unet, latents.new_zeros(len(latents), *latents.shape[-2:], latents.shape[2]))
    inputs |= _checked(context or {}, inputs, len(latents))
    sample = latents
    if family.takes_first:
        first = inputs.pop(FIRST).permute(0, 3, 1, 2)[:, None].expand_as(latents)  # [B, T, C, h, w]
        if family.concatenated:
            sample = torch.cat([latents, first], dim=2)
        else:
            inputs[family.first_input] = first.movedim(1, family.time_axis)
    if family.text_per_frame:
        inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"].repeat_interleave(latents.shape[1], dim=0)
    output = unet(sample.movedim(1, family.time_axis), timesteps, **inputs, return_dict=False)[0]
    return output.movedim(family.time_axis, 1)


def _checked(context: Mapping[str, Tensor], known: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    for name, value in context.items():
        if name not in known:
            raise UnknownName(f'this network takes no context "{name}"; {did_you_mean(name, known)}')
        if len(value) != rows:
            raise InvalidInput(f'context "{name}" has {len(value)} rows, expected {rows}: one for each row of the batch')
    return {name: value.to(known[name]) for name, value in context.items()}
