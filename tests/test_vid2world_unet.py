"""The Vid2World U-Net: sizes and keys of the official checkpoints, and its quirks against a second, naive evaluation of the official keys."""

import dataclasses
import re
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.models.cache import Memory
from worldsim.models.causal.kernels import transfer_kernel
from worldsim.models.causal.layers import remembering
from worldsim.models.vid2world import Vid2WorldConfig, load_base, load_unet, make_causal, official_weights, read_weights
from worldsim.models.vid2world.keys import PREFIX, base_name, official_names

TINY = Vid2WorldConfig(
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_at=(1,),
    head_channels=16,
    context_dim=12,
    action_size=3,
    text_tokens=3,
    tokens_per_frame=2,
    frames=4,
    window=4,
    norm="frame",
    image_tokens="per_frame",
    latent_height=4,
    latent_width=4,
    dropout=0.0,
)
READINGS = [
    {"norm": norm, "head": head, "image_tokens": tokens}
    for norm, head, tokens in (("clip", "rows", "official"), ("frame", "symmetric", "per_frame"), ("frame", "rows", "official"))
]


def tiny(seed=0, size=0.1, **changes):
    """A stirred network in float64, so that no path is silent."""
    torch.manual_seed(seed)
    net = dataclasses.replace(TINY, **changes).build()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return net.double().eval()


