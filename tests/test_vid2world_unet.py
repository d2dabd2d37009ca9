"""The Vid2World U-Net: sizes and keys of the official checkpoints, surgery on the base, and files that are or are not theirs.

What the network computes is in `test_vid2world_quirks`.
"""

import dataclasses
import re
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.models.causal.kernels import transfer_kernel
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


# Names and branches


def test_only_the_last_action_is_hidden_in_the_second_branch_of_guidance():
    net = tiny()
    given = inputs(net.config)
    moved = (run(net, given | {"known": torch.tensor([[1.0, 1, 1, 0]]).double()}) - run(net, given)).abs().amax((0, 2, 3, 4))
    assert moved[:3].max() == 0.0
    assert moved[3] > 1e-4


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


# Configs


def test_a_config_survives_json():
    described = tiny().describe()
    assert Vid2WorldConfig(**described | {"channel_mult": list(described["channel_mult"])}) == TINY


def test_a_fresh_network_begins_silent():
    torch.manual_seed(0)
    assert not run(TINY.build().double().eval(), inputs(TINY)).any()
