"""Causal surgery on the four video U-Nets of diffusers: tiny, stirred so that no path is silent, in float64."""

import copy
from dataclasses import dataclass

import diffusers
import pytest
import stirred
import torch
from diffusers.models.attention import FreeNoiseTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.causal import FrameLevels, acts_within_frame, causalize, converts, transfer_kernel
from worldsim.models.causal.layers import CausalConv3d, CumulativeGroupNorm, FrameGroupNorm, remembering

pytestmark = pytest.mark.slow  # as a file

SMALL = {"in_channels": 4, "out_channels": 4, "layers_per_block": 1, "cross_attention_dim": 8}
BLOCKS = {
    "SpatioTemporal": (
        ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    ),
    "3D": (("CrossAttnDownBlock3D", "DownBlock3D"), ("UpBlock3D", "CrossAttnUpBlock3D")),
    "Motion": (("CrossAttnDownBlockMotion", "DownBlockMotion"), ("UpBlockMotion", "CrossAttnUpBlockMotion")),
}


@dataclass(frozen=True)
class Family:
    """A U-Net class, its size, the axis of its frames, and what it wants beside latents and levels."""

    kind: str
    blocks: str
    sizes: dict
    axis: int = 2
    fixed: dict | None = None
    first_frame: bool = False

    def build(self, seed=0, **sizes):
        down, up = BLOCKS[self.blocks]
        torch.manual_seed(seed)
        net = getattr(diffusers, self.kind)(down_block_types=down, up_block_types=up, **SMALL, **self.sizes, **sizes)
        return stirred.stir(net, seed).double()

    def inputs(self, frames, rows=2, seed=0):
        generator = torch.Generator().manual_seed(seed)
        shapes = {"latents": (frames, 4, 4, 4), "pictures": (frames, 4, 4, 4), "levels": (frames,), "text": (3, 8), **(self.fixed or {})}
        return {name: torch.rand(rows, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}

    def run(self, net, given, **changed):
        """The output `[B, T, C, H, W]`."""
        given = given | changed
        fixed = {name: given[name] for name in self.fixed or {}}
        if self.first_frame:
            fixed["image_latents"] = given["pictures"].movedim(1, self.axis)
        sample, text = given["latents"].movedim(1, self.axis), given["text"]
        if self.blocks == "Motion":  # wants the text of each frame
            text = text.repeat_interleave(sample.shape[2], dim=0)
        with torch.no_grad():
            return net(sample, 999 * given["levels"], encoder_hidden_states=text, **fixed).sample.movedim(self.axis, 1)


FAMILIES = {
    "svd": Family(
        "UNetSpatioTemporalConditionModel",
        "SpatioTemporal",
        {
            "block_out_channels": (32, 64),  # of 32 groups: one channel each would forget a level
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 24,
            "num_attention_heads": 2,
        },
        axis=1,
        fixed={"added_time_ids": (3,)},
    ),
    "unet3d": Family("UNet3DConditionModel", "3D", {"block_out_channels": (8, 8), "norm_num_groups": 4, "attention_head_dim": 4}),
    "i2vgen": Family(
        "I2VGenXLUNet",
        "3D",
        {"block_out_channels": (8, 8), "norm_num_groups": 4, "attention_head_dim": 4},
        fixed={"fps": (), "image_embeddings": (8,)},
        first_frame=True,
    ),
    "motion": Family(
        "UNetMotionModel",
        "Motion",
        {"block_out_channels": (8, 8), "norm_num_groups": 4, "num_attention_heads": 2, "motion_num_attention_heads": 2},
    ),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def first(given, frames):
    """The first frames of what has frames."""
    return given | {name: given[name][:, frames] for name in ("latents", "pictures", "levels")}


def rows(given, index):
    return {name: tensor[index] for name, tensor in given.items()}


def moved(family, net, given, name):
    """How far each output frame moves when the last frame of an input does, `[T]`."""
    changed = given[name].clone()
    changed[:, -1] = 1 - changed[:, -1]
    return (family.run(net, given, **{name: changed}) - family.run(net, given)).abs().amax((0, 2, 3, 4))


def test_the_future_is_seen_before_surgery_and_not_after(family):
    net = family.build()
    given = family.inputs(5)
    assert moved(family, net, given | {"levels": given["levels"][:, 0]}, "latents").min() > 1e-6
    causalize(net)
    for frames in (1, 2, 5):
        for name in ("latents", "levels") + (("pictures",) if family.first_frame and frames > 1 else ()):
            change = moved(family, net, family.inputs(frames), name)
            assert change[:-1].tolist() == [0.0] * (frames - 1), (name, frames)
            assert change[-1] > 1e-6, (name, frames)


def test_only_the_norm_of_the_clip_leaks(family):
    for norm, leaks in (("clip", True), ("cumulative", False)):
        net = family.build()
        report = causalize(net, norm=norm)
        change = moved(family, net, family.inputs(5), "latents")
        assert bool(change[:-1].max() > 1e-6) == leaks
        assert change[-1] > 1e-6
        assert bool(report.norms) != leaks


def test_every_earlier_frame_is_seen(family):
    net, given = family.build(), family.inputs(5)
    causalize(net)
    changed = given["latents"].clone()
    changed[:, 0] += 1
    assert (family.run(net, given, latents=changed) - family.run(net, given)).abs().amax((0, 2, 3, 4)).min() > 1e-6


@pytest.mark.parametrize("transfer", ["masked", "extrapolative"])
def test_kernels_are_transferred_and_all_else_stays(family, transfer):
    net = family.build()
    before = copy.deepcopy(net.state_dict())
    kernels = {name for name, layer in net.named_modules() if type(layer) is nn.Conv3d and layer.kernel_size[0] == 3}
    parameters = dict(net.named_parameters())
    report = causalize(net, transfer, window=4)
    assert set(report.convolutions) == kernels
    assert (report.transfer, report.norm, report.window) == (transfer, "frame", 4)
    assert list(net.state_dict()) == list(before)
    for name, tensor in net.state_dict().items():
        place, _, leaf = name.rpartition(".")
        moves = place in kernels and leaf == "weight"
        assert torch.equal(tensor, transfer_kernel(before[name], transfer) if moves else before[name]), name
    assert all(parameters[name] is parameter for name, parameter in net.named_parameters())  # an optimiser still holds them


COUNTS = {"svd": (16, 4, 16, 4), "unet3d": (32, 10, 37, 0), "i2vgen": (32, 11, 37, 1), "motion": (0, 14, 7, 7)}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_report_names_what_was_converted(name):
    net = FAMILIES[name].build()
    report = causalize(net, window=4)
    assert tuple(map(len, (report.convolutions, report.attentions, report.norms, report.positions))) == COUNTS[name]
    assert report.levels == ("time_embedding",)
    assert all(isinstance(net.get_submodule(path), CausalConv3d) for path in report.convolutions)
    assert all(isinstance(net.get_submodule(path), FrameGroupNorm) for path in report.norms)
    convolutions, attentions, norms, positions = COUNTS[name]
    assert report.summary() == (
        f"{convolutions} convolutions (extrapolative), {attentions} attentions (4 earlier frames), {norms} norms (frame), "
        f"{positions} positions, 1 level inputs"
    )
    assert "all earlier frames" in causalize(FAMILIES[name].build()).summary()


def test_cumulative_norms_stand_in_too():
    net = FAMILIES["unet3d"].build()
    assert all(isinstance(net.get_submodule(path), CumulativeGroupNorm) for path in causalize(net, norm="cumulative").norms)


@pytest.mark.parametrize("norm", ["frame", "cumulative"])
def test_remembering_gives_what_computing_again_gives(family, norm):
    """Frame by frame, with more frames than the window holds; and two branches that read one history."""
    window, net, given = 2, family.build(), family.inputs(6)
    causalize(net, norm=norm, window=window)
    whole, other = family.run(net, given), family.inputs(6, seed=1)
    cache, start = None, 0
    for stop in (2, 3, 4, 5, 6):
        new = first(given, slice(start, stop))
        if start == 5:
            branches = {name: torch.stack([new[name], first(other, slice(5, 6))[name]], 1).flatten(0, 1) for name in ("latents", "levels")}
            repeated = {name: tensor.repeat_interleave(2, dim=0) for name, tensor in new.items()}
            with remembering(net, Memory(cache, branches=2)):
                both = family.run(net, repeated | branches).unflatten(0, (2, 2))
        memory = Memory(lanes=2) if cache is None else Memory(cache)
        with remembering(net, memory):
            torch.testing.assert_close(family.run(net, new), whole[:, start:stop], atol=1e-9, rtol=0)
        cache, start = memory.after(stop - start, window), stop
    torch.testing.assert_close(both[:, 0], whole[:, 5:], atol=1e-9, rtol=0)
    mixed = {name: torch.cat([given[name][:, :5], other[name][:, 5:]], 1) for name in ("latents", "levels")}
    torch.testing.assert_close(both[:, 1], family.run(net, given, **mixed)[:, 5:], atol=1e-9, rtol=0)
    assert (both[:, 0] - both[:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("norm", ["frame", "cumulative"])
def test_one_pass_writes_a_frame_and_evaluates_the_next(family, norm):
    """Branch 0 is frame 4, branch 1 is frame 5 and sees it; before them a memory that frames have left already."""
    window, net, given = 2, family.build(), family.inputs(6)
    causalize(net, norm=norm, window=window)
    whole, memory = family.run(net, given), Memory(lanes=2)
    with remembering(net, memory):
        family.run(net, first(given, slice(0, 4)))
    before, memory = memory.after(4, window), Memory(memory.after(4, window))
    with remembering(net, memory):
        family.run(net, first(given, slice(4, 5)))
    apart, ahead = memory.after(1, window), Memory(before, branches=2, ahead=True)
    both = {name: tensor.repeat_interleave(2, dim=0) for name, tensor in given.items()}
    both |= {name: given[name][:, 4:6].flatten(0, 1)[:, None] for name in ("latents", "pictures", "levels")}
    with remembering(net, ahead):
        out = family.run(net, both)[:, 0].unflatten(0, (2, 2))
    torch.testing.assert_close(out, whole[:, 4:], atol=1e-9, rtol=0)
    after = ahead.after(1, window)
    assert torch.equal(after.length, apart.length)
    for name, features in apart.seen.items():
        torch.testing.assert_close(after.seen[name], features, atol=1e-9, rtol=0)


def test_lanes_of_different_age_share_a_pass(family):
    net, given = family.build(), family.inputs(5)
    causalize(net, window=3)

    def after(frames, lane) -> HistoryCache:
        memory = Memory(lanes=1)
        with remembering(net, memory):
            family.run(net, rows(first(given, slice(0, frames)), slice(lane, lane + 1)))
        return memory.after(frames, 3)

    young, old = after(1, 0), after(4, 1)
    cache = young.select([0, 0]).merge([1], old)
    new = given | {name: torch.stack([given[name][0, 1:2], given[name][1, 4:5]]) for name in ("latents", "pictures", "levels")}
    with remembering(net, Memory(cache)):
        out = family.run(net, new)
    whole = family.run(net, given)
    torch.testing.assert_close(out[:, 0], torch.stack([whole[0, 1], whole[1, 4]]), atol=1e-9, rtol=0)


def test_features_are_remembered_over_a_window_only():
    family, net = FAMILIES["motion"], FAMILIES["motion"].build()
    causalize(net)
    with pytest.raises(InvalidInput, match="this network has none; causalize"), remembering(net, Memory(lanes=2)):
        family.run(net, family.inputs(2))


def test_the_table_of_positions_ends():
    family = FAMILIES["motion"]
    net = family.build(motion_max_seq_length=3)
    causalize(net, window=2)
    memory = Memory(lanes=2)
    with remembering(net, memory):
        family.run(net, family.inputs(3))
    with pytest.raises(InvalidInput, match="frame 4 is past the 3 positions"), remembering(net, Memory(memory.after(3, 2))):
        family.run(net, family.inputs(1))
    with pytest.raises(InvalidInput, match="frame 4 is past the 3 positions"):
        family.run(net, family.inputs(4))


def test_a_window_hides_what_is_older():
    """Two layers deep, the motion modules carry a change `2 * window * layers` frames on at most; a window of 1 is still felt."""
    family, given = FAMILIES["motion"], FAMILIES["motion"].inputs(4)
    outputs = []
    for window in (1, None):
        net = family.build()
        causalize(net, window=window)
        outputs.append(family.run(net, given))
    difference = (outputs[0] - outputs[1]).abs().amax((0, 2, 3, 4))
    assert difference[:2].max() < 1e-12
    assert difference[2:].min() > 1e-6


def test_levels_may_be_said_in_four_ways(family):
    net = family.build()
    causalize(net)
    given = family.inputs(3)
    said = [torch.full((2, 3), 0.3), torch.full((2,), 0.3), torch.full((1,), 0.3), torch.tensor(0.3), 0.3]
    outputs = [family.run(net, given, levels=level if isinstance(level, float) else level.double()) for level in said]
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    with pytest.raises(InvalidInput, match=r"timestep is \[3\], expected a number, \[2\] or one for each frame, \[2, 3\]"):
        family.run(net, given, levels=torch.zeros(3))
    assert torch.equal(family.run(net, given, levels=said[1].double()), outputs[0])  # and nothing is left of the pass that failed


def test_a_level_per_frame_is_the_level_per_clip_where_they_agree(family):
    net, given = family.build(), family.inputs(3)
    given["levels"] = given["levels"][:, 0]
    before = family.run(net, given)
    FrameLevels.install(net, family.axis)
    torch.testing.assert_close(family.run(net, given), before, atol=1e-9, rtol=0)


def test_a_condition_of_the_level_is_repeated_for_each_frame():
    family = FAMILIES["motion"]
    net, given = family.build(time_cond_proj_dim=4), family.inputs(3)
    sample, text, condition = given["latents"].movedim(1, 2), given["text"].repeat_interleave(3, dim=0), given["text"][:, 0, :4]
    with torch.no_grad():
        before = net(sample, given["levels"][:, 0], text, condition).sample
        FrameLevels.install(net, 2)
        torch.testing.assert_close(net(sample, given["levels"][:, 0], text, condition).sample, before, atol=1e-9, rtol=0)


def test_an_extra_embedding_enters_its_own_frame(family):
    net, given = family.build(), family.inputs(3)
    causalize(net)
    without = family.run(net, given)
    size = net.time_embedding.linear_2.out_features
    net.frame_levels.extra = torch.zeros(2, 3, size)
    assert torch.equal(family.run(net, given), without)
    net.frame_levels.extra[:, -1] = 1
    change = (family.run(net, given) - without).abs().amax((0, 2, 3, 4))
    assert change[:-1].max() == 0
    assert change[-1] > 1e-6
    net.frame_levels.extra = torch.zeros(2, 4, size)
    with pytest.raises(InvalidInput, match=rf"frame_levels.extra is \[2, 4, {size}\], expected \[2, 3, {size}\]"):
        family.run(net, given)


def test_an_extra_embedding_can_be_learned():
    family = FAMILIES["motion"]
    net, given = family.build(), family.inputs(2)
    causalize(net)
    extra = net.frame_levels.extra = torch.zeros(2, 2, net.time_embedding.linear_2.out_features, dtype=torch.float64, requires_grad=True)
    text = given["text"].repeat_interleave(2, dim=0)
    net(sample=given["latents"].movedim(1, 2), timestep=given["levels"], encoder_hidden_states=text).sample[:, :, 0].sum().backward()
    assert extra.grad[:, 0].abs().max() > 0
    assert extra.grad[:, 1].abs().max() == 0
    assert net.time_embedding.linear_1.weight.grad.abs().max() > 0


def test_weights_go_from_one_causal_network_to_another(family):
    given, (one, two) = family.inputs(3), (family.build(seed) for seed in (0, 1))
    causalize(one)
    causalize(two)
    assert (family.run(one, given) - family.run(two, given)).abs().max() > 1e-6
    two.load_state_dict(one.state_dict())
    assert torch.equal(family.run(one, given), family.run(two, given))


def test_a_copy_is_whole_and_apart(family):
    net, given = family.build(), family.inputs(3)
    causalize(net, window=3)
    twin = copy.deepcopy(net)
    before = family.run(net, given)
    assert torch.equal(family.run(twin, given), before)
    twin.frame_levels.extra = torch.ones(2, 3, twin.time_embedding.linear_2.out_features)
    with torch.no_grad():
        twin.conv_in.weight.zero_()
    assert not torch.equal(family.run(twin, given), before)
    assert torch.equal(family.run(net, given), before)


class Custom(AttnProcessor2_0):
    """May do anything."""


class Doubler(nn.Module):
    """Acts on each frame, if its norm does."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU())

    def forward(self, x):
        return 2 * self.layers(x)


def free_noise(net):
    net.mid_block.motion_modules[0].transformer_blocks[0] = FreeNoiseTransformerBlock(8, 2, 4, double_self_attention=True)


def even_kernel(net):
    net.mid_block.temp_convs[0].conv1[2] = nn.Conv3d(8, 8, (4, 1, 1), padding=(1, 0, 0))


def two_places(net):
    net.mid_block.temp_convs[0] = net.mid_block.temp_convs[1]


REFUSED = {
    "conv_act is a torch.nn.modules.rnn.LSTM": ("unet3d", lambda net: setattr(net, "conv_act", nn.LSTM(8, 8))),
    "conv_act is a torch.nn.modules.batchnorm.BatchNorm2d": ("svd", lambda net: setattr(net, "conv_act", nn.BatchNorm2d(32))),
    r"conv_act.0 is a torch.nn.modules.conv.Conv3d": ("i2vgen", lambda net: setattr(net, "conv_act", nn.Sequential(nn.Conv3d(8, 8, 3)))),
    "conv_act is a torch.nn.modules.activation.MultiheadAttention": (
        "motion",
        lambda net: setattr(net, "conv_act", nn.MultiheadAttention(8, 2)),
    ),
    "conv_act is a .*test_causalize_diffusers.Doubler": ("motion", lambda net: setattr(net, "conv_act", Doubler())),
    "mid_block.attentions.0.transformer_blocks.0.attn2.processor is a .*test_causalize_diffusers.Custom": (
        "svd",
        lambda net: net.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(Custom()),
    ),
    "mid_block.temp_attentions.0.transformer_blocks.0.attn1.processor is a Custom, expected plain attention": (
        "unet3d",
        lambda net: net.mid_block.temp_attentions[0].transformer_blocks[0].attn1.set_processor(Custom()),
    ),
    "mid_block.motion_modules.0.transformer_blocks.0 is a diffusers.models.attention.FreeNoiseTransformerBlock": ("motion", free_noise),
    r"mid_block.temp_convs.0.conv1.2 is Conv3d\(8, 8, .*expected an odd kernel": ("unet3d", even_kernel),
    "mid_block.temp_convs.0.conv1.0 and mid_block.temp_convs.1.conv1.0 are one shared layer": ("unet3d", two_places),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_may_mix_frames_is_refused_and_nothing_is_changed(message):
    name, spoil = REFUSED[message]
    net = FAMILIES[name].build()
    spoil(net)
    before, layers = copy.deepcopy(net.state_dict()), list(net.modules())
    processors = dict(net.attn_processors)
    with pytest.raises(InvalidInput, match=message) as caught:
        causalize(net)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(now is then for now, then in zip(net.modules(), layers, strict=True))
    assert all(processors[name] is processor for name, processor in net.attn_processors.items())
    assert not net._forward_pre_hooks
    assert not hasattr(net, "frame_levels")


def test_a_user_can_vouch_for_a_class():
    family = FAMILIES["motion"]
    net, given = family.build(), family.inputs(3)
    net.conv_act = Doubler().double()
    net.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(Custom())
    with pytest.raises(InvalidInput, match=r"causalize\(net, frame_wise=\(Custom,\)\)"):
        causalize(net, frame_wise=Doubler)
    causalize(net, frame_wise=(Doubler, Custom))
    assert moved(family, net, given, "latents")[:-1].max() == 0


def test_vouching_for_a_class_says_nothing_about_its_children():
    net = nn.Sequential(Doubler())
    net[0].inner = nn.LSTM(8, 8)
    with pytest.raises(InvalidInput, match="0.inner is a torch.nn.modules.rnn.LSTM"):
        causalize(net, frame_wise=(Doubler,))
    causalize(net, frame_wise=(Doubler, nn.LSTM))


def test_options_that_make_no_sense():
    net = FAMILIES["unet3d"].build()
    with pytest.raises(UnknownName, match='unknown norm "fram"; did you mean "frame"'):
        causalize(net, norm="fram")
    with pytest.raises(UnknownName, match='unknown transfer "shft"; did you mean "shift"'):
        causalize(net, transfer="shft")
    with pytest.raises(InvalidInput, match="window is 0, expected at least 1"):
        causalize(net, window=0)
    with pytest.raises(InvalidInput, match="order is 4, expected 2 to 3"):
        causalize(net, order=4)
    causalize(net)
    with pytest.raises(InvalidInput, match="is causal already"):
        causalize(net)


def test_another_network_announces_its_layers():
    """A temporal layer of one's own, in a block of one's own, by two lines."""

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.conv = nn.GroupNorm(2, 4), nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))

        def forward(self, x):
            return self.conv(self.norm(x))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixer = Mixer()

        def forward(self, x):
            return self.mixer(x)

    net, x = Block(), torch.rand(1, 4, 5, 2, 2)
    with pytest.raises(InvalidInput, match="the network is a .*Block, which may mix frames"):
        causalize(net)
    acts_within_frame(Block)
    converts(Mixer)(lambda plan, path, mixer: plan.temporal_layers(path, mixer))
    with pytest.raises(InvalidInput, match="two converters"):
        converts(Mixer)(len)
    report = causalize(net)
    assert (report.convolutions, report.norms) == (("mixer.conv",), ("mixer.norm",))
    later = x.clone()
    later[:, :, -1] += 1
    assert torch.equal(net(x)[:, :, :-1], net(later)[:, :, :-1])