def inputs(config, frames=4, rows=1, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    actions = draw(rows, frames, max(config.action_size, 1))
    actions[:, 0] = 0
    return {
        "x": draw(rows, frames, config.in_channels, 4, 4),
        "timesteps": torch.randint(0, 1000, (rows, frames), generator=generator),
        "actions": actions,
        "known": torch.ones(rows, frames, dtype=torch.float64),
        "context": draw(rows, config.context_tokens, config.context_dim),
        "fps": torch.full((rows,), 3),
    }


@cache
def full(**options):
    with torch.device("meta"):
        return Vid2WorldConfig(**options).build()


@torch.no_grad()
def run(net, given):
    return net(**given)


# A naive evaluation of official tensors: one row, written from the description of the network, no line shared with it.


class Naive:
    def __init__(self, weights, config):
        self.w, self.config = {key.removeprefix(PREFIX): tensor for key, tensor in weights.items()}, config

    def linear(self, name, x):
        return F.linear(x, self.w[f"{name}.weight"].reshape(self.w[f"{name}.weight"].shape[:2]), self.w.get(f"{name}.bias"))

    def conv(self, name, x, stride=1):
        return F.conv2d(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], stride, self.w[f"{name}.weight"].shape[-1] // 2)

    def norm(self, name, x, eps=1e-5):
        return F.group_norm(x, 32, self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    def over_time(self, name, x, eps):
        """Norm of [T, C, H, W] over the clip, or over each frame."""
        if self.config.norm == "clip" or not self.config.causal:
            return self.norm(name, x.transpose(0, 1)[None], eps)[0].transpose(0, 1)
        return torch.cat([self.norm(name, frame[None], eps) for frame in x])

    def mlp(self, name, x, layers=(0, 2)):
        for i, layer in enumerate(layers):
            x = self.linear(f"{name}.{layer}", F.silu(x) if i else x)
        return x

    def attend(self, name, x, tokens, kind="", mask=None):
        width, heads = self.w[f"{name}.to_q.weight"].shape[0], self.w[f"{name}.to_q.weight"].shape[0] // self.config.head_channels
        q, k, v = self.linear(f"{name}.to_q", x), self.linear(f"{name}.to_k{kind}", tokens), self.linear(f"{name}.to_v{kind}", tokens)
        found = []
        for part in torch.arange(width).chunk(heads):
            scores = q[:, part] @ k[:, part].T / len(part) ** 0.5
            found.append(torch.softmax(scores if mask is None else scores.masked_fill(~mask, -torch.inf), -1) @ v[:, part])
        return torch.cat(found, -1)

    def block(self, name, x, second, mask=None):
        """[L, C] through attention, `second` and the MLP."""
        name = f"{name}.transformer_blocks.0"

        def normed(i):
            return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.norm{i}.weight"], self.w[f"{name}.norm{i}.bias"])

        h = normed(1)
        x = x + self.linear(f"{name}.attn1.to_out.0", self.attend(f"{name}.attn1", h, h, mask=mask))
        x = x + self.linear(f"{name}.attn2.to_out.0", second(f"{name}.attn2", normed(2)))
        value, gate = self.linear(f"{name}.ff.net.0.proj", normed(3)).chunk(2, -1)
        return x + self.linear(f"{name}.ff.net.2", value * F.gelu(gate))

    def spatial(self, name, h, text, images):
        out = []
        for frame, image in zip(h, images, strict=True):
            x = self.linear(f"{name}.proj_in", self.norm(f"{name}.norm", frame[None], 1e-6)[0].flatten(1).T)
            x = self.block(name, x, lambda at, q, i=image: self.attend(at, q, text) + self.attend(at, q, i, "_ip"))
            out.append(frame + self.linear(f"{name}.proj_out", x).T.reshape(frame.shape))
        return torch.stack(out)

    def temporal(self, name, h):
        mask = torch.ones(len(h), len(h), dtype=torch.bool)
        mask = mask.tril() if self.config.causal else mask
        normed, out = self.over_time(f"{name}.norm", h, 1e-6), h.clone()
        for row in range(h.shape[2]):
            for column in range(h.shape[3]):
                x = self.linear(f"{name}.proj_in", normed[:, :, row, column])
                x = self.block(name, x, lambda at, q: self.attend(at, q, q, mask=mask), mask)
                out[:, :, row, column] += self.linear(f"{name}.proj_out", x)
        return out

    def temporal_conv(self, name, h):
        """Causal: two frames of zeros on the left. Otherwise one on either side."""
        weight, bias = self.w[f"{name}.weight"][..., 0, 0], self.w[f"{name}.bias"]
        zero = torch.zeros_like(h[:1])
        padded = torch.cat([zero, zero, h] if self.config.causal else [zero, h, zero])
        taps = [torch.einsum("oi,tihw->tohw", weight[..., i], padded[i : i + len(h)]) for i in range(3)]
        return sum(taps) + bias[:, None, None]

    def residual(self, name, h, emb):
        x = self.conv(f"{name}.in_layers.2", F.silu(self.norm(f"{name}.in_layers.0", h)))
        x = x + self.linear(f"{name}.emb_layers.1", F.silu(emb))[..., None, None]
        x = self.conv(f"{name}.out_layers.3", F.silu(self.norm(f"{name}.out_layers.0", x)))
        h = x + (self.conv(f"{name}.skip_connection", h) if f"{name}.skip_connection.weight" in self.w else h)
        x = h
        for i in (1, 2, 3, 4):
            at, place = f"{name}.temopral_conv.conv{i}", (2 if i == 1 else 3)
            infix = ".conv3d" if self.config.causal else ""
            x = self.temporal_conv(f"{at}.{place}{infix}", F.silu(self.over_time(f"{at}.0", x, 1e-5)))
        return h + x

    def part(self, name, h, scene):
        emb, text, images = scene
        if f"{name}.in_layers.0.weight" in self.w:
            return self.residual(name, h, emb)
        if f"{name}.transformer_blocks.0.attn2.to_k_ip.weight" in self.w:
            return self.spatial(name, h, text, images)
        if f"{name}.proj_in.weight" in self.w:
            return self.temporal(name, h)
        if f"{name}.op.weight" in self.w:
            return self.conv(f"{name}.op", h, stride=2)
        if f"{name}.conv.weight" in self.w:
            return self.conv(f"{name}.conv", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return self.conv(name, h)

    def stage(self, name, h, scene):
        for i in range(4):
            if any(key.startswith(f"{name}.{i}.") for key in self.w):
                h = self.part(f"{name}.{i}", h, scene)
        return h

    def waves(self, k):
        half = self.config.model_channels // 2
        angles = k.double()[:, None] * 10000 ** (-torch.arange(half) / half).double()
        return torch.cat([torch.cos(angles), torch.sin(angles)], -1)

    def images(self, image, frames):
        config = self.config
        groups = image.reshape(config.frames, config.tokens_per_frame, -1)
        if config.image_tokens == "per_frame":
            return [groups[min(t, config.frames - 1)] for t in range(frames)]
        return list(groups) if frames == config.frames else [image] * frames

    def count(self, name):
        return len({key.split(".")[1] for key in self.w if key.startswith(f"{name}.")})

    def __call__(self, x, timesteps, actions, known, context, fps):
        config = self.config
        emb = self.mlp("time_embed", self.waves(timesteps[0])) + self.mlp("fps_embedding", self.waves(fps[:1]))
        if "action_emb_preprocess.weight" in self.w:
            emb = emb + known[0][:, None] * self.mlp("action_emb_proj", actions[0] @ self.w["action_emb_preprocess.weight"])
        elif config.action_size:
            emb = emb + known[0][:, None] * self.mlp("action_emb_proj", actions[0], (0, 2, 4))
        scene = (emb, context[0, : config.text_tokens], self.images(context[0, config.text_tokens :], x.shape[1]))
        h, skips = x[0], []
        for i in range(self.count("input_blocks")):
            h = self.stage(f"input_blocks.{i}", h, scene)
            h = self.temporal("init_attn.0", h) if i == 0 else h
            skips.append(h)
        h = self.stage("middle_block", h, scene)
        for i in range(self.count("output_blocks")):
            h = self.stage(f"output_blocks.{i}", torch.cat([h, skips.pop()], 1), scene)
        return self.last(F.silu(self.norm("out.0", h)))[None]

    def last(self, h):
        name = "out.2.conv2d" if self.config.causal else "out.2"
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        top, bottom = (2, 0) if self.config.causal and self.config.head == "rows" else (1, 1)
        return F.conv2d(F.pad(h, (1, 1, top, bottom)), weight, bias)


# Sizes and keys


def test_the_released_networks_have_their_parameters():
    rt1, csgo = full(), full(action_size=51, action_kind="multi_hot")
    assert (sum(p.numel() for p in rt1.parameters()), len(rt1.state_dict())) == (1_440_910_020, 1522)
    assert (sum(p.numel() for p in csgo.parameters()), len(csgo.state_dict())) == (1_440_921_860, 1521)


def test_official_keys_and_shapes_of_the_full_network():
    shapes = {key.removeprefix(PREFIX): tuple(tensor.shape) for key, tensor in official_weights(full()).items()}
    width = (
        {f"input_blocks.{n}": 320 for n in (1, 2)}
        | {f"input_blocks.{n}": 640 for n in (4, 5)}
        | {f"input_blocks.{n}": 1280 for n in (7, 8)}
    )
    width |= {f"output_blocks.{n}": 1280 for n in (3, 4, 5)} | {f"output_blocks.{n}": 640 for n in (6, 7, 8)}
    width |= {f"output_blocks.{n}": 320 for n in (9, 10, 11)}
    entering = {0: 2560, 1: 2560, 2: 2560, 3: 2560, 4: 2560, 5: 1920, 6: 1920, 7: 1280, 8: 960, 9: 960, 10: 640, 11: 640}
    residuals = {f"input_blocks.{n}.0": (320, 320) for n in (1, 2)} | {"input_blocks.4.0": (320, 640), "input_blocks.5.0": (640, 640)}
    residuals |= {"input_blocks.7.0": (640, 1280)} | {f"input_blocks.{n}.0": (1280, 1280) for n in (8, 10, 11)}
    residuals |= {f"middle_block.{n}": (1280, 1280) for n in (0, 3)}
    residuals |= {f"output_blocks.{n}.0": (wide, width.get(f"output_blocks.{n}", 1280)) for n, wide in entering.items()}
    expected = {}

    def layer(name, *shape, bias=True):
        expected[f"{name}.weight"] = shape
        if bias:
            expected[f"{name}.bias"] = shape[:1]

    def transformer(name, c, context=None, inner=None, tap=()):
        inner, block = inner or c, f"{name}.transformer_blocks.0"
        layer(f"{name}.norm", c)
        layer(f"{name}.proj_in", inner, c, *tap)
        layer(f"{name}.proj_out", c, inner, *tap)
        for attention, tokens, kinds in (("attn1", inner, ("",)), ("attn2", context or inner, ("", "_ip") if context else ("",))):
            layer(f"{block}.{attention}.to_q", inner, inner, bias=False)
            layer(f"{block}.{attention}.to_out.0", inner, inner)
            for kind in kinds:
                layer(f"{block}.{attention}.to_k{kind}", inner, tokens, bias=False)
                layer(f"{block}.{attention}.to_v{kind}", inner, tokens, bias=False)
        layer(f"{block}.ff.net.0.proj", 8 * inner, inner)
        layer(f"{block}.ff.net.2", inner, 4 * inner)
        for i in (1, 2, 3):
            layer(f"{block}.norm{i}", inner)

    for name in ("time_embed", "fps_embedding"):
        layer(f"{name}.0", 1280, 320)
        layer(f"{name}.2", 1280, 1280)
    for i, shape in enumerate(((320, 13), (1280, 320), (1280, 1280))):
        layer(f"action_emb_proj.{2 * i}", *shape)
    layer("input_blocks.0.0", 320, 8, 3, 3)
    transformer("init_attn.0", 320, inner=512, tap=(1,))
    for n, c in ((3, 320), (6, 640), (9, 1280)):
        layer(f"input_blocks.{n}.0.op", c, c, 3, 3)
    for name, c in ((("output_blocks.2.1"), 1280), ("output_blocks.5.3", 1280), ("output_blocks.8.3", 640)):
        layer(f"{name}.conv", c, c, 3, 3)
    for name, (enters, c) in residuals.items():
        layer(f"{name}.in_layers.0", enters)
        layer(f"{name}.in_layers.2", c, enters, 3, 3)
        layer(f"{name}.emb_layers.1", c, 1280)
        layer(f"{name}.out_layers.0", c)
        layer(f"{name}.out_layers.3", c, c, 3, 3)
        if enters != c:
            layer(f"{name}.skip_connection", c, enters, 1, 1)
        for i in (1, 2, 3, 4):
            layer(f"{name}.temopral_conv.conv{i}.0", c)
            layer(f"{name}.temopral_conv.conv{i}.{2 if i == 1 else 3}.conv3d", c, c, 3, 1, 1)
    for name, c in width.items():
        transformer(f"{name}.1", c, context=1024)
        transformer(f"{name}.2", c)
    transformer("middle_block.1", 1280, context=1024)
    transformer("middle_block.2", 1280)
    layer("out.0", 320)
    layer("out.2.conv2d", 4, 320, 3, 3)
    assert shapes == expected


def test_keys_of_csgo_actions():
    shapes = {
        key.removeprefix(PREFIX): tuple(t.shape) for key, t in official_weights(full(action_size=51, action_kind="multi_hot")).items()
    }
    assert {key: shape for key, shape in shapes.items() if key.startswith("action_")} == {
        "action_emb_preprocess.weight": (51, 320),
        "action_emb_proj.0.weight": (1280, 320),
        "action_emb_proj.0.bias": (1280,),
        "action_emb_proj.2.weight": (1280, 1280),
        "action_emb_proj.2.bias": (1280,),
    }


def test_the_base_has_neither_infixes_nor_actions():
    names = set(official_names(full(causal=False, action_size=0).state_dict(), causal=False).values())
    assert not [name for name in names if re.search(r"conv[23]d|action", name)]
    causal = {key.removeprefix(PREFIX) for key in official_weights(full())}
    assert names == {base_name(key) for key in causal if not key.startswith("action_")}
    assert len(causal - names) == 2 * (88 + 1) + 6  # 88 kernels over time, the last convolution, the action layers


def test_names_that_collide_are_refused():
    with pytest.raises(InvalidInput, match="same official name"):
        official_names(["time_mlp.0.weight", "time_embed.0.weight"], causal=True)


# The quirks


@pytest.mark.parametrize("frames", [1, 3, 4])
@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_the_network_is_what_the_official_keys_mean(reading, frames):
    net = tiny(**reading)
    given = inputs(net.config, frames)
    given["known"][:, -1] = 0.0
    torch.testing.assert_close(run(net, given), Naive(official_weights(net), net.config)(**given), atol=1e-9, rtol=1e-9)


def test_the_base_is_what_its_official_keys_mean():
    net = tiny(causal=False, action_size=0, norm="clip", image_tokens="official")
    given = inputs(net.config)
    expected = Naive(official_weights(net), net.config)(**given)
    torch.testing.assert_close(run(net, given | {"actions": None, "known": None}), expected, atol=1e-9, rtol=1e-9)


def test_multi_hot_actions_are_sums_of_rows_of_a_table():
    net = tiny(action_size=5, action_kind="multi_hot")
    given = inputs(net.config)
    given["actions"] = torch.tensor([[[0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]]).double()
    torch.testing.assert_close(run(net, given), Naive(official_weights(net), net.config)(**given), atol=1e-9, rtol=1e-9)
    rows = net.action_mlp.table.weight
    torch.testing.assert_close(net.action_mlp(given["actions"])[0, 1], net.action_mlp.mlp(rows[0] + rows[2]))


def test_a_row_of_the_head_sees_the_two_above_it():
    for head, reached in (("rows", [1, 2, 3]), ("symmetric", [0, 1, 2])):
        conv = tiny(head=head).head.conv
        h = torch.zeros(1, 32, 4, 4, dtype=torch.float64)
        moved = conv(h.index_fill(2, torch.tensor([1]), 1.0)) - conv(h)
        assert moved.abs().amax((0, 1, 3)).nonzero().flatten().tolist() == reached


def test_zeros_are_an_action_and_a_hidden_action_is_none():
    net = tiny()
    given = inputs(net.config)
    hidden = run(net, given | {"known": torch.tensor([[0.0, 1, 1, 1]]).double()})
    assert (hidden - run(net, given)).abs()[:, 0].max() > 1e-4  # frame 0 is told the zero vector, which is not nothing
    other = given | {"actions": given["actions"] + 1}
    unknown = {"known": torch.zeros(1, 4).double()}
    assert torch.equal(run(net, given | unknown), run(net, other | unknown))


def test_only_the_last_action_is_hidden_in_the_second_branch_of_guidance():
    net = tiny()
    given = inputs(net.config)
    moved = (run(net, given | {"known": torch.tensor([[1.0, 1, 1, 0]]).double()}) - run(net, given)).abs().amax((0, 2, 3, 4))
    assert moved[:3].max() == 0.0
    assert moved[3] > 1e-4


def test_official_image_tokens_switch_at_the_trained_length():
    official = tiny(image_tokens="official")
    given = inputs(official.config)
    last = given["context"].clone()
    last[:, -2:] += 1  # the tokens of frame 3
    for frames, seen in ((4, [3]), (3, [0, 1, 2])):
        short = {name: value[:, :frames] if name in ("x", "timesteps", "actions", "known") else value for name, value in given.items()}
        moved = (run(official, short | {"context": last}) - run(official, short)).abs().amax((0, 2, 3, 4))
        assert moved.nonzero().flatten().tolist() == seen


def test_late_frames_have_the_tokens_of_the_last_group():
    net = tiny(frames=2, window=4)
    given = inputs(net.config)
    expected = Naive(official_weights(net), net.config)(**given)
    torch.testing.assert_close(run(net, given), expected, atol=1e-9, rtol=1e-9)


# Causality


def leaks(net, frames):
    """Largest change of an earlier output when one frame's latent, level, action or mask changes; and whether every change was felt."""
    given, found = inputs(net.config, frames), {}
    before = run(net, given)
    for name, step in (("x", 1.0), ("timesteps", 37), ("actions", 1.0), ("known", -1.0)):
        found[name] = 0.0
        for frame in range(frames):
            changed = given[name].clone()
            changed[:, frame] += step
            moved = (run(net, given | {name: changed}) - before).abs().amax((0, 2, 3, 4))
            assert moved[frame:].min() > 0  # positive control: this frame and all later ones
            found[name] = max(found[name], moved[:frame].max().item() if frame else 0.0)
    return found


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_nothing_leaks_with_norms_of_each_frame(frames):
    assert leaks(tiny(), frames) == {"x": 0.0, "timesteps": 0.0, "actions": 0.0, "known": 0.0}


def test_norms_of_the_clip_leak_and_nothing_else_does():
    net = tiny(norm="clip")
    assert min(leaks(net, 3).values()) > 1e-6
    strict = tiny(norm="frame")  # the same weights
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), strict.state_dict().values(), strict=True))
    assert max(leaks(strict, 3).values()) == 0.0


def test_the_base_sees_both_ways():
    given = inputs(TINY)
    net = tiny(causal=False)
    changed = given["x"].clone()
    changed[:, -1] += 1
    assert (run(net, given | {"x": changed}) - run(net, given))[:, 0].abs().max() > 1e-4


@pytest.mark.parametrize("norm", ["frame", "cumulative"])
def test_a_prefix_is_predicted_as_in_the_whole(norm):
    net = tiny(norm=norm)
    given = inputs(net.config)
    whole = run(net, given)
    for frames in (1, 2, 3):
        part = {name: value[:, :frames] if name in ("x", "timesteps", "actions", "known") else value for name, value in given.items()}
        torch.testing.assert_close(run(net, part), whole[:, :frames], atol=1e-11, rtol=0)


def test_the_gradient_of_an_output_reaches_no_later_latent():
    net = tiny()
    given = inputs(net.config)
    x = given["x"].requires_grad_()
    out = net(**given)
    for i in range(4):
        (slope,) = torch.autograd.grad(out[:, i].sum(), x, retain_graph=True)
        reached = slope.abs().amax((0, 2, 3, 4))
        assert reached[: i + 1].min() > 0
        assert reached[i + 1 :].sum() == 0.0


def frames_of(given, start, stop):
    return {name: value[:, start:stop] if name in ("x", "timesteps", "actions", "known") else value for name, value in given.items()}


@pytest.mark.parametrize("norm", ["frame", "cumulative"])
def test_remembered_features_give_what_a_whole_pass_gives(norm):
    net = tiny(norm=norm, frames=3)  # the last frame is beyond the last group of tokens
    given = inputs(net.config, rows=2)
    whole, history = run(net, given), None
    for start, stop in ((0, 2), (2, 3), (3, 4)):
        memory = Memory(history, lanes=2)
        with remembering(net, memory):
            torch.testing.assert_close(run(net, frames_of(given, start, stop)), whole[:, start:stop], atol=1e-10, rtol=0)
        history = memory.after(stop - start, net.config.window - 1)
    assert len(history.layers) >= 5 * 4 + 3 * 2 + 1  # convolutions, attentions and the clock


def test_both_branches_of_guidance_read_one_history():
    net = tiny()
    given = inputs(net.config, rows=2)
    hidden = torch.tensor([1.0, 1, 1, 0]).double().expand(2, -1)
    expected = torch.stack([run(net, given)[:, 3], run(net, given | {"known": hidden})[:, 3]], dim=1)  # [lane, branch, ...]
    memory = Memory(lanes=2)
    with remembering(net, memory):
        run(net, frames_of(given, 0, 3))
    last = {name: value.repeat_interleave(2, dim=0) for name, value in frames_of(given, 3, 4).items()}
    last["known"] = torch.tensor([[1.0], [0.0]]).double().repeat(2, 1)
    with remembering(net, Memory(memory.after(3, 3), branches=2)):
        torch.testing.assert_close(run(net, last).unflatten(0, (2, 2))[:, :, 0], expected, atol=1e-10, rtol=0)


def test_layers_that_remember_have_their_names():
    net = tiny()
    for path, layer in net.named_modules():
        assert getattr(layer, "name", path) == path


# Surgery and the base


@cache
def base_weights(seed=5):
    """A stirred base with its official names."""
    net = tiny(seed, causal=False, action_size=0).float()
    return official_weights(net)


@pytest.mark.parametrize("transfer", ["extrapolative", "masked", "shift"])
@pytest.mark.parametrize("head", ["rows", "symmetric"])
def test_the_base_becomes_causal(transfer, head):
    config = dataclasses.replace(TINY, head=head)
    torch.manual_seed(0)
    kept = {key: tensor.clone() for key, tensor in base_weights().items()}
    net = load_base(base_weights(), config, transfer)
    assert net.config == config
    kernels = 0
    for key, tensor in official_weights(net).items():
        if "action_emb" in key:
            continue
        before = kept[base_name(key)]
        if "conv3d.weight" in key:
            kernels += 1
            before = transfer_kernel(before, transfer)
        elif key.endswith("out.2.conv2d.weight") and head == "rows":
            before = transfer_kernel(before, transfer, axis=-2)
        assert torch.equal(tensor, before), key
    assert kernels == 4 * 8  # eight residual blocks
    assert all(torch.equal(tensor, kept[key]) for key, tensor in base_weights().items())  # the caller's tensors stay
    assert max(leaks(net.double(), 3).values()) == 0.0


def test_an_old_base_names_its_frame_rate_otherwise():
    old = {key.replace("fps_embedding", "framestride_embed"): tensor for key, tensor in base_weights().items()}
    assert torch.equal(load_base(old, TINY).fps_mlp[0].weight, base_weights()[f"{PREFIX}fps_embedding.0.weight"])


def test_transferred_weights_are_not_transferred_again():
    bidirectional, causal = tiny(causal=False), tiny()
    report = make_causal(bidirectional, transfer=None, norm="frame", window=4)
    assert all(torch.equal(a, b) for a, b in zip(bidirectional.state_dict().values(), causal.state_dict().values(), strict=True))
    given = inputs(TINY)
    assert torch.equal(run(bidirectional, given), run(causal, given))
    assert (len(report.convolutions), len(report.attentions), report.positions) == (4 * 8, 2 * 5, ("clock",))
    with pytest.raises(InvalidInput, match="causal already"):
        make_causal(causal, transfer=None, norm="frame", window=4)


def test_extrapolation_keeps_what_is_linear_in_time():
    """The point of the transfer: on features linear in time the causal convolution answers as the centred one did."""
    centred = tiny(causal=False).middle.res.temporal.steps[0].conv
    time = torch.arange(8).double()[:, None, None]
    line = torch.randn(1, 64, 1, 1, 1, dtype=torch.float64) * time + torch.randn(1, 64, 1, 1, 1, dtype=torch.float64)
    before = centred(line)
    net = tiny(causal=False)
    make_causal(net, transfer="extrapolative", norm="frame", window=4)
    torch.testing.assert_close(net.middle.res.temporal.steps[0].conv(line)[:, :, 2:-1], before[:, :, 2:-1])


# Loading


@cache
def released(**changes):
    return {key: tensor.float() for key, tensor in official_weights(tiny(3, **changes)).items()}


def test_official_weights_are_loaded_as_they_are():
    weights = released()
    others = {"first_stage_model.encoder.conv_in.weight": torch.zeros(1), "betas": torch.zeros(1000)}
    bare = {key.removeprefix(PREFIX): tensor for key, tensor in weights.items()}
    engine = {f"_forward_module.{key}": tensor for key, tensor in weights.items()}
    for given in (weights, weights | others, bare, {"state_dict": weights, "epoch": 3}, {"module": engine, "step": 4}):
        net = load_unet(given, TINY)
        loaded = official_weights(net)
        assert loaded.keys() == weights.keys()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in weights.items())
        assert not net.training
    with torch.no_grad():
        net.head.conv.weight.zero_()
    assert weights[f"{PREFIX}out.2.conv2d.weight"].any()  # a copy


