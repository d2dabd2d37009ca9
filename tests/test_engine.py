"""How networks are run must not change what they compute: held weights, memory format, compilation, another decoder."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import small_unets
import stirred
import tiny
import torch
from diffusers import AutoencoderTiny
from torch import nn

import worldsim.envs  # noqa: F401  (announces the ids)
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import open_model, sampler_facts
from worldsim.load import load_world_model
from worldsim.models.blocks import TemporalConv
from worldsim.models.diffusers_unet import DiffusersUNetConfig
from worldsim.models.engine import Engine
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.simulator.world_model import to_pixels

PRODUCTS = (nn.Linear, nn.Conv2d, nn.Conv3d, TemporalConv)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny.world_model(tmp_path_factory.mktemp("world") / "tiny")


def rollout(model: VideoWorldModel, steps: int = 7) -> torch.Tensor:
    """Latents `[steps, 2, h, w, C]` under fixed actions."""
    size, rng, found = model.spec.height, np.random.default_rng(0), []
    state = model.start(rng.integers(0, 256, (2, 1, size, size, 3), dtype=np.uint8), np.array([3, 4], dtype=np.uint64))
    for _ in range(steps):
        state, _ = model.step(state, rng.uniform(-1, 1, (2, 3)).astype(np.float32))
        found.append(state.latest)
    return torch.stack(found)


def as_cast_in_every_pass(model: VideoWorldModel) -> VideoWorldModel:
    """The same world with float32 weights, for autocast to cast."""
    return VideoWorldModel(model.spec, model.network, model.autoencoder, model.sampler, precision="bf16")


@pytest.mark.parametrize("history", ["stream", "window", "recompute"])
def test_weights_held_in_bf16_change_no_bit(folder, history):
    held = load_world_model(folder, precision="bf16", history=history, guidance=1.5)
    cast = as_cast_in_every_pass(load_world_model(folder, precision="fp32", history=history, guidance=1.5))
    assert torch.equal(rollout(held), rollout(cast))
    assert not torch.equal(rollout(held), rollout(load_world_model(folder, precision="fp32", history=history, guidance=1.5)))


def test_weights_of_products_are_held_in_bf16_and_no_others(folder):
    model = load_world_model(folder, precision="bf16")
    for layer in (*model.network.modules(), *model.autoencoder.modules()):
        expected = torch.bfloat16 if isinstance(layer, PRODUCTS) else torch.float32
        assert all(parameter.dtype == expected for parameter in layer.parameters(recurse=False)), layer


@pytest.mark.parametrize("name", sorted(small_unets.CONFIGS))
def test_networks_of_diffusers_run_in_bf16(name):
    torch.manual_seed(0)
    sizes = {"action_size": 3, "latent_height": 4, "latent_width": 4, "window": 4, "causal": True}
    network = stirred.stir(DiffusersUNetConfig(name, small_unets.CONFIGS[name], **sizes).build(), size=0.05)
    autoencoder = stirred.autoencoder()
    full = rollout(VideoWorldModel(stirred.SPEC, network, autoencoder, Sampler(guidance=1.5)), steps=3)
    precision = Engine("bf16").prepare(network, autoencoder, "cpu")
    rough = rollout(VideoWorldModel(stirred.SPEC, network, autoencoder, Sampler(guidance=1.5), precision=precision), steps=3)
    assert 0 < (rough - full).abs().max() < 0.3 * full.std()


def test_channels_last_is_a_matter_of_memory(folder):
    plain, last, default = (load_world_model(folder, precision="fp32", channels_last=flag) for flag in (False, True, None))
    for model, held in ((plain, False), (last, True), (default, True)):
        convolutions = [layer for layer in model.network.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)]
        assert convolutions
        assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) == held for layer in convolutions)
        taps = [layer.weight[..., 0, 0].unbind(-1) for layer in model.network.modules() if isinstance(layer, TemporalConv)]
        assert all(tap.is_contiguous() for each in taps for tap in each)
    torch.testing.assert_close(rollout(last), rollout(plain), atol=1e-5, rtol=0)
    assert torch.equal(rollout(default), rollout(last))


@pytest.fixture
def traced(monkeypatch) -> list[object]:
    """Compilation that traces and then runs the trace as it is, with no compiler; counts what was asked for."""
    asked = []

    def compiled(module: nn.Module, mode: str | None = None) -> None:
        asked.append(mode)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", mode=mode)

    torch.compiler.reset()
    monkeypatch.setattr(nn.Module, "compile", compiled)
    yield asked
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("history", ["stream", "block", "window", "recompute"])
def test_a_traced_world_is_the_same_world(folder, traced, history):
    plain = load_world_model(folder, precision="fp32", history=history, guidance=1.5)
    compiled = load_world_model(folder, precision="fp32", history=history, guidance=1.5, compile="default")
    assert traced == [None, None]  # network and decoder
    torch.testing.assert_close(rollout(compiled), rollout(plain), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's compiler says so to itself
def test_a_compiled_world_is_the_same_world():
    """With the real compiler, on a network of one level."""
    plain, compiled = (stirred.world_model("hybrid", steps=2) for _ in range(2))
    Engine("fp32", compile="default").prepare(compiled.network, compiled.autoencoder, "cpu")
    torch.testing.assert_close(rollout(compiled, steps=3), rollout(plain, steps=3), atol=1e-4, rtol=0)
    torch.compiler.reset()


def test_what_an_engine_cannot_do(folder):
    with pytest.raises(InvalidInput, match="compile=cudagraphs needs a GPU, and the device is cpu; type compile=default"):
        load_world_model(folder, compile="cudagraphs")
    with pytest.raises(UnknownName, match='unknown compile "defualt"; did you mean "default"'):
        load_world_model(folder, compile="defualt")
    with pytest.raises(UnknownName, match='unknown precision "fp16"'):
        load_world_model(folder, precision="fp16")


def test_environments_and_commands_pass_the_options_on(folder, tmp_path):
    decoder = tiny_decoder(tmp_path / "decoder")
    given = {"precision": "bf16", "channels_last": True, "decoder": str(decoder), "steps": 3}
    env = gymnasium.make("worldsim/World-v0", world_model=str(folder), task=str(tiny.task_file(tmp_path / "task.h5")), **given)
    model = env.unwrapped.world_model
    assert (model.precision, model.sampler.steps, type(model.autoencoder).__name__) == ("bf16", 3, "TinyDecoded")
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[0].shape == (16, 16, 3)
    config = EvaluateConfig(world_model=str(folder), **given)
    assert vars(open_model(config).sampler) == vars(model.sampler)
    facts = [sampler_facts({}, EvaluateConfig(**{**given, "decoder": path})) for path in (str(decoder), None)]
    assert facts[0] == facts[1] | {"decoder": facts[0]["decoder"]}  # what a run is known by names the decoder by its hash
    with pytest.raises(InvalidInput, match="has no config.json, expected an AutoencoderTiny folder"):
        sampler_facts({}, EvaluateConfig(decoder=str(tmp_path)))


def tiny_decoder(folder: Path, channels: int = 4, levels: int = 4) -> Path:
    """A random `AutoencoderTiny`."""
    torch.manual_seed(0)
    widths = {f"{side}_block_out_channels": (8,) * levels for side in ("encoder", "decoder")}
    AutoencoderTiny(latent_channels=channels, num_encoder_blocks=(1,) * levels, num_decoder_blocks=(1,) * levels, **widths).save_pretrained(
        folder
    )
    return folder


def test_a_tiny_decoder_makes_the_pixels_and_nothing_else(folder, tmp_path):
    plain, other = load_world_model(folder, precision="fp32"), load_world_model(folder, precision="fp32", decoder=tiny_decoder(tmp_path))
    assert torch.equal(rollout(plain), rollout(other))  # latents
    picture = tiny.picture(0)[None, None]
    state, frames = other.step(other.start(picture, np.array([1], dtype=np.uint64)), np.zeros((1, 3), dtype=np.float32))
    decoder = AutoencoderTiny.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = decoder.decode(state.latest.permute(0, 3, 1, 2)).sample.permute(0, 2, 3, 1)
    assert np.array_equal(frames, to_pixels(expected).numpy())


def test_a_decoder_that_does_not_fit_is_refused(folder, tmp_path):
    with pytest.raises(InvalidInput, match="holds no config.json, expected an AutoencoderTiny folder"):
        load_world_model(folder, decoder=tmp_path / "nothing")
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    with pytest.raises(InvalidInput, match="holds AutoencoderKL, expected an AutoencoderTiny folder"):
        load_world_model(folder, decoder=tmp_path)
    for case, sizes, words in (
        ("channels", {"channels": 8}, "turns 8 channels into 16 x 16 pixels, expected 4 channels to 16 x 16 pixels"),
        ("levels", {"levels": 3}, "turns 4 channels into 8 x 8 pixels, expected 4 channels to 16 x 16 pixels"),
    ):
        with pytest.raises(InvalidInput, match=words):
            load_world_model(folder, decoder=tiny_decoder(tmp_path / case, **sizes))
