"""Official weights into the U-Net: every key and shape, every container, what is transferred and what never is, and what is refused."""

import pickle
from functools import cache

import pytest
import torch
from reference_vid2world import PREFIX, Reference, inputs, network, tiny, weights_of
from safetensors.torch import save_file
from torch import Tensor

from worldsim.errors import DamagedFile, InvalidInput, UnknownName, WorldsimError
from worldsim.models.causal.kernels import METHODS
from worldsim.models.vid2world import Vid2WorldConfig, load_base, load_unet, official_weights, read_weights
from worldsim.models.vid2world.keys import official_names

pytestmark = pytest.mark.slow  # as a file

KINDS = {"rt1": {"action_size": 13}, "csgo": {"action_size": 51, "action_kind": "multi_hot"}, "recon": {"action_size": 3, "window": 20}}
COUNTS = {"rt1": (1_440_910_020, 1522), "csgo": (1_440_921_860, 1521), "recon": (1_440_910_020 - 10 * 320, 1522)}

# Where the 512 model has which parts: R residual block, S spatial and T temporal transformer, U upsampling; (width in, width, parts).
DOWN = {1: (320, 320, "RST"), 2: (320, 320, "RST"), 4: (320, 640, "RST"), 5: (640, 640, "RST"), 7: (640, 1280, "RST")}
DOWN |= {8: (1280, 1280, "RST"), 10: (1280, 1280, "R"), 11: (1280, 1280, "R")}
SHRINK = {3: 320, 6: 640, 9: 1280}
UP = {0: (2560, 1280, "R"), 1: (2560, 1280, "R"), 2: (2560, 1280, "RU"), 3: (2560, 1280, "RST"), 4: (2560, 1280, "RST")}
UP |= {5: (1920, 1280, "RSTU"), 6: (1920, 640, "RST"), 7: (1280, 640, "RST"), 8: (960, 640, "RSTU")}
UP |= {9: (960, 320, "RST"), 10: (640, 320, "RST"), 11: (640, 320, "RST")}

Shapes = dict[str, tuple[int, ...]]


def layer(name: str, *weight: int) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def bare(name: str, *weight: int) -> Shapes:
    return {f"{name}.weight": weight}


def residual(name: str, entering: int, c: int) -> Shapes:
    found = (
        layer(f"{name}.in_layers.0", entering) | layer(f"{name}.in_layers.2", c, entering, 3, 3) | layer(f"{name}.emb_layers.1", c, 1280)
    )
    found |= layer(f"{name}.out_layers.0", c) | layer(f"{name}.out_layers.3", c, c, 3, 3)
    if entering != c:
        found |= layer(f"{name}.skip_connection", c, entering, 1, 1)
    convs = {"conv1.2.conv3d": "conv1.0", "conv2.3.conv3d": "conv2.0", "conv3.3.conv3d": "conv3.0", "conv4.3.conv3d": "conv4.0"}
    for conv, norm in convs.items():
        found |= layer(f"{name}.temopral_conv.{norm}", c) | layer(f"{name}.temopral_conv.{conv}", c, c, 3, 1, 1)
    return found


def attention(name: str, c: int, tokens: int, kinds: tuple[str, ...]) -> Shapes:
    found = bare(f"{name}.to_q", c, c) | layer(f"{name}.to_out.0", c, c)
    for kind in kinds:
        found |= bare(f"{name}.to_{kind}", c, tokens)
    return found


def transformer(name: str, c: int, inner: int, *, spatial: bool, tap: tuple[int, ...] = ()) -> Shapes:
    block = f"{name}.transformer_blocks.0"
    found = layer(f"{name}.norm", c) | layer(f"{name}.proj_in", inner, c, *tap) | layer(f"{name}.proj_out", c, inner, *tap)
    found |= attention(f"{block}.attn1", inner, inner, ("k", "v"))
    found |= attention(f"{block}.attn2", inner, *((1024, ("k", "v", "k_ip", "v_ip")) if spatial else (inner, ("k", "v"))))
    found |= layer(f"{block}.ff.net.0.proj", 8 * inner, inner) | layer(f"{block}.ff.net.2", inner, 4 * inner)
    return found | layer(f"{block}.norm1", inner) | layer(f"{block}.norm2", inner) | layer(f"{block}.norm3", inner)


