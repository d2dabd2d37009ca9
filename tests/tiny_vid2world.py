"""Tiny random weights under the names of the official checkpoints, drawn the way the originals lay them out."""

from dataclasses import replace

import torch
from torch import Tensor

from worldsim.models.vid2world import convert as conversion
from worldsim.models.vid2world.buffers import schedule_buffers
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.convert import Choices
from worldsim.models.vid2world.loading import official_weights
from worldsim.models.vid2world.resampler import ResamplerConfig

IMAGE, PATCH, SIDE = 160, 4, 3  # width of the image tower (2 heads of 80), pixels of a patch, patches per side
TEXT, WORDS, LENGTH = 128, 50, 77


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.1


def norm(name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + draw(width), f"{name}.bias": draw(width)}


def linear(name: str, out: int, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": draw(out, width), f"{name}.bias": draw(out)}


def resblocks(width: int, depth: int) -> dict[str, Tensor]:
    """OpenCLIP's transformer."""
    found: dict[str, Tensor] = {}
    for at in range(depth):
        name = f"transformer.resblocks.{at}"
        found |= {f"{name}.attn.in_proj_weight": draw(3 * width, width), f"{name}.attn.in_proj_bias": draw(3 * width)}
        found |= linear(f"{name}.attn.out_proj", width, width)
        found |= norm(f"{name}.ln_1", width) | norm(f"{name}.ln_2", width)
        found |= linear(f"{name}.mlp.c_fc", 2 * width, width) | linear(f"{name}.mlp.c_proj", width, 2 * width)
    return found


def image_tower(depth: int = 2) -> dict[str, Tensor]:
    return {
        "class_embedding": draw(IMAGE),
        "positional_embedding": draw(SIDE**2 + 1, IMAGE),
        "proj": draw(IMAGE, TEXT),
        "conv1.weight": draw(IMAGE, 3, PATCH, PATCH),
        **norm("ln_pre", IMAGE),
        **norm("ln_post", IMAGE),
        **resblocks(IMAGE, depth),
    }


def text_tower(depth: int = 3) -> dict[str, Tensor]:
    return {
        "positional_embedding": draw(LENGTH, TEXT),
        "text_projection": draw(TEXT, TEXT),
        "logit_scale": torch.tensor(4.6),
        "token_embedding.weight": draw(WORDS, TEXT),
        **norm("ln_final", TEXT),
        **resblocks(TEXT, depth),
    }


def _residual(name: str, channels: int, out: int) -> dict[str, Tensor]:
    found = (
        norm(f"{name}.norm1", channels)
        | norm(f"{name}.norm2", out)
        | conv(f"{name}.conv1", out, channels)
        | conv(f"{name}.conv2", out, out)
    )
    return found | (conv(f"{name}.nin_shortcut", out, channels, 1) if channels != out else {})


def conv(name: str, out: int, channels: int, size: int = 3) -> dict[str, Tensor]:
    return {f"{name}.weight": draw(out, channels, size, size), f"{name}.bias": draw(out)}


def _middle(name: str, width: int) -> dict[str, Tensor]:
    found = _residual(f"{name}.block_1", width, width) | _residual(f"{name}.block_2", width, width) | norm(f"{name}.attn_1.norm", width)
    for each in ("q", "k", "v", "proj_out"):
        found |= conv(f"{name}.attn_1.{each}", width, width, 1)
    return found


def autoencoder(widths: tuple[int, ...] = (32, 64), blocks: int = 1) -> dict[str, Tensor]:
    """Latent diffusion's autoencoder: `blocks` residual blocks per level going down, one more going up."""
    top = widths[-1]
    found = conv("encoder.conv_in", widths[0], 3) | conv("encoder.conv_out", 8, top) | norm("encoder.norm_out", top)
    found |= conv("decoder.conv_in", top, 4) | conv("decoder.conv_out", 3, widths[0]) | norm("decoder.norm_out", widths[0])
    found |= _middle("encoder.mid", top) | _middle("decoder.mid", top) | conv("quant_conv", 8, 8, 1) | conv("post_quant_conv", 4, 4, 1)
    for level, width in enumerate(widths):
        below, above = widths[max(0, level - 1)], widths[min(len(widths) - 1, level + 1)]
        for block in range(blocks):
            found |= _residual(f"encoder.down.{level}.block.{block}", below if block == 0 else width, width)
        for block in range(blocks + 1):
            found |= _residual(f"decoder.up.{level}.block.{block}", above if block == 0 else width, width)
        if level < len(widths) - 1:
            found |= conv(f"encoder.down.{level}.downsample.conv", width, width)
        if level > 0:
            found |= conv(f"decoder.up.{level}.upsample.conv", width, width)
    return found


official_config = conversion.unet_config  # tests put `unet_config` in its place
RESAMPLER = ResamplerConfig(tokens=6, width=64, depth=2, heads=2, image_width=IMAGE, context_width=TEXT)


def unet_config(choices: Choices) -> Vid2WorldConfig:
    """The official U-Net made tiny."""
    sizes = {"model_channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "attention_at": (1,), "head_channels": 16}
    sizes |= {"context_dim": TEXT, "tokens_per_frame": 3, "frames": 2, "latent_height": 4, "latent_width": 4}
    return replace(official_config(choices), **sizes)


def checkpoint(*, base: bool = False) -> dict[str, Tensor]:
    """A whole checkpoint of Vid2World RT1, or of DynamiCrafter."""
    config = unet_config(Choices("rt1"))
    named = official_weights((replace(config, causal=False, action_size=0) if base else config).build())
    parts = {
        "": {key: draw(*value.shape) for key, value in named.items()} | schedule_buffers(),
        "image_proj_model.": RESAMPLER.build().state_dict(),
        "first_stage_model.": autoencoder(),
        "embedder.model.visual.": image_tower(),
        "cond_stage_model.model.": text_tower(),
    }
    return {prefix + key: value.float() for prefix, tensors in parts.items() for key, value in tensors.items()}
