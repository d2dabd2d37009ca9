"""The Vid2World U-Net against `reference_vid2world`, quirk by quirk, and its causality: what is later never shows, to the last bit."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from reference_vid2world import STRICT, Reference, inputs, network, part, tiny, weights_of
from torch import nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.causal.layers import FrameGroupNorm, remembering
from worldsim.models.vid2world.blocks import ResBlock, TemporalConvs, TemporalTransformer

pytestmark = pytest.mark.slow  # as a file

FRAMES = 5  # the window
LENGTHS = (1, 2, FRAMES - 1, FRAMES)  # one of them is that of the image tokens
PER_FRAME = ("x", "timesteps", "actions", "known")
CAUSAL = [STRICT, {"norm": "cumulative", "image_tokens": "per_frame"}]
NORMS = ["frame", "cumulative"]


def run(net: nn.Module, given: dict) -> torch.Tensor:
    with torch.no_grad():
        return net(**given)


def moved(given: dict, name: str, frames: object) -> dict:
    """`given` with other values of one input in some frames."""
    value = given[name].clone()
    value[:, frames] = 1 - value[:, frames]  # of a level -2..1; of a mask the other choice
    return given | {name: value}


def change(net: nn.Module, given: dict, name: str, frames: object) -> torch.Tensor:
    """How far each output frame moves with one input of some frames, `[T]`."""
    return (run(net, moved(given, name, frames)) - run(net, given)).abs().amax((0, 2, 3, 4))


def watched(layer: nn.Module, net: nn.Module, given: dict) -> tuple:
    """(inputs, output) of a layer in the course of a pass."""
    seen = []
    handle = layer.register_forward_hook(lambda _, args, output: seen.append((args, output)))
    run(net, given)
    handle.remove()
    return seen[0]


def stream(net: nn.Module, given: dict, cache: HistoryCache | None = None) -> tuple[torch.Tensor, HistoryCache]:
    """All frames of `given`, one pass for each, and the memory of them."""
    done = []
    for t in range(given["x"].shape[1]):
        memory = Memory(cache, lanes=len(given["x"]))
        with remembering(net, memory):
            done.append(run(net, part(given, slice(t, t + 1))))
        cache = memory.after(1, net.config.window - 1)
    return torch.cat(done, dim=1), cache


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-11) -> bool:
    """Equal but for rounding, and not because there is nothing."""
    return a.shape == b.shape and (a - b).abs().max() < tolerance and a.abs().mean() > 0.01


# The whole network


@pytest.mark.parametrize("frames", [1, 4, 5])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "frame"},
        {"norm": "cumulative", "image_tokens": "per_frame"},
        {"head": "symmetric", "action_kind": "multi_hot"},
        {"action_size": 0, "causal": False},
        {"attention_at": (2,), "num_res_blocks": 2},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "released",
)
def test_it_is_the_naive_network(changes, frames):
    net = network(**changes)
    given = inputs(net.config, frames, rows=2)
    assert close(run(net, given), Reference(weights_of(net), net.config)(**given))


def test_the_naive_network_has_readings_of_its_own():
    net = network()
    weights, given = weights_of(net), inputs(net.config, FRAMES)
    readings = {"norm": "frame", "head": "symmetric", "image_tokens": "per_frame", "causal": False}
    answers = [Reference(weights, replace(net.config, **{name: value}))(**given) for name, value in readings.items()]
    assert all((answer - run(net, given)).abs().max() > 1e-3 for answer in answers)


# Quirks


def test_the_head_sees_the_rows_above_as_in_a_hand_convolution():
    head = network().head
    h = torch.randn(2, 32, 5, 4, dtype=torch.float64, requires_grad=True)
    output = head(h)
    normal = F.pad(F.silu(F.group_norm(h, 32, head.norm.weight, head.norm.bias)), (1, 1))
    weight, bias = head.conv.weight, head.conv.bias
    for row in range(5):
        for column in range(4):
            expected = bias
            for up in range(min(row, 2) + 1):  # the last kernel row meets the row itself
                expected = expected + torch.einsum("oij,bij->bo", weight[:, :, 2 - up], normal[:, :, row - up, column : column + 3])
            assert close(output[:, :, row, column], expected)
    features = torch.randn(1, 32, 8, 8, dtype=torch.float64, requires_grad=True)
    for row in range(8):
        slope = torch.autograd.grad(head.conv(features)[:, :, row].sum(), features)[0].abs().sum((0, 1, 3))
        assert [h for h in range(8) if slope[h] > 0] == list(range(max(row - 2, 0), row + 1))


def test_the_symmetric_head_is_an_ordinary_convolution():
    conv = network(head="symmetric").head.conv
    h = torch.randn(1, 32, 6, 6, dtype=torch.float64)
    assert torch.equal(conv(h), F.conv2d(h, conv.weight, conv.bias, padding=1))


def token_change(net: nn.Module, frames: int, group: int) -> torch.Tensor:
    """How far each output frame moves with one group of image tokens."""
    given = inputs(net.config, frames)
    context, start = given["context"].clone(), 3 + 2 * group
    context[:, start : start + 2] += 1.0
    return (run(net, given | {"context": context}) - run(net, given)).abs().amax((0, 2, 3, 4))


@pytest.mark.parametrize("frames", [1, 3, 4, 5])
def test_a_pass_of_the_trained_length_shows_each_frame_its_own_tokens_and_any_other_all(frames):
    net = network(norm="frame")
    for group in range(4):
        change = token_change(net, frames, group)
        first = group if frames == 4 else 0
        assert (change[:first] == 0).all()
        assert (change[first:] > 1e-4).all()


@pytest.mark.parametrize("frames", [1, 3, 4, 5])
def test_per_frame_tokens_are_always_ones_own_and_later_frames_have_the_last(frames):
    net = network(**STRICT)
    for group in range(4):
        change = token_change(net, frames, group)
        assert (change[:group] == 0).all()
        assert (change[group:] > 1e-4).all()
    given = inputs(net.config, frames)
    shown = watched(net.down[1].space, net, given)[0][1].image
    assert torch.equal(shown, torch.stack([given["context"][0, 3 + 2 * min(t, 3) :][:2] for t in range(frames)]))


def test_a_first_frames_zero_action_is_embedded_and_a_hidden_one_is_not():
    net = network()
    given = inputs(net.config, FRAMES)
    given["actions"][:, 0] = 0.0
    shown, hidden = torch.ones(1, FRAMES).double(), torch.tensor([[0.0, 1, 1, 1, 1]]).double()
    with_zero, without = run(net, given | {"known": shown}), run(net, given | {"known": hidden})
    assert (with_zero - without).abs().max() > 1e-3
    silent = deepcopy(net)
    for parameter in silent.action_mlp.mlp[-1].parameters():
        nn.init.zeros_(parameter)
    all_hidden = run(net, given | {"known": torch.zeros(1, FRAMES).double()})
    assert torch.equal(run(silent, given | {"known": shown}), all_hidden)
    assert torch.equal(run(net, given | {"known": 0 * shown, "actions": 7 * given["actions"]}), all_hidden)


def test_a_multi_hot_action_adds_up_rows_of_a_table():
    net = network(action_kind="multi_hot", action_size=6)
    embed, actions = net.action_mlp, torch.tensor([[[0.0, 1, 0, 1, 0, 0], [0.0] * 6, [0.5, 0, 0, 0, 0, 1]]]).double()
    rows = torch.stack([sum(entry * row for entry, row in zip(action, embed.table.weight, strict=True)) for action in actions[0]])
    one, two = embed.mlp[0], embed.mlp[2]
    expected = F.linear(F.silu(F.linear(rows, one.weight, one.bias)), two.weight, two.bias)
    assert close(embed(actions)[0], expected)
    assert expected[1].abs().max() > 0.01  # nothing pressed


def test_temporal_convolutions_are_padded_on_the_left_once():
    net = network()
    steps = [step for module in net.modules() if isinstance(module, TemporalConvs) for step in module.steps]
    assert len(steps) == 4 * sum(isinstance(module, ResBlock) for module in net.modules())
    for conv in (step.conv for step in steps):
        for frames in (1, 2, 4):
            x = torch.randn(1, conv.in_channels, frames, 2, 3, dtype=torch.float64)
            both_sides = F.conv3d(x, conv.weight, conv.bias, padding=(2, 0, 0))
            assert close(conv(x), both_sides[:, :, :frames], 1e-13)


def with_frame_norms(net: nn.Module, kinds: tuple[type, ...]) -> nn.Module:
    """`net` with the norms over time inside `kinds` taking each frame by itself."""
    for module in net.modules():
        if isinstance(module, kinds):
            owners = [module] if isinstance(module, TemporalTransformer) else list(module.steps)
            for owner in owners:
                old = owner.norm
                owner.norm = FrameGroupNorm(old.num_groups, old.num_channels, old.eps).double()
                owner.norm.load_state_dict(old.state_dict())
    return net


@pytest.mark.parametrize("name", PER_FRAME)
def test_as_released_the_future_leaks_through_both_kinds_of_norm_and_nothing_else(name):
    net = network(norm="clip", image_tokens="per_frame")
    given = inputs(net.config, FRAMES)
    one, other, both = ((TemporalConvs,), (TemporalTransformer,), (TemporalConvs, TemporalTransformer))
    assert (change(net, given, name, -1) > 1e-6).all()
    for kinds in (one, other) if name == "x" else ():
        assert (change(with_frame_norms(deepcopy(net), kinds), given, name, -1)[:-1] > 1e-8).all()
    mended = with_frame_norms(deepcopy(net), both)
    assert (change(mended, given, name, -1)[:-1] == 0.0).all()
    assert torch.equal(run(mended, given), run(network(**STRICT), given))


def test_the_embedding_is_level_plus_rate_plus_action():
    net = network()
    given = inputs(net.config, 3) | {"known": torch.tensor([[1.0, 0.0, 1.0]]).double()}
    scene = watched(net.down[1].res, net, given)[0][1]
    frequencies = torch.tensor([10000.0 ** (-i / 16) for i in range(16)], dtype=torch.float64)

    def waves(value: float) -> torch.Tensor:
        return torch.cat([torch.cos(value * frequencies), torch.sin(value * frequencies)])

    def mlp(layers: nn.Sequential, vector: torch.Tensor) -> torch.Tensor:
        for i in range(0, len(layers), 2):
            vector = layers[i].weight @ (F.silu(vector) if i else vector) + layers[i].bias
        return vector

    for t in range(3):
        level, rate = mlp(net.time_mlp, waves(float(given["timesteps"][0, t]))), mlp(net.fps_mlp, waves(3.0))
        action = mlp(net.action_mlp.mlp, given["actions"][0, t])
        assert close(scene.emb[t], F.silu(level + rate + (0.0 if t == 1 else action)), 1e-9)


def test_the_embedding_is_added_to_features_and_scales_nothing():
    net = network()
    block, given = net.down[1].res, inputs(net.config, 3)
    later = given | {"timesteps": given["timesteps"] + 100}
    (_, scene), _ = watched(block, net, given)
    (_, other), _ = watched(block, net, later)
    h = torch.randn(3, 32, 4, 6, dtype=torch.float64)
    seen = []
    with torch.no_grad():
        handle = block.norm_out.register_forward_hook(lambda _, args, output: seen.append(args[0]))
        block(h, scene), block(h, other)
        handle.remove()
        shift = (other.emb - scene.emb) @ block.embed.weight.T
    assert close(seen[1] - seen[0], shift[:, :, None, None].expand_as(h))


def test_without_temporal_convolutions_the_base_does_not_know_the_order_of_frames():
    net = network(causal=False, image_tokens="official")
    given, order = inputs(net.config, FRAMES), torch.tensor([3, 0, 4, 1, 2])
    shuffled = {name: value if name in ("context", "fps") else value[:, order] for name, value in given.items()}
    assert (run(net, shuffled) - run(net, given)[:, order]).abs().max() > 1e-3
    for module in net.modules():
        if isinstance(module, TemporalConvs):
            nn.init.zeros_(module.steps[-1].conv.weight)
    assert close(run(net, shuffled), run(net, given)[:, order])
    assert (change(net, given, "x", -1) > 1e-6).all()  # frames do meet: in two attentions


@pytest.mark.parametrize("silenced", ["first", "second"])
def test_each_of_the_two_attentions_of_a_temporal_block_looks_over_time(silenced):
    net = network(causal=False, norm="clip")
    for module in net.modules():
        if isinstance(module, TemporalTransformer):
            nn.init.zeros_(getattr(module.block, silenced).out.weight)
            module.norm = with_frame_norms(deepcopy(module), (TemporalTransformer,)).norm
    before, after = torch.randn(2, 5, 32, 4, 6, dtype=torch.float64)
    after = torch.cat([before[:-1], after[-1:]])
    scene = watched(net.down[0].time, net, inputs(net.config, 5))[0][1]
    with torch.no_grad():
        change = (net.down[0].time(after, scene) - net.down[0].time(before, scene)).abs().amax((1, 2, 3))
    assert (change > 1e-8).all()


def test_the_first_temporal_transformer_has_eight_heads_whatever_the_width():
    for width, head in ((32, 16), (64, 32)):
        weights = weights_of(tiny(model_channels=width, head_channels=head).build())
        assert weights["init_attn.0.proj_in.weight"].shape == (8 * head, width, 1)
        assert weights["init_attn.0.proj_out.weight"].shape == (width, 8 * head, 1)
        assert weights["init_attn.0.transformer_blocks.0.attn2.to_k.weight"].shape == (8 * head, 8 * head)
        assert weights["input_blocks.1.2.proj_in.weight"].shape == (width, width)


# Causality


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
@pytest.mark.parametrize("training", [False, True], ids=["evaluated", "trained"])
def test_no_output_depends_on_a_later_frame(changes, training):
    net = network(**changes, dropout=0.0).train(training)
    for frames in LENGTHS[-1:] if training else LENGTHS:
        given = inputs(net.config, frames)
        before = run(net, given)
        for name in PER_FRAME:
            for frame in {0, frames - 1} if frames < FRAMES else (0, 2, 3, 4):
                moves = (run(net, moved(given, name, frame)) - before).abs().amax((0, 2, 3, 4))
                assert (moves[:frame] == 0.0).all()
                assert (moves[frame:] > 1e-7).all()  # itself, and by the temporal layers everything later


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
def test_a_prefix_has_the_outputs_of_the_whole(changes):
    net = network(**changes)
    given = inputs(net.config, FRAMES)
    whole = run(net, given)
    assert all(close(run(net, part(given, slice(t))), whole[:, :t], 1e-12) for t in range(1, FRAMES))


def test_the_official_tokens_switch_and_so_break_prefixes_even_with_strict_norms():
    net = network(norm="frame", image_tokens="official")
    given = inputs(net.config, 4)
    assert (run(net, part(given, slice(3))) - run(net, given)[:, :3]).abs().max() > 1e-2


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
def test_no_gradient_flows_from_an_output_to_a_later_frame(changes):
    net = network(**changes)
    given = inputs(net.config, FRAMES)
    given |= {name: given[name].double().requires_grad_() for name in PER_FRAME}
    output = net(**given)
    for i in range(FRAMES):
        along = (output[:, i] * torch.randn_like(output[:, i])).sum()
        for slope in torch.autograd.grad(along, [given[name] for name in PER_FRAME], retain_graph=True):
            size = slope.abs().reshape(FRAMES, -1).amax(1)
            assert (size[i + 1 :] == 0.0).all()
            assert (size[: i + 1] > 0.0).all()


@pytest.mark.parametrize("changes", [{}, *CAUSAL], ids=["clip", *NORMS])
def test_rows_of_a_batch_do_not_meet(changes):
    net = network(**changes)
    given = inputs(net.config, 4, rows=3)
    alone = [run(net, {name: value[row : row + 1] for name, value in given.items()}) for row in range(3)]
    assert close(run(net, given), torch.cat(alone))


# Memory


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
def test_frame_by_frame_with_a_memory_is_the_whole_far_beyond_the_window(changes):
    net = network(**changes)
    given = inputs(net.config, 9, rows=2)
    whole = Reference(weights_of(net), net.config)(**given)
    assert close(stream(net, given)[0], whole, 1e-10)
    assert close(run(net, part(given, slice(FRAMES))), whole[:, :FRAMES])


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
def test_a_memory_is_filled_by_several_frames_at_once(changes):
    net = network(**changes)
    given = inputs(net.config, 8)
    whole, cache, done = Reference(weights_of(net), net.config)(**given), None, []
    for start, stop in ((0, 3), (3, 5), (5, 8)):
        memory = Memory(cache, lanes=1)
        with remembering(net, memory):
            done.append(run(net, part(given, slice(start, stop))))
        cache = memory.after(stop - start, net.config.window - 1)
    assert close(torch.cat(done, dim=1), whole, 1e-10)


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
def test_two_branches_read_one_history(changes):
    net = network(**changes)
    given = inputs(net.config, 7, rows=2)
    _, cache = stream(net, part(given, slice(6)))
    last = {name: value.repeat_interleave(2, dim=0) for name, value in part(given, slice(6, 7)).items()}
    last["known"] = torch.tensor([[1.0], [0.0], [1.0], [0.0]]).double()
    with remembering(net, Memory(cache, branches=2)):
        branches = run(net, last).unflatten(0, (2, 2))
    for branch, known in enumerate((1.0, 0.0)):
        one = given | {"known": torch.cat([given["known"][:, :6], torch.full((2, 1), known).double()], dim=1)}
        assert close(branches[:, branch], Reference(weights_of(net), net.config)(**one)[:, -1:], 1e-10)


@pytest.mark.parametrize("changes", CAUSAL, ids=NORMS)
def test_lanes_of_different_age_share_a_pass(changes):
    net = network(**changes)
    old, young = inputs(net.config, 8, seed=1), inputs(net.config, 3, seed=2)
    _, cache = stream(net, {name: torch.cat([value, value]) for name, value in part(old, slice(6)).items()})
    _, fresh = stream(net, part(young, slice(1)))
    cache = cache.merge([1], fresh)
    assert cache.length.tolist() == [net.config.window - 1, 1]
    both = {name: torch.cat([part(old, slice(6, 8))[name], part(young, slice(1, 3))[name]]) for name in old}
    answer, _ = stream(net, both, cache)
    reference = Reference(weights_of(net), net.config)
    assert close(answer[:1], reference(**old)[:, 6:], 1e-10)
    assert close(answer[1:], reference(**young)[:, 1:], 1e-10)


# Training


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_changes_no_gradient(dropout):
    gradients = []
    for checkpointing in (False, True):
        net = network(dropout=dropout, gradient_checkpointing=checkpointing).train()
        torch.manual_seed(5)
        net(**inputs(net.config, 3)).square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in net.named_parameters()})
    plain, again = gradients
    assert all(grad is not None and grad.abs().max() > 0 for grad in plain.values())
    assert all(torch.equal(again[name], grad) for name, grad in plain.items())


def test_checkpointing_keeps_fewer_tensors():
    held = []
    for checkpointing in (False, True):
        net, sizes = network(gradient_checkpointing=checkpointing).train(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor, sizes=sizes: (sizes.append(tensor.numel()), tensor)[1], lambda t: t):
            net(**inputs(net.config, 3))
        held.append(sum(sizes))
    assert held[1] < held[0] / 4


# Bad input


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("x", torch.zeros(1, 6, 8, 8, 8), "6 frames in one pass, expected at most 5"),
        ("x", torch.zeros(1, 3, 4, 8, 8), r"expected \[B, T, 8, H, W\] with H and W multiples of 2"),
        ("x", torch.zeros(1, 3, 8, 7, 8), "multiples of 2"),
        ("x", torch.zeros(3, 8, 8, 8), r"latents have shape \[3, 8, 8, 8\]"),
        ("x", torch.zeros(1, 0, 8, 8, 8), r"latents have shape \[1, 0, 8, 8, 8\]"),
        ("x", torch.full((1, 3, 8, 8, 8), torch.nan), "latents holds NaN or infinity, expected finite numbers"),
        ("actions", torch.full((1, 3, 3), torch.inf), "actions holds NaN or infinity"),
        ("context", torch.full((1, 11, 24), torch.nan), "context holds NaN"),
        ("timesteps", torch.zeros(1), r"timesteps has shape \[1\], expected \[1, 3\]"),
        ("actions", torch.zeros(1, 3, 7), r"actions has shape \[1, 3, 7\], expected \[1, 3, 3\]"),
        ("actions", None, r"actions has shape None, expected \[1, 3, 3\]"),
        ("known", torch.zeros(1, 2), r"known has shape \[1, 2\], expected \[1, 3\]"),
        ("context", torch.zeros(1, 10, 24), r"context has shape \[1, 10, 24\], expected \[1, 11, 24\]"),
        ("fps", torch.zeros(2), r"fps has shape \[2\], expected \[1\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_is_refused_in_one_line(name, value, expected):
    net = network()
    given = inputs(net.config, 3) | {name: value if value is None else value.double()}
    with pytest.raises(InvalidInput, match=expected) as caught:
        net(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"norm": "batch"}, UnknownName, 'unknown norm "batch"'),
        ({"head": "row"}, UnknownName, 'unknown head "row"; did you mean "rows"'),
        ({"image_tokens": "all"}, UnknownName, "unknown image_tokens"),
        ({"action_kind": "one_hot"}, UnknownName, "known: continuous, multi_hot"),
        ({"model_channels": 40}, InvalidInput, "model_channels is 40, expected a multiple of 32"),
        ({"model_channels": 96, "head_channels": 64}, InvalidInput, "head_channels=64"),
        ({"window": 1}, InvalidInput, "window=1"),
    ],
    ids=str,
)
def test_a_config_that_cannot_be_is_refused_in_one_line(changes, error, expected):
    with pytest.raises(error, match=expected) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)
