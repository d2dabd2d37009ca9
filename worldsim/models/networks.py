"""The kinds of video network that a checkpoint may hold, by name. A checkpoint of before there were kinds holds a "video_unet"."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from worldsim.errors import UnknownName
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig
from worldsim.registry import did_you_mean


def _video_unet(values: Mapping[str, Any]) -> VideoUNet:
    return VideoUNetConfig(**values).build()


def _diffusers(values: Mapping[str, Any]) -> nn.Module:
    from worldsim.models.diffusers_unet import DiffusersUNetConfig

    return DiffusersUNetConfig(**values).build()


def _vid2world(values: Mapping[str, Any]) -> nn.Module:
    from worldsim.models.vid2world.network import build_vid2world

    return build_vid2world(values)


BUILDERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "video_unet": _video_unet,
    "diffusers": _diffusers,
    "vid2world": _vid2world,
}


def kind_of(config: Mapping[str, Any]) -> str:
    """The kind of network that a checkpoint's config describes."""
    return config.get("network_kind", "video_unet")


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """The network that a checkpoint's config describes under "network", freshly initialised; its kind stands under "network_kind".

    Raises:
        UnknownName: a kind that this version does not know.
    """
    kind = kind_of(config)
    if kind not in BUILDERS:
        raise UnknownName(f'unknown kind of network "{kind}"; {did_you_mean(kind, BUILDERS)}')
    return BUILDERS[kind](config["network"])


def network_facts(network: nn.Module) -> dict[str, Any]:
    """What a checkpoint's config says about `network`, for `build_network` to read."""
    return {"network_kind": network.kind, "network": network.describe()}
