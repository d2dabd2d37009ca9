"""The conditioning path of Vid2World: image projector, CLIP towers, autoencoder, context tokens."""

import math
import subprocess
import sys

import pytest
import tiny_vid2world as tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import DamagedFile
from worldsim.models.vid2world.openclip import IMAGE_NAMES, clip_pixels, from_open_clip
from worldsim.models.vid2world.resampler import Resampler, ResamplerConfig
from worldsim.models.vid2world.towers import (
    LATENT_SCALE,
    Conditioner,
    build_autoencoder,
    build_image_encoder,
    empty_text_of,
    filled,
    load_image_encoder,
)

pytestmark = pytest.mark.slow  # as a file

SMALL = ResamplerConfig(tokens=6, width=64, depth=2, heads=2, image_width=tiny.IMAGE, context_width=tiny.TEXT)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def open_clip_block(weights: dict[str, Tensor], at: int, heads: int, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """One block as OpenCLIP computes it: x `[B, L, W]`, torch's own multi-head attention with the joint projection."""
    own = {key.split(".", 3)[3]: value for key, value in weights.items() if key.startswith(f"transformer.resblocks.{at}.")}
    attention = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True)
    attention.load_state_dict({key.removeprefix("attn."): value for key, value in own.items() if key.startswith("attn.")})
    inner = F.layer_norm(x, x.shape[-1:], own["ln_1.weight"], own["ln_1.bias"])
    x = x + attention(inner, inner, inner, need_weights=False, attn_mask=mask)[0]
    inner = F.layer_norm(x, x.shape[-1:], own["ln_2.weight"], own["ln_2.bias"])
    return x + F.linear(
        F.gelu(F.linear(inner, own["mlp.c_fc.weight"], own["mlp.c_fc.bias"])), own["mlp.c_proj.weight"], own["mlp.c_proj.bias"]
    )