def stage(name: str, entering: int, c: int, parts: str) -> Shapes:
    found: Shapes = {}
    for at, letter in enumerate(parts):
        here = f"{name}.{at}"
        if letter == "R":
            found |= residual(here, entering if at == 0 else c, c)
        elif letter == "U":
            found |= layer(f"{here}.conv", c, c, 3, 3)
        else:
            found |= transformer(here, c, c, spatial=letter == "S")
    return found


def expected_shapes(domain: str) -> Shapes:
    """Every tensor of a released checkpoint's U-Net, from the block list."""
    found: Shapes = {}
    for name in ("time_embed", "fps_embedding"):
        found |= layer(f"{name}.0", 1280, 320) | layer(f"{name}.2", 1280, 1280)
    if domain == "csgo":
        found |= bare("action_emb_preprocess", 51, 320) | layer("action_emb_proj.0", 1280, 320) | layer("action_emb_proj.2", 1280, 1280)
    else:
        found |= layer("action_emb_proj.0", 320, KINDS[domain]["action_size"])
        found |= layer("action_emb_proj.2", 1280, 320) | layer("action_emb_proj.4", 1280, 1280)
    found |= layer("input_blocks.0.0", 320, 8, 3, 3) | transformer("init_attn.0", 320, 512, spatial=False, tap=(1,))
    for at, sizes in DOWN.items():
        found |= stage(f"input_blocks.{at}", *sizes)
    for at, c in SHRINK.items():
        found |= layer(f"input_blocks.{at}.0.op", c, c, 3, 3)
    found |= stage("middle_block", 1280, 1280, "RSTR")
    for at, sizes in UP.items():
        found |= stage(f"output_blocks.{at}", *sizes)
    return found | layer("out.0", 320) | layer("out.2.conv2d", 4, 320, 3, 3)


@cache
def full(domain: str, **changes: object) -> torch.nn.Module:
    with torch.device("meta"):
        return Vid2WorldConfig(**KINDS[domain] | changes).build()


def plain(name: str) -> str:
    """The base's name of a tensor."""
    return name.replace(".conv3d.", ".").replace(".conv2d.", ".")


@pytest.mark.parametrize("domain", KINDS)
def test_every_key_and_shape_of_the_released_networks(domain):
    weights = official_weights(full(domain))
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    assert shapes == {PREFIX + name: shape for name, shape in expected_shapes(domain).items()}
    assert (sum(tensor.numel() for tensor in weights.values()), len(weights)) == COUNTS[domain]


def test_every_key_and_shape_of_the_base():
    weights = official_weights(full("rt1", action_size=0, causal=False))
    expected = {PREFIX + plain(name): shape for name, shape in expected_shapes("rt1").items() if not name.startswith("action_emb")}
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == expected
    causal = set(official_weights(full("rt1")))
    assert sum(".conv3d." in name for name in causal) == 2 * 88
    assert sum(".conv2d." in name for name in causal) == 2
    assert len([name for name in causal if name.endswith("attn1.to_q.weight")]) == 16 + 17  # spatial, temporal


