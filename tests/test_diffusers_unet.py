"""Video U-Nets of diffusers as networks of ours: against calls by hand, against themselves with a memory, and out of their folders."""

import json
from dataclasses import asdict

import pytest
import small_unets
import torch

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.models.cache import Memory
from worldsim.models.causal.probe import causality_leak
from worldsim.models.checkpoint import load_checkpoint, save_checkpoint
from worldsim.models.diffusers_families import build_unet, call, config_values
from worldsim.models.diffusers_unet import DiffusersUNet, DiffusersUNetConfig, from_folder
from worldsim.models.network import VideoNetwork

pytestmark = pytest.mark.slow  # as a file

NAMES = tuple(small_unets.CONFIGS)
SVD, I2V, SMALL = "UNetSpatioTemporalConditionModel", "I2VGenXLUNet", "UNet3DConditionModel"
NONE = {"latents": 0.0, "levels": 0.0, "actions": 0.0}
SIZES = {"action_size": 3, "latent_height": 4, "latent_width": 4, "window": 4}


def config(name: str, **options: object) -> DiffusersUNetConfig:
    return DiffusersUNetConfig(name, small_unets.CONFIGS[name], **(SIZES | {"causal": True} | options))


def network(name: str = SMALL, **options: object) -> DiffusersUNet:
    """A stirred network in float64."""
    torch.manual_seed(0)
    return small_unets.stirred(config(name, **options).build().double())


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clip(rows: int = 1, frames: int = 3, streams: int = 1) -> tuple[torch.Tensor, ...]:
    """x, levels, actions and known."""
    x = draw(rows, streams, frames, 4, 4, 4) - 0.5
    return x, draw(rows, streams, frames, seed=1), draw(rows, frames, 3, seed=2), torch.ones(rows, streams, frames).double()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_it_is_a_video_network(name):
    net = network(name)
    assert isinstance(net, VideoNetwork)
    assert (net.latent_shape, net.action_size, net.window, net.causal, net.two_streams) == ((4, 4, 4), 3, 4, True, False)
    x, levels, actions, known = clip(rows=2)
    context = net.context_for(torch.zeros(2, 32, 32, 3).double(), draw(2, 4, 4, 4, seed=3))
    assert {len(value) for value in context.values()} == {2}
    assert net(x, levels, actions, known, context=context).shape == x.shape
    assert causality_leak(net, lengths=(1, 3)) == NONE


@torch.no_grad()
def test_before_surgery_each_family_is_called_as_diffusers_asks():
    """Against calls written by hand; before surgery the U-Net is the one that was pretrained."""
    latents, first, text = draw(2, 3, 4, 4, 4), draw(2, 4, 4, 4, seed=1), draw(2, 5, 8, seed=2)
    over_time = first.permute(0, 3, 1, 2)[:, None].expand(2, 3, 4, 4, 4)  # [B, T, C, h, w]
    swapped, step = latents.transpose(1, 2), torch.tensor([7, 300])
    context = {"encoder_hidden_states": text}
    for name in NAMES:
        net, called = network(name, causal=False).unet, dict(context)
        if name == SVD:
            called |= {"first_latents": first, "added_time_ids": draw(2, 3)}
            expected = net(torch.cat([latents, over_time], 2), step, text, called["added_time_ids"]).sample
        elif name == I2V:
            called |= {"first_latents": first, "fps": draw(2), "image_embeddings": draw(2, 8)}
            others = (called["fps"], over_time.transpose(1, 2), called["image_embeddings"], text)
            expected = net(swapped, step, *others).sample.transpose(1, 2)
        else:
            rows = text.repeat_interleave(3, dim=0) if name == "UNetMotionModel" else text
            expected = net(swapped, step, rows).sample.transpose(1, 2)
        assert torch.equal(call(net, latents, step, called), expected), name
        assert not torch.equal(call(net, latents, step), expected), name


@torch.no_grad()
def test_levels_become_the_nearest_of_a_thousand_steps():
    net = network(causal=False)
    x, levels, actions, known = clip()
    for level, step in ((0.0, 0), (0.0004, 0), (0.04, 39), (0.5, 499), (1.0, 999)):
        expected = call(net.unet, x[:, 0].permute(0, 1, 4, 2, 3), torch.tensor([step])).permute(0, 1, 3, 4, 2)
        assert torch.equal(net(x, torch.full_like(levels, level), actions, known)[:, 0], expected)


