"""The image projector: image tokens of the first frame to the context tokens that the U-Net attends to. Knows neither tower nor U-Net.

Learned latents ask the image tokens and each other four times over (a perceiver resampler). Names and shapes are those of the
official checkpoints under `image_proj_model.`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ResamplerConfig:
    """Sizes of the image projector; the defaults are DynamiCrafter 512's: 16 tokens for each of 16 frames.

    Attributes:
        tokens: context tokens that come out.
        width: width of the latents inside.
        depth: blocks of attention and MLP.
        heads: attention heads of 64 values.
        image_width: width of the image tokens that come in.
        context_width: width of the context tokens that come out.
        expansion: hidden width of the MLP over `width`.
    """

    tokens: int = 256
    width: int = 1024
    depth: int = 4
    heads: int = 12
    image_width: int = 1280
    context_width: int = 1024
    expansion: int = 4

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "ResamplerConfig":
        """The sizes of a checkpoint, read off its shapes.

        Raises:
            KeyError: a tensor that every resampler has is missing.
        """
        _, tokens, width = weights["latents"].shape
        return cls(
            tokens=tokens,
            width=width,
            depth=len({key.split(".")[1] for key in weights if key.startswith("layers.")}),
            heads=weights["layers.0.0.to_q.weight"].shape[0] // HEAD_WIDTH,
            image_width=weights["proj_in.weight"].shape[1],
            context_width=weights["proj_out.weight"].shape[0],
            expansion=weights["layers.0.1.1.weight"].shape[0] // width,
        )

    def build(self) -> "Resampler":
        """A freshly initialised projector."""
        return Resampler(self)


class _LatentAttention(nn.Module):
    """Latents attend to image tokens and to themselves."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = heads * HEAD_WIDTH
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, image: Tensor, latents: Tensor) -> Tensor:
        image, latents = self.norm1(image), self.norm2(latents)
        keys, values = self.to_kv(torch.cat([image, latents], dim=1)).chunk(2, dim=-1)
        queries, keys, values = (_heads(x) for x in (self.to_q(latents), keys, values))
        return self.to_out(F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))  # b n l d -> b l (n d)


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)  # b l (n d) -> b n l d


def _mlp(width: int, expansion: int) -> nn.Sequential:
    hidden = expansion * width
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width, bias=False))


class Resampler(nn.Module):
    """Image tokens `[B, N, image_width]` to context tokens `[B, tokens, context_width]`."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.randn(1, config.tokens, config.width) / config.width**0.5)
        self.proj_in = nn.Linear(config.image_width, config.width)
        self.proj_out = nn.Linear(config.width, config.context_width)
        self.norm_out = nn.LayerNorm(config.context_width)
        self.layers = nn.ModuleList(
            nn.ModuleList([_LatentAttention(config.width, config.heads), _mlp(config.width, config.expansion)]) for _ in range(config.depth)
        )

    def forward(self, image: Tensor) -> Tensor:
        image = self.proj_in(image)
        latents = self.latents.expand(len(image), -1, -1)
        for attend, mlp in self.layers:
            latents = latents + attend(image, latents)
            latents = latents + mlp(latents)
        return self.norm_out(self.proj_out(latents))