@pytest.mark.parametrize("kind", ["continuous", "multi_hot"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention_at", [(1,), (2,), (1, 2), ()])
def test_names_are_one_to_one(kind, causal, attention_at):
    with torch.device("meta"):
        ours = list(tiny(action_kind=kind, attention_at=attention_at, num_res_blocks=2).build().state_dict())
    names = official_names(ours, causal=causal)
    assert list(names) == ours
    assert len(set(names.values())) == len(ours)
    assert any(".conv3d." in name or ".conv2d." in name for name in names.values()) == causal


def test_two_names_that_would_become_one_are_refused():
    with pytest.raises(InvalidInput, match="the same official name"):
        official_names(["time_mlp.0.weight", "time_embed.0.weight"], causal=True)


# A released checkpoint


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    """A released network made tiny."""
    return network()


@pytest.fixture(scope="module")
def weights(net) -> dict[str, Tensor]:
    """Its tensors by official name."""
    return official_weights(net)


def lightning(weights: dict[str, Tensor]) -> dict:
    others = {"first_stage_model.encoder.conv_in.weight": torch.ones(2), "betas": torch.ones(3), "scale_arr": torch.ones(4)}
    return {"state_dict": weights | others, "epoch": 3, "global_step": 7, "pytorch-lightning_version": "1.9.3"}


def deepspeed(weights: dict[str, Tensor]) -> dict:
    return {"module": {f"_forward_module.{name}": tensor for name, tensor in weights.items()}, "dp_world_size": 4}


def without_prefix(weights: dict[str, Tensor]) -> dict:
    return {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("container", [dict, lightning, deepspeed, without_prefix], ids=lambda container: container.__name__)
def test_a_checkpoint_is_loaded_from_any_container_as_it_is(weights, net, tmp_path, container, zipped):
    torch.save(container(weights), tmp_path / "model.ckpt", _use_new_zipfile_serialization=zipped)
    loaded = load_unet(read_weights(tmp_path / "model.ckpt"), tiny(), dtype=torch.float64)
    check_same(loaded, net)


@pytest.mark.parametrize("container", [dict, without_prefix], ids=lambda container: container.__name__)
def test_safetensors_are_loaded_as_they_are(weights, net, tmp_path, container):
    save_file(container(weights), tmp_path / "model.safetensors")
    check_same(load_unet(read_weights(tmp_path / "model.safetensors"), tiny(), dtype=torch.float64), net)


def check_same(loaded: torch.nn.Module, net: torch.nn.Module) -> None:
    given, own = inputs(net.config, 3), net.state_dict()
    assert loaded.config == net.config
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert list(loaded.state_dict()) == list(own)
    assert all(torch.equal(tensor, own[name]) for name, tensor in loaded.state_dict().items())  # no kernel is transferred again
    with torch.no_grad():
        assert torch.equal(loaded(**given), net(**given))


def test_a_loaded_checkpoint_is_what_the_naive_network_makes_of_the_file(weights):
    loaded, given = load_unet(weights, tiny(), dtype=torch.float64), inputs(tiny(), 5)
    with torch.no_grad():
        difference = loaded(**given) - Reference(without_prefix(weights), tiny())(**given)
    assert difference.abs().max() < 1e-11


@pytest.mark.parametrize(
    "changes", [{"norm": "frame"}, {"norm": "cumulative"}, {"head": "symmetric"}, {"image_tokens": "per_frame"}], ids=str
)
def test_readings_change_no_tensor(weights, changes):
    loaded = load_unet(weights, tiny(**changes), dtype=torch.float64)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in official_weights(loaded).items())


def test_the_caller_keeps_tensors_of_their_own(weights):
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    for parameter in load_unet(weights, tiny(), dtype=torch.float64).parameters():
        parameter.data.zero_()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in kept.items())


def test_half_precision_is_widened_without_a_change(weights):
    half = {name: tensor.half() for name, tensor in weights.items()}
    loaded = official_weights(load_unet(half, tiny()))
    assert all(tensor.dtype == torch.float32 and torch.equal(tensor, half[name].float()) for name, tensor in loaded.items())


# A base


@pytest.fixture(scope="module")
def base() -> dict[str, Tensor]:
    """A bidirectional DynamiCrafter made tiny, by official name without prefix."""
    return weights_of(network(causal=False, action_size=0))


def by_hand(kernel: Tensor, transfer: str, axis: int) -> Tensor:
    """Three taps (before, now, after) as taps (two before, before, now); formulas of the specification."""
    before, now, after = kernel.unbind(axis)
    taps = {
        "shift": (before, now, after),
        "masked": (torch.zeros_like(now), before, now),
        "extrapolative": (torch.zeros_like(now), before - after, now + 2 * after),
        "mixed": ((before + now + after) / 3, before, now),
    }
    return torch.stack(taps[transfer], dim=axis)


def test_every_transfer_has_a_formula_here():
    assert set(METHODS) == {"shift", "masked", "extrapolative", "mixed"}


@pytest.mark.parametrize("head", ["rows", "symmetric"])
@pytest.mark.parametrize("transfer", METHODS)
def test_a_base_is_made_causal_by_the_formulas(base, transfer, head):
    config, kept = tiny(head=head), {name: tensor.clone() for name, tensor in base.items()}
    made = load_base({PREFIX + name: tensor for name, tensor in base.items()}, config, transfer, dtype=torch.float64)
    assert made.config == config
    loaded, transferred = weights_of(made), 0
    for name, tensor in loaded.items():
        if name.startswith("action_emb_proj."):
            continue
        expected = kept[plain(name)]
        if name.endswith(".conv3d.weight"):
            expected, transferred = by_hand(expected, transfer, 2), transferred + 1
        if name == "out.2.conv2d.weight" and head == "rows":
            expected = by_hand(expected, transfer, 2)  # the height
        assert torch.allclose(tensor, expected, rtol=0, atol=1e-14), name
    assert transferred == 4 * 8
    assert {plain(name) for name in loaded if "action_emb" not in name} == set(base)
    given = inputs(config, 3)
    with torch.no_grad():
        assert (made(**given) - Reference(loaded, config)(**given)).abs().max() < 1e-11
    assert all(torch.equal(tensor, base[name]) for name, tensor in kept.items())


def test_a_base_alone_is_loaded_for_looking_both_ways(base):
    config = tiny(causal=False, action_size=0)
    loaded, given = load_unet(base, config, dtype=torch.float64), inputs(config, 4)
    with torch.no_grad():
        assert (loaded(**given) - Reference(base, config)(**given)).abs().max() < 1e-11


@pytest.mark.parametrize("kind", ["continuous", "multi_hot"])
def test_the_actions_of_a_base_are_drawn_from_torchs_generator(base, kind):
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made = weights_of(load_base(base, tiny(action_kind=kind), dtype=torch.float64))
        drawn.append({name: tensor for name, tensor in made.items() if name.startswith("action_emb")})
    one, same, other = drawn
    assert len(one) == (5 if kind == "multi_hot" else 6)
    assert all(tensor.isfinite().all() and tensor.any() for tensor in one.values())
    assert all(torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name]) for name in one)


