"""What is OpenCLIP's about the CLIP towers: the names of its weights, which transformers calls otherwise, and the pixels it expects.

Knows no tower.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
IMAGE_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    **{
        f"ln_{at}.{kind}": f"{name}.{kind}"
        for at, name in (("pre", "pre_layrnorm"), ("post", "post_layernorm"))
        for kind in ("weight", "bias")
    },
}
TEXT_NAMES = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
UNUSED = ("proj", "text_projection", "logit_scale", "attn_mask")  # contrastive heads and a mask that is recomputed


Weights = Mapping[str, Tensor]


def from_open_clip(weights: Weights, names: Mapping[str, str]) -> dict[str, Tensor]:
    """OpenCLIP's keys of one tower as transformers' keys. Joint projections are split into views; unknown keys stay as they are.

    Args:
        weights: keys without the tower's prefix.
        names: what lies outside the blocks, `IMAGE_NAMES` or `TEXT_NAMES`.
    """
    converted: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        if key.startswith("transformer.resblocks."):
            _, _, layer, rest = key.split(".", 3)
            for name, part in _block_parts(rest, tensor):
                converted[f"encoder.layers.{layer}.{name}"] = part
        elif key not in UNUSED:
            converted[names.get(key, key)] = tensor
    return converted


def _block_parts(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """(new name, tensor) of one tensor of a block, three of a joint projection."""
    if name.startswith("attn.in_proj_"):
        kind = name.removeprefix("attn.in_proj_")
        return [(f"self_attn.{which}_proj.{kind}", part) for which, part in zip("qkv", tensor.chunk(3), strict=True)]
    stem, _, kind = name.rpartition(".")
    return [(f"{BLOCK_NAMES.get(stem, stem)}.{kind}", tensor)]


def clip_pixels(frames: Tensor, size: int) -> Tensor:
    """Frames `[B, H, W, 3]` in [-1, 1] to what CLIP expects: float32 `[B, 3, size, size]`, normalised.

    As the checkpoints were trained: the whole frame squeezed into a square, a Gaussian blur against aliasing where it shrinks
    (sigma is half of the factor minus one, the kernel four sigmas wide), then bicubic with the corners aligned.
    """
    pixels = frames.permute(0, 3, 1, 2).float()  # b h w c -> b c h w
    if pixels.shape[-2:] != (size, size):
        if max(pixels.shape[-2:]) > size:
            pixels = _blurred(_blurred(pixels, size).transpose(-2, -1), size).transpose(-2, -1)
        pixels = F.interpolate(pixels, size=(size, size), mode="bicubic", align_corners=True)
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return ((pixels + 1) / 2 - mean) / std


def _blurred(pixels: Tensor, size: int) -> Tensor:
    """`pixels` blurred along the last axis as needed to shrink it to `size`."""
    sigma = max((pixels.shape[-1] / size - 1) / 2, 0.001)
    reach = int(max(4 * sigma, 3)) // 2
    offsets = torch.arange(-reach, reach + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(pixels.shape[1], 1, 1, -1)
    return F.conv2d(F.pad(pixels, (reach, reach, 0, 0), mode="reflect"), kernel, groups=pixels.shape[1])