def test_half_precision_is_computed_with_in_the_precision_asked_for():
    half = {key: tensor.half() for key, tensor in released().items()}
    assert {p.dtype for p in load_unet(half, TINY).parameters()} == {torch.float32}
    assert {p.dtype for p in load_unet(half, TINY, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


def test_a_bidirectional_base_is_loaded_for_itself():
    config = dataclasses.replace(TINY, causal=False, action_size=0)
    assert load_unet(base_weights(), config).config == config


WITHOUT = f"{PREFIX}middle_block.0.in_layers.2.weight"


@pytest.mark.parametrize(
    ("spoil", "config", "line"),
    [
        (lambda w: {k: v for k, v in w.items() if k != WITHOUT}, TINY, r"1 of \d+ tensors are missing: middle_block.0.in_layers.2.weight;"),
        (lambda w: {k: v for k, v in w.items() if "attn2" not in k}, TINY, r"missing: \S+, \S+, \S+ and \d+ more"),
        (lambda w: w | {f"{PREFIX}alpha": torch.zeros(1)}, TINY, "1 tensors are surplus: alpha;"),
        (lambda w: w | {WITHOUT: torch.zeros(64, 64, 3, 1)}, TINY, r"has shape \[64, 64, 3, 1\], expected \[64, 64, 3, 3\]"),
        (lambda w: w | {WITHOUT: torch.zeros(64, 64, 3, 3, dtype=torch.int8)}, TINY, "is torch.int8, expected floating point"),
        (lambda w: w, dataclasses.replace(TINY, action_size=7), r"\[32, 3\], expected \[32, 7\].*set action_size=3"),
        (lambda w: released(action_size=5, action_kind="multi_hot"), TINY, r'set action_size=5, action_kind="multi_hot"'),
        (lambda w: base_weights(), TINY, r"use load_base\(state_dict, config\)"),
        (lambda w: w, dataclasses.replace(TINY, causal=False), "load_unet.* with causal=True"),
        (lambda w: {}, TINY, "there are none"),
        (lambda w: {"betas": torch.zeros(1000)}, TINY, "tensors are missing"),
        (lambda w: w | {"hyper": {"lr": 1.0}}, TINY, "hyper is a dict"),
        (lambda w: [1, 2], TINY, "holds a list, expected tensors by name"),
    ],
)
def test_weights_that_do_not_fit(spoil, config, line):
    with pytest.raises(InvalidInput, match=line) as caught:
        load_unet(spoil(released()), config)
    assert "\n" not in str(caught.value)


def test_only_the_actions_of_a_base_may_be_missing():
    weights = base_weights()
    with pytest.raises(InvalidInput, match="1 of .* missing: middle_block.0.in_layers.2.weight"):
        load_base({key: tensor for key, tensor in weights.items() if key != WITHOUT}, TINY)
    with pytest.raises(InvalidInput, match="names of a Vid2World checkpoint, use load_unet"):
        load_base(released(), TINY)
    with pytest.raises(InvalidInput, match="load_base makes a causal network"):
        load_base(weights, dataclasses.replace(TINY, causal=False))
    with pytest.raises(UnknownName, match='did you mean "masked"'):
        load_base(weights, TINY, "maskd")
    half = {f"{PREFIX}action_emb_proj.0.weight": torch.zeros(32, 3)}
    with pytest.raises(InvalidInput, match="5 of .* missing: action_emb_proj.0.bias"):
        load_base(weights | half, TINY)


def test_files_of_either_kind(tmp_path):
    weights = released()
    torch.save({"state_dict": weights, "global_step": 7}, tmp_path / "a.ckpt")
    torch.save({"module": {f"_forward_module.{k}": v for k, v in weights.items()}}, tmp_path / "b.pt")
    torch.save(weights, tmp_path / "c.ckpt", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "d.safetensors")
    for name in ("a.ckpt", "b.pt", "c.ckpt", "d.safetensors"):
        read = read_weights(tmp_path / name)
        assert read.keys() == weights.keys()
        assert all(torch.equal(read[key], tensor) for key, tensor in weights.items())
        load_unet(read, TINY)


class Loud:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys, zipped):
    torch.save({"state_dict": {"a": torch.zeros(2)}, "callback": Loud()}, tmp_path / "a.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InvalidInput, match="code from files is not run; save its state_dict alone"):
        read_weights(tmp_path / "a.ckpt")
    assert capsys.readouterr().out == ""


def test_damaged_files(tmp_path):
    weights = {"a": torch.randn(3000)}
    torch.save(weights, tmp_path / "a.ckpt")
    torch.save(weights, tmp_path / "b.ckpt", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "c.safetensors")
    for name in ("a.ckpt", "b.ckpt", "c.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for length in (len(whole) // 2, len(whole) - 40, 0):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(DamagedFile, match="get the checkpoint again"):
                read_weights(tmp_path / name)
    (tmp_path / "d.ckpt").write_text("<html>not found</html>")
    with pytest.raises(DamagedFile, match="is not a torch file"):
        read_weights(tmp_path / "d.ckpt")


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(InvalidInput, match="is no file"):
        read_weights(tmp_path / "absent.ckpt")
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(InvalidInput, match=r'ends with ".npz", expected .safetensors'):
        read_weights(tmp_path / "a.npz")


# Inputs and training


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"x": torch.zeros(1, 4, 4, 4, 4)}, r"latents have shape \[1, 4, 4, 4, 4\], expected \[B, T, 8, H, W\]"),
        ({"x": torch.zeros(1, 4, 8, 3, 4)}, "multiples of 2"),
        ({"x": torch.zeros(1, 5, 8, 4, 4)}, "5 frames in one pass, expected at most 4"),
        ({"timesteps": torch.zeros(1)}, r"timesteps has shape \[1\], expected \[1, 4\]"),
        ({"actions": torch.zeros(1, 4, 7)}, r"actions has shape \[1, 4, 7\], expected \[1, 4, 3\]"),
        ({"actions": None}, r"actions has shape None, expected \[1, 4, 3\]"),
        ({"known": torch.zeros(4)}, r"known has shape \[4\], expected \[1, 4\]"),
        ({"context": torch.zeros(1, 10, 12)}, r"context has shape \[1, 10, 12\], expected \[1, 11, 12\]"),
        ({"fps": torch.zeros(1, 1)}, r"fps has shape \[1, 1\], expected \[1\]"),
        ({"x": torch.full((1, 4, 8, 4, 4), torch.nan)}, "latents holds NaN"),
        ({"actions": torch.full((1, 4, 3), torch.nan)}, "actions holds NaN"),
    ],
)
def test_inputs_of_the_wrong_kind(change, line):
    with pytest.raises(InvalidInput, match=line):
        run(tiny(), inputs(TINY) | change)


def test_configs_that_cannot_be():
    with pytest.raises(UnknownName, match='unknown norm "frames"; did you mean "frame"'):
        Vid2WorldConfig(norm="frames")
    with pytest.raises(InvalidInput, match="model_channels is 48"):
        Vid2WorldConfig(model_channels=48, head_channels=16)
    with pytest.raises(InvalidInput, match="window=1"):
        Vid2WorldConfig(window=1)


def test_a_config_survives_json():
    described = tiny().describe()
    assert Vid2WorldConfig(**described | {"channel_mult": list(described["channel_mult"])}) == TINY


def test_checkpointing_changes_no_gradient():
    grads = []
    for checkpointing in (False, True):
        net = tiny(gradient_checkpointing=checkpointing, dropout=0.1).train()
        torch.manual_seed(7)
        net(**inputs(net.config)).square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
        assert one.abs().max() > 0


def test_a_fresh_network_begins_silent():
    torch.manual_seed(0)
    assert not run(TINY.build().double().eval(), inputs(TINY)).any()