@torch.no_grad()
def open_clip_tokens(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    patches = F.conv2d(pixels, weights["conv1.weight"], stride=tiny.PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([weights["class_embedding"].expand(len(pixels), 1, -1), patches], 1) + weights["positional_embedding"]
    x = F.layer_norm(x, x.shape[-1:], weights["ln_pre.weight"], weights["ln_pre.bias"])
    for at in range(2):
        x = open_clip_block(weights, at, tiny.IMAGE // 80, x)
    return x


@torch.no_grad()
def open_clip_penultimate(weights: dict[str, Tensor], tokens: Tensor, depth: int) -> Tensor:
    x = (weights["token_embedding.weight"][tokens] + weights["positional_embedding"])[None]
    mask = torch.full((tiny.LENGTH, tiny.LENGTH), -math.inf).triu(1)
    for at in range(depth - 1):
        x = open_clip_block(weights, at, tiny.TEXT // 64, x, mask)
    return F.layer_norm(x, x.shape[-1:], weights["ln_final.weight"], weights["ln_final.bias"])[0]


def test_the_full_projector_has_the_official_shapes():
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in ResamplerConfig().build().state_dict().items()}
    expected = {"latents": (1, 256, 1024)}
    expected |= {"proj_in.weight": (1024, 1280), "proj_in.bias": (1024,), "proj_out.weight": (1024, 1024), "proj_out.bias": (1024,)}
    expected |= {"norm_out.weight": (1024,), "norm_out.bias": (1024,)}
    for at in range(4):
        attention, mlp = f"layers.{at}.0", f"layers.{at}.1"
        expected |= {
            f"{name}.{kind}": (1024,) for name in (f"{attention}.norm1", f"{attention}.norm2", f"{mlp}.0") for kind in ("weight", "bias")
        }
        expected |= {
            f"{attention}.to_q.weight": (768, 1024),
            f"{attention}.to_kv.weight": (1536, 1024),
            f"{attention}.to_out.weight": (1024, 768),
        }
        expected |= {f"{mlp}.1.weight": (4096, 1024), f"{mlp}.3.weight": (1024, 4096)}
    assert shapes == expected
    assert sum(math.prod(shape) for shape in shapes.values()) == 48_787_456


def test_the_projector_reads_its_sizes_off_its_weights():
    assert ResamplerConfig.of(SMALL.build().state_dict()) == SMALL
    with torch.device("meta"):
        assert ResamplerConfig.of(ResamplerConfig().build().state_dict()) == ResamplerConfig()


@torch.no_grad()
def test_the_projector_is_softmax_attention_over_image_and_latents():
    net = Resampler(ResamplerConfig(tokens=3, width=64, depth=1, heads=1, image_width=64, context_width=64)).double()
    image = torch.randn(2, 5, 64, dtype=torch.float64)
    attend, mlp = net.layers[0]
    inside, latents = net.proj_in(image), net.latents.repeat(2, 1, 1)
    seen = torch.cat([attend.norm1(inside), attend.norm2(latents)], 1)
    queries, keys, values = attend.norm2(latents) @ attend.to_q.weight.T, *(seen @ attend.to_kv.weight.T).split(64, -1)
    latents = latents + (queries @ keys.transpose(1, 2) / 8).softmax(-1) @ values @ attend.to_out.weight.T
    latents = latents + F.gelu(mlp[0](latents) @ mlp[1].weight.T) @ mlp[3].weight.T
    torch.testing.assert_close(net(image), net.norm_out(net.proj_out(latents)), atol=1e-10, rtol=0)


def test_the_image_tower_computes_what_open_clip_computes():
    weights = tiny.image_tower()
    tower = build_image_encoder(weights)
    pixels = torch.randn(2, 3, 12, 12)
    tokens = tower(pixels).last_hidden_state
    assert tokens.shape == (2, 10, tiny.IMAGE)
    assert not tokens.requires_grad
    torch.testing.assert_close(tokens, open_clip_tokens(weights, pixels), atol=1e-5, rtol=0)


def test_the_full_image_tower_has_vit_h_keys():
    with torch.device("meta"):
        weights = {
            "class_embedding": torch.empty(1280),
            "positional_embedding": torch.empty(257, 1280),
            "proj": torch.empty(1280, 1024),
            "conv1.weight": torch.empty(1280, 3, 14, 14),
            **{f"ln_{at}.{kind}": torch.empty(1280) for at in ("pre", "post") for kind in ("weight", "bias")},
        }
        for at in range(32):
            name = f"transformer.resblocks.{at}"
            shapes = {"attn.in_proj_weight": (3840, 1280), "attn.in_proj_bias": (3840,)}
            shapes |= {"attn.out_proj.weight": (1280, 1280), "mlp.c_fc.weight": (5120, 1280), "mlp.c_proj.weight": (1280, 5120)}
            shapes |= {"attn.out_proj.bias": (1280,), "mlp.c_fc.bias": (5120,), "mlp.c_proj.bias": (1280,)}
            shapes |= {f"ln_{each}.{kind}": (1280,) for each in (1, 2) for kind in ("weight", "bias")}
            weights |= {f"{name}.{key}": torch.empty(shape) for key, shape in shapes.items()}
    tower = build_image_encoder(weights)
    config = tower.config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (1280, 32, 16)
    assert (config.image_size, config.patch_size, config.hidden_act, config.layer_norm_eps) == (224, 14, "gelu", 1e-5)
    assert tower.embeddings.num_positions == 257
    assert sum(each.numel() for each in tower.parameters()) == 632_076_800 - 1280 * 1024


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("transformer.resblocks.1.attn.in_proj_bias"), "encoder.layers.1.self_attn.k_proj.bias is missing"),
        (lambda w: w.update(register_tokens=torch.zeros(2)), "register_tokens is surplus"),
        (lambda w: w.update({"transformer.resblocks.0.attn.bias_k": torch.zeros(2)}), "attn.bias_k is surplus"),
        (lambda w: w.update({"ln_pre.weight": torch.zeros(3)}), r"pre_layrnorm.weight has shape \[3\], expected \[160\]"),
        (lambda w: w.pop("conv1.weight"), "conv1.weight is missing"),
    ],
)
def test_a_wrong_image_tower_is_refused(change, reason):
    weights = tiny.image_tower()
    change(weights)
    with pytest.raises(DamagedFile, match=reason) as refused:
        build_image_encoder(weights)
    assert "\n" not in str(refused.value)


def test_old_names_of_the_image_tower_are_read():
    weights = tiny.image_tower()
    tower = build_image_encoder(weights)
    again = load_image_encoder(tower.config, {f"vision_model.{key}": value for key, value in from_open_clip(weights, IMAGE_NAMES).items()})
    pixels = torch.randn(1, 3, 12, 12)
    assert torch.equal(tower(pixels).last_hidden_state, again(pixels).last_hidden_state)


