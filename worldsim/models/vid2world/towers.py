"""The frozen towers around the U-Net: CLIP for the first frame, the empty text, and the autoencoder. All are library classes.

Here they are built from the keys of the original checkpoints (OpenCLIP's and latent diffusion's), with sizes read off the
shapes, and `Conditioner` puts first frame and empty text together. Knows nothing of the U-Net. diffusers and transformers
are imported on use.
"""

import math
from collections.abc import Callable, Mapping
from types import ModuleType

import torch
from torch import Tensor, nn

from worldsim.errors import DamagedFile, MissingDependency, install_extra
from worldsim.models.autoencoders import FrameAutoencoder
from worldsim.models.vid2world.openclip import IMAGE_NAMES, TEXT_NAMES, Weights, clip_pixels, from_open_clip

LATENT_SCALE = 0.18215
IMAGE_HEAD_WIDTH, TEXT_HEAD_WIDTH = 80, 64  # of ViT-H/14; shapes do not tell the number of heads
TEXT_PAD = 0  # what OpenCLIP's tokenizer fills the empty text with


def filled(build: Callable[[], nn.Module], weights: Weights, what: str) -> nn.Module:
    """The module of `build` around `weights` as they are: no copy, their own dtype; evaluation mode, no random initialisation.

    Raises:
        DamagedFile: missing, surplus or misshapen tensors; the line names the first.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        module = build()
    expected = {key: tensor.shape for key, tensor in module.state_dict().items()}
    faults = [f"{key} is missing" for key in expected if key not in weights] + [
        f"{key} is surplus" for key in weights if key not in expected
    ]
    faults += [
        f"{key} has shape {list(weights[key].shape)}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in weights and weights[key].shape != shape
    ]
    if faults:
        raise DamagedFile(f"{what}: {len(faults)} of {len(expected)} tensors do not fit, the first: {faults[0]}; get the checkpoint again")
    module.load_state_dict(weights, assign=True)
    return module.eval()


def transformers() -> ModuleType:
    """The library, imported on use.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import transformers as library
    except ImportError as error:
        raise MissingDependency(f"the image and text towers need transformers; type: {install_extra('vid2world')}") from error
    return library


def _count(weights: Weights, prefix: str) -> int:
    """Number of different names right behind `prefix`: layers of a stack."""
    return len({key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)})


def _present(weights: Weights, key: str, what: str) -> Tensor:
    if key not in weights:
        raise DamagedFile(f"{what}: {key} is missing; get the checkpoint again")
    return weights[key]


def _named_as(build: Callable[[], nn.Module], weights: Weights) -> dict[str, Tensor]:
    """`weights` under the prefix that this version of transformers gives the tower: none, or the tower's name."""
    with torch.device("meta"):
        prefix = next(iter(build().state_dict())).partition("embeddings.")[0]
    return {prefix + key: tensor for key, tensor in weights.items()}


def build_image_encoder(weights: Weights) -> nn.Module:
    """The image tower (transformers' `CLIPVisionModel`) from OpenCLIP's keys without `embedder.model.visual.`, frozen.

    `last_hidden_state` are the tokens of the last block, all 257 of ViT-H/14, without final norm or projection.

    Raises:
        DamagedFile: missing, surplus or misshapen tensors.
        MissingDependency: transformers is not installed.
    """
    library, what = transformers(), "image tower"
    width, _, patch, _ = _present(weights, "conv1.weight", what).shape
    side = math.isqrt(_present(weights, "positional_embedding", what).shape[0] - 1)
    config = library.CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=_present(weights, "transformer.resblocks.0.mlp.c_fc.weight", what).shape[0],
        num_hidden_layers=_count(weights, "transformer.resblocks."),
        num_attention_heads=max(1, width // IMAGE_HEAD_WIDTH),
        image_size=side * patch,
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )
    return load_image_encoder(config, from_open_clip(weights, IMAGE_NAMES))


def load_image_encoder(config: object, weights: Weights) -> nn.Module:
    """The image tower of a transformers configuration around transformers' keys, with or without their old `vision_model.` prefix."""
    library = transformers()
    bare = {key.removeprefix("vision_model."): tensor for key, tensor in weights.items()}

    def build() -> nn.Module:
        return library.CLIPVisionModel(config)

    return filled(build, _named_as(build, bare), "image tower").requires_grad_(requires_grad=False)


