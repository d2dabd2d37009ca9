"""How loaded networks are run: number format, memory format, compilation. None of it changes what is computed, but for rounding."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.autoencoder import Autoencoder
from worldsim.models.blocks import TemporalConv
from worldsim.models.cpu import choose_precision
from worldsim.models.video_unet import VideoUNet
from worldsim.registry import did_you_mean

PRECISIONS = ("auto", "fp32", "bf16")
COMPILE = ("none", "default", "cudagraphs")
VARIANTS = 64  # of a network, by lanes, branches and frames, before torch.compile goes back to running it as it is; its own limit is 8


@dataclass(frozen=True)
class Engine:
    """What each option is worth on which machine stands in docs/performance.md.

    Attributes:
        precision: "bf16" multiplies in bfloat16 and holds the weights of products in it, which are half as large; sums and norms stay in
            float32. "auto" is that where the device has it in hardware.
        channels_last: hold the weights of 2-D convolutions with their channels last. None does so where features lie that way, as in our
            own networks; otherwise each pass would turn the weights.
        compile: "default" is torch.compile, which takes a minute or more at the first frames; "cudagraphs" also replays each pass as one
            CUDA graph.
    """

    precision: str = "auto"
    channels_last: bool | None = None
    compile: str = "none"

    def __post_init__(self) -> None:
        for key, known in (("precision", PRECISIONS), ("compile", COMPILE)):
            if getattr(self, key) not in known:
                raise UnknownName(f'unknown {key} "{getattr(self, key)}"; {did_you_mean(str(getattr(self, key)), known)}')

    def prepare(self, network: nn.Module, autoencoder: Any, device: str) -> str:
        """Move both to `device` and get them ready, in place. Returns the precision that "auto" means there.

        Raises:
            InvalidInput: CUDA graphs without a GPU.
        """
        if self.compile == "cudagraphs" and torch.device(device).type != "cuda":
            raise InvalidInput(f"compile=cudagraphs needs a GPU, and the device is {device}; type compile=default")
        precision = choose_precision(self.precision, device)
        for module in (network.to(device), autoencoder.to(device)):
            if precision == "bf16":
                _hold_bf16(module)
            own = isinstance(module, VideoUNet | Autoencoder)
            if own if self.channels_last is None else self.channels_last:
                _hold_channels_last(module)
            _hold_taps(module)
        if self.compile != "none":
            self._compile(network, autoencoder.decoder)
        return precision

    def _compile(self, network: nn.Module, decoder: nn.Module) -> None:
        import torch._dynamo.config as limits

        limits.recompile_limit = max(limits.recompile_limit, VARIANTS)
        mode = "reduce-overhead" if self.compile == "cudagraphs" else None
        network.compile(mode=mode)
        decoder.compile(mode=mode)


@torch.no_grad()
def _hold_bf16(module: nn.Module) -> None:
    """Cast once the weights that enter products alone, which autocast would cast in every pass."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | TemporalConv):
            for parameter in layer.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.bfloat16)


@torch.no_grad()
def _hold_channels_last(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _hold_taps(module: nn.Module) -> None:
    """Let each tap of a temporal convolution `[C, C, 3, 1, 1]` lie in one piece, as it is used."""
    for layer in module.modules():
        if isinstance(layer, TemporalConv):
            layer.weight.data = layer.weight.data.movedim(2, 0).contiguous().movedim(0, 2)