def test_an_old_base_names_the_frame_rate_differently(base):
    old = {name.replace("fps_embedding", "framestride_embed"): tensor for name, tensor in base.items()}
    assert sum("framestride_embed" in name for name in old) == 4
    made = weights_of(load_base(old, tiny(), dtype=torch.float64))
    assert all(torch.equal(made[name], base[name]) for name in base if name.startswith("fps_embedding."))


# Refusals


def refusal(error: type[WorldsimError], line: str, call: object, *args: object) -> None:
    with pytest.raises(error, match=line) as caught:
        call(*args)
    assert "\n" not in str(caught.value)


LOST = "middle_block.0.in_layers.2.weight"


def test_missing_surplus_and_misshapen_tensors_are_named(weights):
    own = without_prefix(weights)
    refusal(InvalidInput, f"1 of {len(own)} tensors are missing: {LOST}", load_unet, {k: v for k, v in own.items() if k != LOST}, tiny())
    refusal(InvalidInput, "1 tensors are surplus: extra.weight", load_unet, own | {"extra.weight": torch.ones(1)}, tiny())
    wrong = own | {LOST: torch.ones(64, 64, 1, 1).double()}
    refusal(InvalidInput, rf"{LOST} has shape \[64, 64, 1, 1\], expected \[64, 64, 3, 3\]", load_unet, wrong, tiny())
    refusal(InvalidInput, "torch.int64, expected floating point", load_unet, own | {LOST: torch.ones(64, 64, 3, 3).long()}, tiny())
    refusal(InvalidInput, "shape.*expected", load_unet, own, tiny(model_channels=64))
    refusal(InvalidInput, "are missing", load_unet, own, tiny(num_res_blocks=2))