@torch.no_grad()
def empty_text_of(weights: Weights) -> Tensor:
    """What the text tower says about the empty string: `[77, 1024]` for ViT-H, the last block but one after the final norm.

    Args:
        weights: OpenCLIP's keys without `cond_stage_model.model.`. The last block is not needed and not run.

    Raises:
        DamagedFile: missing, surplus or misshapen tensors.
        MissingDependency: transformers is not installed.
    """
    library, what = transformers(), "text tower"
    vocabulary, width = _present(weights, "token_embedding.weight", what).shape
    length = _present(weights, "positional_embedding", what).shape[0]
    last = _count(weights, "transformer.resblocks.") - 1
    config = library.CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=_present(weights, "transformer.resblocks.0.mlp.c_fc.weight", what).shape[0],
        num_hidden_layers=last,
        num_attention_heads=max(1, width // TEXT_HEAD_WIDTH),
        max_position_embeddings=length,
        hidden_act="gelu",
        pad_token_id=TEXT_PAD,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )
    kept = {key: tensor for key, tensor in weights.items() if not key.startswith(f"transformer.resblocks.{last}.")}

    def build() -> nn.Module:
        return library.CLIPTextModel(config)

    tower = filled(build, _named_as(build, from_open_clip(kept, TEXT_NAMES)), what).float()
    tokens = torch.full((1, length), TEXT_PAD)
    tokens[0, 0], tokens[0, 1] = vocabulary - 2, vocabulary - 1  # begin and end are the last two words
    return tower(input_ids=tokens).last_hidden_state[0]


def build_autoencoder(weights: Weights) -> FrameAutoencoder:
    """The autoencoder (diffusers' `AutoencoderKL`) from latent diffusion's keys without `first_stage_model.`, frozen.

    Raises:
        DamagedFile: missing, surplus or misshapen tensors.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    what = "autoencoder"
    weights = {key: tensor for key, tensor in weights.items() if not key.startswith("loss.")}
    levels = _count(weights, "encoder.down.")
    config = {
        "block_out_channels": [_present(weights, f"encoder.down.{at}.block.0.conv1.weight", what).shape[0] for at in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _count(weights, "encoder.down.0.block."),
        "latent_channels": _present(weights, "post_quant_conv.weight", what).shape[0],
        "scaling_factor": LATENT_SCALE,
    }
    converted = convert_ldm_vae_checkpoint(dict(weights), config)
    if len(converted) != len(weights):
        raise DamagedFile(f"{what}: {len(weights) - len(converted)} of {len(weights)} tensors have unknown names; get the checkpoint again")
    return load_autoencoder(config, converted)


def load_autoencoder(config: Mapping[str, object], weights: Weights) -> FrameAutoencoder:
    """The autoencoder of a diffusers configuration around diffusers' keys, frozen."""
    from diffusers import AutoencoderKL

    return FrameAutoencoder(filled(lambda: AutoencoderKL.from_config(config), weights, "autoencoder").requires_grad_(requires_grad=False))


class Conditioner(nn.Module):
    """The first frame as the U-Net's context: the empty text's tokens, then the image's."""

    def __init__(self, image_encoder: nn.Module, resampler: nn.Module, empty_text: Tensor) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.resampler = resampler
        self.register_buffer("empty_text", empty_text, persistent=False)

    def see(self, frames: Tensor) -> Tensor:
        """First frames `[B, H, W, 3]` in [-1, 1] to the frozen tower's tokens `[B, 257, 1280]`."""
        pixels = clip_pixels(frames, self.image_encoder.config.image_size)
        return self.image_encoder(pixels).last_hidden_state.to(self.resampler.latents.dtype)

    def tokens(self, seen: Tensor) -> Tensor:
        """What `see` saw to context `[B, 77 + 256, 1024]`; the resampler is trained through here."""
        image = self.resampler(seen)
        return torch.cat([self.empty_text.to(image).expand(len(seen), -1, -1), image], dim=1)

    def forward(self, frames: Tensor) -> Tensor:
        """First frames `[B, H, W, 3]` in [-1, 1] to context `[B, 77 + 256, 1024]`."""
        return self.tokens(self.see(frames))