def test_splitting_a_joint_projection_copies_nothing():
    weights = tiny.image_tower()
    joint = weights["transformer.resblocks.0.attn.in_proj_weight"]
    converted = from_open_clip(weights, IMAGE_NAMES)
    parts = [converted[f"encoder.layers.0.self_attn.{which}_proj.weight"] for which in "qkv"]
    assert torch.equal(torch.cat(parts), joint)
    assert all(part.untyped_storage().data_ptr() == joint.untyped_storage().data_ptr() for part in parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_empty_text_is_the_last_block_but_one_after_the_final_norm(dtype):
    weights = {key: value.to(dtype) for key, value in tiny.text_tower(depth=3).items()}
    tokens = torch.tensor([tiny.WORDS - 2, tiny.WORDS - 1] + [0] * (tiny.LENGTH - 2))
    expected = open_clip_penultimate({key: value.float() for key, value in weights.items()}, tokens, depth=3)
    found = empty_text_of(weights)
    assert found.shape == (tiny.LENGTH, tiny.TEXT)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_last_text_block_is_not_needed():
    weights = tiny.text_tower(depth=3)
    found = empty_text_of(weights)
    weights["transformer.resblocks.2.mlp.c_fc.weight"] += 1
    assert torch.equal(empty_text_of(weights), found)
    weights["transformer.resblocks.1.mlp.c_fc.weight"] += 1
    assert not torch.allclose(empty_text_of(weights), found)


def test_pixels_of_the_right_size_are_only_normalised():
    frames = torch.rand(2, 8, 8, 3) * 2 - 1
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    torch.testing.assert_close(clip_pixels(frames, 8), (((frames + 1) / 2 - mean) / std).permute(0, 3, 1, 2))


def test_pixels_are_blurred_then_sampled_with_aligned_corners():
    frames = torch.rand(1, 32, 48, 3, dtype=torch.float64) * 2 - 1
    sigmas, reaches = ((32 / 8 - 1) / 2, (48 / 8 - 1) / 2), (3, 5)  # 1.5 and 2.5; kernels of 7 (6 made odd) and 11 (10 made odd)
    rows, columns = (torch.exp(-torch.arange(-r, r + 1.0).square() / (2 * s * s)) for s, r in zip(sigmas, reaches, strict=True))
    kernel = rows[:, None] * columns[None] / (rows.sum() * columns.sum())
    planes = F.pad(frames.float().permute(3, 0, 1, 2), (5, 5, 3, 3), mode="reflect")
    blurred = F.conv2d(planes, kernel[None, None]).permute(1, 0, 2, 3)
    expected = F.interpolate(blurred, (8, 8), mode="bicubic", align_corners=True)
    plain = torch.tensor([[0.26862954, 0.26130258, 0.27577711], [0.48145466, 0.4578275, 0.40821073]])[..., None, None]
    torch.testing.assert_close(clip_pixels(frames, 8) * plain[0] + plain[1], (expected + 1) / 2, atol=1e-5, rtol=0)


def test_small_frames_are_not_blurred():
    frames = torch.rand(1, 4, 4, 3) * 2 - 1
    corners = clip_pixels(frames, 8)[:, :, ::7, ::7]
    torch.testing.assert_close(corners, clip_pixels(frames[:, ::3, ::3], 2))


def test_the_autoencoder_takes_every_key_of_latent_diffusion():
    weights = tiny.autoencoder()
    net = build_autoencoder(weights).net
    assert sum(each.numel() for each in net.parameters()) == sum(each.numel() for each in weights.values())
    pairs = {
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": "encoder.down.1.block.0.nin_shortcut.weight",
        "encoder.down_blocks.0.downsamplers.0.conv.bias": "encoder.down.0.downsample.conv.bias",
        "decoder.up_blocks.0.resnets.1.conv2.weight": "decoder.up.1.block.1.conv2.weight",
        "decoder.up_blocks.0.upsamplers.0.conv.weight": "decoder.up.1.upsample.conv.weight",
        "encoder.mid_block.resnets.1.norm2.bias": "encoder.mid.block_2.norm2.bias",
        "decoder.mid_block.attentions.0.group_norm.weight": "decoder.mid.attn_1.norm.weight",
        "post_quant_conv.bias": "post_quant_conv.bias",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(net.state_dict()[ours], weights[theirs]), ours
    joined = weights["encoder.mid.attn_1.proj_out.weight"][:, :, 0, 0]
    assert torch.equal(net.state_dict()["encoder.mid_block.attentions.0.to_out.0.weight"], joined)


def test_the_autoencoder_scales_and_samples():
    net = build_autoencoder(tiny.autoencoder())
    frames = torch.rand(3, 8, 8, 3) * 2 - 1
    posterior = net.net.encode(frames.permute(0, 3, 1, 2)).latent_dist
    mean, std = posterior.mean.permute(0, 2, 3, 1), posterior.std.permute(0, 2, 3, 1)
    noise = torch.randn(3, 4, 4, 4)
    torch.testing.assert_close(net.encode(frames), LATENT_SCALE * mean)
    torch.testing.assert_close(net.encode(frames, noise=noise), LATENT_SCALE * (mean + std * noise))
    decoded = net.decode(net.encode(frames))
    assert decoded.shape == frames.shape
    torch.testing.assert_close(decoded, net.net.decode(posterior.mean).sample.permute(0, 2, 3, 1))


def test_a_frame_does_not_see_its_neighbours_in_the_autoencoder():
    net = build_autoencoder(tiny.autoencoder())
    frames = torch.rand(3, 8, 8, 3) * 2 - 1
    latents = net.encode(frames)
    assert torch.equal(latents[1:2], net.encode(frames[1:2]))
    assert torch.equal(net.decode(latents)[1:2], net.decode(latents[1:2]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("encoder.mid.attn_1.q.weight"), "encoder.mid_block.attentions.0.to_q.weight is missing"),
        (lambda w: w.update(surprise=torch.zeros(1)), "1 of .* tensors have unknown names"),
        (lambda w: w.pop("post_quant_conv.weight"), "post_quant_conv.weight is missing"),
    ],
)
def test_a_wrong_autoencoder_is_refused(change, reason):
    weights = tiny.autoencoder()
    change(weights)
    with pytest.raises(DamagedFile, match=reason):
        build_autoencoder(weights)


def test_the_context_is_text_then_image():
    tower, text = build_image_encoder(tiny.image_tower()), torch.randn(tiny.LENGTH, tiny.TEXT)
    conditioner = Conditioner(tower, SMALL.build(), text)
    frames = torch.rand(2, 16, 24, 3) * 2 - 1
    context = conditioner(frames)
    assert context.shape == (2, tiny.LENGTH + 6, tiny.TEXT)
    assert torch.equal(context[:, : tiny.LENGTH], text.expand(2, -1, -1))
    pixels = clip_pixels(frames, 12)
    torch.testing.assert_close(context[:, tiny.LENGTH :], conditioner.resampler(tower(pixels).last_hidden_state))
    other = conditioner(torch.cat([frames[:1], -frames[1:]]))
    torch.testing.assert_close(other[0], context[0])
    assert not torch.allclose(other[1, tiny.LENGTH :], context[1, tiny.LENGTH :])


def test_only_the_projector_learns():
    conditioner = Conditioner(build_image_encoder(tiny.image_tower()), SMALL.build(), torch.zeros(tiny.LENGTH, tiny.TEXT))
    conditioner(torch.zeros(1, 12, 12, 3)).square().sum().backward()
    assert all(each.grad is not None for each in conditioner.resampler.parameters())
    assert all(each.grad is None for each in conditioner.image_encoder.parameters())


def test_half_precision_weights_stay_half():
    weights = {key: value.half() for key, value in tiny.image_tower().items()}
    tower = build_image_encoder(weights)
    projector = filled(SMALL.build, {key: value.half() for key, value in SMALL.build().state_dict().items()}, "projector")
    assert {each.dtype for each in (*tower.parameters(), *projector.parameters())} == {torch.float16}
    context = Conditioner(tower, projector, torch.zeros(tiny.LENGTH, tiny.TEXT))(torch.zeros(1, 12, 12, 3))
    assert context.dtype == torch.float16


def test_importing_loads_no_library_of_towers():
    code = "import worldsim, worldsim.models.vid2world.towers as t, sys; print(sorted({'transformers', 'diffusers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