def test_a_scalar_in_the_place_of_a_table_is_refused(weights):
    wrong = without_prefix(weights) | {"action_emb_proj.0.weight": torch.tensor(1.0)}
    refusal(InvalidInput, r"action_emb_proj.0.weight has shape \[\]", load_unet, wrong, tiny())


def test_actions_of_another_size_or_kind_are_named_with_what_to_set(weights):
    refusal(InvalidInput, 'set action_size=3, action_kind="continuous"', load_unet, weights, tiny(action_size=7))
    csgo = official_weights(network(action_kind="multi_hot", action_size=6))
    refusal(InvalidInput, 'set action_size=6, action_kind="multi_hot"', load_unet, csgo, tiny())
    refusal(InvalidInput, 'set action_size=3, action_kind="continuous"', load_unet, weights, tiny(action_kind="multi_hot"))


def test_base_and_released_checkpoints_are_told_apart(base, weights):
    refusal(InvalidInput, "base.*load_base", load_unet, base, tiny())
    refusal(InvalidInput, "Vid2World checkpoint.*load_unet", load_base, weights, tiny())
    refusal(InvalidInput, "causal=False", load_base, base, tiny(causal=False))
    refusal(InvalidInput, "causal=True", load_unet, weights, tiny(causal=False))
    refusal(UnknownName, 'unknown transfer "shifted"', load_base, base, tiny(), "shifted")


def test_of_a_base_only_actions_may_be_missing(base):
    refusal(InvalidInput, f"missing: {LOST}", load_base, {k: v for k, v in base.items() if k != LOST}, tiny())
    refusal(InvalidInput, "surplus: extra", load_base, base | {"extra": torch.ones(1)}, tiny())
    some = base | {"action_emb_proj.0.weight": torch.ones(32, 3).double()}
    refusal(InvalidInput, "missing: action_emb_proj.0.bias", load_base, some, tiny())


class Evil:
    """Unpickling it creates a file."""

    def __init__(self, path: object) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("saved", ["zip", "old", "plain pickle", "named safetensors"])
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path, saved):
    path, trace = tmp_path / ("a.safetensors" if saved == "named safetensors" else "a.ckpt"), tmp_path / "trace"
    held = {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": Evil(trace)}
    if saved == "plain pickle":
        path.write_bytes(pickle.dumps({"hyper_parameters": Evil(trace)}, protocol=2))
    else:
        torch.save(held, path, _use_new_zipfile_serialization=saved == "zip")
    refusal(DamagedFile if saved == "named safetensors" else InvalidInput, "a.*", read_weights, path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Evil(trace))).close()
    assert trace.exists()  # it would have


@pytest.mark.parametrize("kept", [0, 1, 3, 100, 0.3, 0.7, -1, -30])
@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_file_that_breaks_off_is_refused(tmp_path, kind, kept):
    path, tensors = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.ckpt"), {"a": torch.randn(2000), "b": torch.randn(3)}
    save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    refusal(DamagedFile, "a.*get the checkpoint again", read_weights, path)


def test_a_file_that_is_not_there_or_is_something_else_is_refused(tmp_path):
    refusal(InvalidInput, "absent.ckpt is no file", read_weights, tmp_path / "absent.ckpt")
    refusal(InvalidInput, "is no file", read_weights, tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    refusal(InvalidInput, "expected .safetensors", read_weights, tmp_path / "a.txt")
    (tmp_path / "a.ckpt").write_text("<html>not found</html>")
    refusal(DamagedFile, "is not a torch file", read_weights, tmp_path / "a.ckpt")
    for held in ([torch.ones(1)], {}, {"state_dict": {}}, {"state_dict": {"a": 3}}, {"epoch": 3}):
        torch.save(held, tmp_path / "b.ckpt")
        refusal(InvalidInput, "a checkpoint", read_weights, tmp_path / "b.ckpt")


def test_after_a_refusal_nothing_has_changed(weights):
    kept, own = {name: tensor.clone() for name, tensor in weights.items()}, dict(weights)
    own.pop(PREFIX + LOST)
    refusal(InvalidInput, "missing", load_unet, own, tiny())
    assert all(torch.equal(tensor, kept[name]) for name, tensor in own.items())