@torch.no_grad()
def test_a_hidden_action_is_no_action_and_a_fresh_one_changes_nothing():
    net = network()
    x, levels, actions, known = clip()
    hidden = net(x, levels, actions, 0 * known)
    assert torch.equal(hidden, net(x, levels, 5 - actions, 0 * known))
    seen = net(x, levels, actions, known)
    assert not torch.equal(seen, hidden)
    partly = known.clone()
    partly[:, :, 2] = 0
    half = net(x, levels, actions, partly)
    assert torch.equal(half[:, :, :2], seen[:, :, :2])
    assert not torch.equal(half[:, :, 2], seen[:, :, 2])
    torch.manual_seed(0)
    fresh = config(SMALL).build().double().eval()
    assert torch.equal(fresh(x, levels, actions, known), fresh(x, levels, actions, 0 * known))


@torch.no_grad()
def test_each_frame_has_its_own_level():
    net = network()
    x, levels, actions, known = clip()
    other = levels.clone()
    other[:, :, 1] = 1 - other[:, :, 1]
    moved = (net(x, other, actions, known) - net(x, levels, actions, known)).abs().amax((0, 1, 3, 4, 5))
    assert (moved > 0).tolist() == [False, True, True]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_memory_with_branches_is_a_clip_evaluated_whole(name):
    """Two lanes; three frames of history, then two more in two branches, the second with their actions hidden."""
    net = network(name)
    x, levels, actions, known = clip(rows=2, frames=5)
    context = net.context_for(torch.zeros(2, 32, 32, 3).double(), draw(2, 4, 4, 4, seed=3))
    memory = Memory(lanes=2)
    past = net(x[:, :, :3], levels[:, :, :3], actions[:, :3], known[:, :, :3], memory, context)
    cache = net.remember(memory, 3)
    masks = torch.cat([known, known], 1)
    masks[:, 1, 3:] = 0
    new = [each[:, :, 3:].repeat(1, 2, *[1] * (each.ndim - 2)) for each in (x, levels)]
    output = net(*new, actions[:, 3:], masks[:, :, 3:], Memory(cache, branches=2), context)
    for branch in range(2):
        whole = net(x, levels, actions, masks[:, branch : branch + 1], context=context)
        torch.testing.assert_close(past, whole[:, :, :3], atol=1e-9, rtol=0)
        torch.testing.assert_close(output[:, branch], whole[:, 0, 3:], atol=1e-9, rtol=0)
    assert (output[:, 0] - output[:, 1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_lanes_do_not_see_one_another(name):
    net = network(name)
    x, levels, actions, known = clip(rows=2)
    context = net.context_for(torch.zeros(2, 32, 32, 3).double(), draw(2, 4, 4, 4, seed=3))
    context["encoder_hidden_states"] = draw(2, 3, 8, seed=4)
    both = net(x, levels, actions, known, context=context)
    for lane in range(2):
        one = slice(lane, lane + 1)
        alone = net(x[one], levels[one], actions[one], known[one], context={key: value[one] for key, value in context.items()})
        torch.testing.assert_close(both[one], alone, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_config_through_json_builds_the_same_network(name, tmp_path):
    net = network(name).float()
    for tensor in net.state_dict().values():
        tensor.copy_(tensor.half())  # what a checkpoint keeps
    save_checkpoint(tmp_path, "network", {"net": net}, {"network": net.describe()})
    loaded = load_checkpoint(tmp_path, "network")
    again = loaded.fill("net", DiffusersUNetConfig(**loaded.config["network"]).build())
    assert again.describe() == net.describe() == json.loads(json.dumps(asdict(net.config)))
    inputs = [each.float() for each in clip()]
    assert torch.equal(again(*inputs), net(*inputs))


@pytest.mark.parametrize("size", ["10GB", "200KB"])
@torch.no_grad()
def test_a_folder_of_diffusers_is_loaded_whole_or_in_shards(size, tmp_path):
    pretrained = small_unets.unet(SMALL).float()
    pretrained.save_pretrained(tmp_path, max_shard_size=size)
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").exists() == (size == "200KB")
    net = from_folder(tmp_path, causal=False, **SIZES)
    x, levels, actions, known = (each.float() for each in clip())
    step = torch.full_like(levels, 0.3)
    assert torch.equal(net(x, step, actions, known)[:, 0], _by_hand(pretrained, x[:, 0], 299))
    assert list(causality_leak(net, lengths=(2,))) == ["latents"]
    causal = from_folder(tmp_path, transfer="masked", **SIZES)
    assert (causal.config.transfer, causal.causal, causal.training) == ("masked", True, False)
    net.causalize("masked")
    assert torch.equal(net(x, levels, actions, 0 * known), causal(x, levels, actions, 0 * known))
    assert causality_leak(causal, lengths=(2,)) == NONE


def _by_hand(unet: torch.nn.Module, x: torch.Tensor, step: int) -> torch.Tensor:
    """`[B, T, h, w, C]` through a U-Net that takes `[B, C, T, h, w]`, with text of zeros."""
    return unet(x.permute(0, 4, 1, 2, 3), step, torch.zeros(len(x), 1, 8)).sample.permute(0, 2, 3, 4, 1)


def test_one_class_of_unet_that_is_none_of_ours(tmp_path):
    values = {"_class_name": "UNet3DConditionModle"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UnknownName, match='unknown U-Net class "UNet3DConditionModle"; did you mean "UNet3DConditionModel"'):
        from_folder(tmp_path)
    with pytest.raises(UnknownName, match="unknown U-Net class"):
        DiffusersUNetConfig("Linear").build()
    with pytest.raises(UnknownName, match='unknown U-Net class "Linear"'):
        call(torch.nn.Linear(2, 2), torch.zeros(1, 1, 4, 4, 4), torch.tensor([1]))


def test_configs_that_are_refused():
    with pytest.raises(UnknownName, match='no config entry "layer_per_block"; did you mean "layers_per_block"'):
        build_unet(SMALL, {"layer_per_block": 2})
    with pytest.raises(InvalidInput, match="refuses this config: Must provide the same number"):
        build_unet(SMALL, {"block_out_channels": (8,)})
    with pytest.raises(InvalidInput, match="takes 9 channels in and gives 4, expected 4 in"):
        build_unet(SMALL, small_unets.CONFIGS[SMALL] | {"in_channels": 9})
    text_time = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 24}
    with pytest.raises(InvalidInput, match='has addition_embed_type="text_time", expected null'):
        build_unet("UNetMotionModel", small_unets.CONFIGS["UNetMotionModel"] | text_time)
    assert build_unet(SMALL, config_values(small_unets.unet(SMALL))).config["block_out_channels"] == [8, 16]


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"has no config\.json; expected a folder written by save_pretrained"):
        from_folder(tmp_path)
    small_unets.unet(SMALL).float().save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="has no option latent_hight; expected action_size"):
        from_folder(tmp_path, latent_hight=4)
    settings, weights = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    kept = settings.read_text()
    settings.write_text(kept.replace('"layers_per_block": 1', '"layers_per_block": 2'))
    with pytest.raises(DamagedFile, match="does not hold a UNet3DConditionModel of its own config"):
        from_folder(tmp_path, **SIZES)
    settings.write_text(kept)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DamagedFile, match="cannot be read"):
        from_folder(tmp_path, **SIZES)
    weights.unlink()
    with pytest.raises(DamagedFile, match=r"has no diffusion_pytorch_model\.safetensors"):
        from_folder(tmp_path, **SIZES)
    settings.write_text("{")
    with pytest.raises(DamagedFile, match="is not JSON"):
        from_folder(tmp_path, **SIZES)


@torch.no_grad()
def test_passes_that_are_refused():
    net, both_ways = network(), network(causal=False)
    x, levels, actions, known = clip()
    two = [torch.cat([each, each], 1) for each in (x, levels)]
    with pytest.raises(InvalidInput, match="2 streams without a memory, expected 1"):
        net(*two, actions, torch.cat([known, known], 1))
    with pytest.raises(InvalidInput, match="a memory of 1 branches for 2 streams"):
        net(*two, actions, torch.cat([known, known], 1), Memory(lanes=1))
    with pytest.raises(InvalidInput, match="different levels; a network takes those after causalize"):
        both_ways(x, levels, actions, known)
    with pytest.raises(InvalidInput, match="network with causal=False"):
        both_ways(x, 0 * levels, actions, known, Memory(lanes=1))
    with pytest.raises(InvalidInput, match="causal already"):
        net.causalize()
    with pytest.raises(UnknownName, match='did you mean "masked"'):
        both_ways.causalize("maskd")
    assert not both_ways.causal
    with pytest.raises(UnknownName, match='takes no context "first_latents"'):
        net(x, levels, actions, known, context={"first_latents": x[:, 0, 0]})
    with pytest.raises(InvalidInput, match='context "encoder_hidden_states" has 3 rows, expected 1'):
        net(x, levels, actions, known, context={"encoder_hidden_states": torch.zeros(3, 1, 8)})
    with pytest.raises(InvalidInput, match="a pass of 2 branches cannot be remembered"):
        net.remember(Memory(lanes=1, branches=2), 1)
    assert net.unet.frame_levels.extra is None  # nothing is left behind by a pass that failed
