"""The encoder of the reset frame: it begins as nothing, is kept over an episode, learns, and never lets the future in. Exact equality."""

import json

import numpy as np
import pytest
import stirred
import torch
from test_classifier import save_picture_model
from test_training import video_objective

from worldsim.errors import InvalidInput
from worldsim.models.causal import causality_leak, causalize
from worldsim.models.checkpoint import parameter_count
from worldsim.models.physics_encoder import PhysicsEncoderConfig
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig
from worldsim.simulator import HISTORY_MODES, Sampler, VideoWorldModel, open_world_model, save_world_model
from worldsim.training.loop import LoopConfig, train

SEEDS = np.array([5, 6, 7], dtype=np.uint64)
GRIDS = pytest.mark.parametrize("grid", [0, 2])


def with_encoder(trunk: str = "unet", grid: int = 2, window: int = 4, *, trained: bool = True) -> VideoUNet:
    """A stirred network with an encoder, fresh or as if it had been trained."""
    net = stirred.network(trunk, window=window).extended(encoder=PhysicsEncoderConfig(grid=grid, width=8, hidden=16))
    if trained:
        for part in (net.encoder, net.look):
            stirred.stir(part, size=0.3) if part else None
    return net.eval()


def world(net: VideoUNet, **sampler: object) -> VideoWorldModel:
    return VideoWorldModel(stirred.SPEC, net, stirred.autoencoder(), Sampler(**sampler))


def rollout(model: VideoWorldModel, steps: int = 7, lanes: tuple[int, ...] = (0, 1, 2), swap: object = None) -> torch.Tensor:
    """Latents `[steps, lanes, h, w, C]` of some of three lanes."""
    state = model.start(stirred.pictures(3)[list(lanes)], SEEDS[list(lanes)])
    found = []
    for action in stirred.actions(3, steps):
        state, _ = model.step(state, action[list(lanes)])
        found.append(state.latest)
    return torch.stack(found)


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
@pytest.mark.parametrize("history", HISTORY_MODES)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_fresh_encoder_changes_no_bit_of_a_rollout(trunk, history, guidance):
    """Also after frames have left the window; together, and each lane alone."""
    options = {"history": history, "guidance": guidance, "steps": 2}
    plain, fresh = world(stirred.network(trunk, window=4), **options), world(with_encoder(trunk, trained=False), **options)
    assert parameter_count(fresh.network) > parameter_count(plain.network)
    assert torch.equal(rollout(plain), rollout(fresh))
    assert torch.equal(rollout(plain, lanes=(1,)), rollout(fresh, lanes=(1,)))


@GRIDS
def test_in_bfloat16_too(grid):
    plain, fresh = (VideoWorldModel(stirred.SPEC, net, stirred.autoencoder(), Sampler(), precision="bf16")
                    for net in (stirred.network(), with_encoder(grid=grid, trained=False)))  # fmt: skip
    assert torch.equal(rollout(plain, 3), rollout(fresh, 3))


@GRIDS
@pytest.mark.parametrize("history", HISTORY_MODES)
def test_a_trained_one_says_something_and_is_asked_once_an_episode(grid, history, monkeypatch):
    """And what it said stays with its lane: through a window that slides, and as lanes are taken out and put back."""
    model = world(with_encoder(grid=grid), history=history)
    assert not torch.equal(rollout(model), rollout(world(stirred.network(window=4), history=history)))
    asked = []
    seen = type(model.network.encoder).forward
    monkeypatch.setattr(type(model.network.encoder), "forward", lambda self, x: asked.append(len(x)) or seen(self, x))
    state = model.start(stirred.pictures(3), SEEDS)
    said = state.context["physics"]
    assert said.shape == (3, 1 + grid**2, 32)
    for action in stirred.actions(3, 7):
        state, _ = model.step(state, action)
    assert torch.equal(state.context["physics"], said)
    assert asked == [3]
    picked = state.select([2, 0])
    assert torch.equal(picked.context["physics"], said[[2, 0]])
    merged = state.merge([1], model.start(stirred.pictures(1, seed=9), SEEDS[:1]))
    assert torch.equal(merged.context["physics"][[0, 2]], said[[0, 2]])
    assert not torch.equal(merged.context["physics"][1], said[1])


@GRIDS
def test_a_lane_is_the_same_alone_and_together(grid):
    model = world(with_encoder(grid=grid), history="window")
    torch.testing.assert_close(rollout(model)[:, 1:2], rollout(model, lanes=(1,)), atol=1e-5, rtol=0)


@GRIDS
def test_ways_to_keep_the_past_agree(grid):
    once, anew = (rollout(world(with_encoder(grid=grid), history=mode, history_level=0.1)) for mode in ("window", "recompute"))
    torch.testing.assert_close(once, anew, atol=2e-4, rtol=0)


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
def test_nothing_leaks(trunk):
    net = with_encoder(trunk)
    tokens = net.context_for(torch.rand(1, 32, 32, 3), torch.zeros(1, 4, 4, 4))
    assert causality_leak(net, context=tokens) == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    assert causality_leak(net) == {"latents": 0.0, "levels": 0.0, "actions": 0.0}


def test_a_pretrained_network_with_an_encoder_can_be_causalized():
    config = stirred.network(causal=False).config
    net = VideoUNetConfig(**vars(config) | {"encoder": {"width": 8}}).build()
    causalize(net)
    assert causality_leak(net)["latents"] == 0.0


def test_a_checkpoint_keeps_it_and_one_of_before_reads_as_before(tmp_path):
    plain, net = stirred.network(), with_encoder()
    for name, network in (("plain", plain), ("encoder", net)):
        save_world_model(tmp_path / name, stirred.SPEC, network, stirred.autoencoder(), Sampler(), {})
    said = json.loads((tmp_path / "plain" / "config.json").read_text())["network"]
    assert not {"encoder", "heads"} & said.keys()
    first, again = open_world_model(tmp_path / "encoder"), open_world_model(tmp_path / "encoder")
    assert first.network.config.encoder == net.config.encoder
    assert torch.equal(rollout(first, 2), rollout(again, 2))
    assert open_world_model(tmp_path / "plain").network.encoder is None


def test_a_network_that_has_one_takes_no_second():
    with pytest.raises(InvalidInput, match="has encoder already"):
        with_encoder().extended(encoder=PhysicsEncoderConfig())


def objective_with(net: VideoUNet):
    """The usual toy, whose autoencoder shows 32 x 32 pixels of a 4 x 4 latent."""
    return video_objective(net, self_share=0.3)


def test_training_reaches_the_head_through_the_network(tmp_path):
    """At the start, where its output is zero, and resumed it is as if never stopped."""
    before = {name: tensor.clone() for name, tensor in with_encoder(trained=False).encoder.state_dict().items()}
    config = LoopConfig(tmp_path / "whole", iterations=4, learning_rate=0.01)
    whole = train(objective_with(with_encoder(trained=False)), config)
    assert not torch.equal(whole.encoder.head[-1].weight, before["head.3.weight"])
    assert not torch.equal(whole.encoder.trunk.convolutions[0].weight, before["trunk.convolutions.0.weight"])
    pieces = LoopConfig(tmp_path / "pieces", iterations=4, learning_rate=0.01)
    with pytest.raises(KeyboardInterrupt):
        train(objective_with(with_encoder(trained=False)), pieces, _stop_at(2))
    again = train(objective_with(with_encoder(trained=False)), pieces)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in whole.state_dict().items())


def _stop_at(iteration: int):
    def watch(progress) -> None:
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return watch


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov2", "depth-anything"])
def test_a_pretrained_trunk_is_looked_through_and_neither_trained_nor_saved(tmp_path, kind):
    trunk = tmp_path / "trunk"
    save_trunk(trunk, kind)
    torch.manual_seed(0)
    net = stirred.network().extended(encoder=PhysicsEncoderConfig(trunk=str(trunk), grid=2, hidden=16))
    assert net.config.encoder.sha256
    assert {name.split(".")[1] for name in net.state_dict() if name.startswith("encoder.")} == {"head"}
    plain = rollout(world(stirred.network()), 2)
    assert torch.equal(rollout(world(net), 2), plain)
    stirred.stir(net.encoder, size=0.3)
    expected = rollout(world(net), 2)
    assert not torch.equal(expected, plain)
    train(objective_with(net), LoopConfig(tmp_path / "run", iterations=1, learning_rate=0.01))
    assert causality_leak(net)["latents"] == 0.0
    save_world_model(tmp_path / "model", stirred.SPEC, net, stirred.autoencoder(), Sampler(), {})
    assert open_world_model(tmp_path / "model").network.config.encoder == net.config.encoder
    save_trunk(tmp_path / "other", kind, seed=1)
    trunk.rename(tmp_path / "was")
    with pytest.raises(InvalidInput, match="trunk=.* is no folder of a transformers model"):
        open_world_model(tmp_path / "model")
    (tmp_path / "other").rename(trunk)
    with pytest.raises(InvalidInput, match="holds another model .* trained on"):
        open_world_model(tmp_path / "model")


def save_trunk(folder, kind: str, seed: int = 0) -> None:
    if kind == "dinov2":
        save_picture_model(folder, kind, seed)
        return
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    size = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = transformers.Dinov2Config(**size, out_features=stages, reshape_hidden_states=False)
    config = transformers.DepthAnythingConfig(backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8] * 4,
                                              fusion_hidden_size=8, head_hidden_size=4, patch_size=14)  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)


@pytest.mark.slow
def test_a_trunk_that_is_not_one_is_refused_by_name(tmp_path):
    transformers = pytest.importorskip("transformers")
    with pytest.raises(InvalidInput, match="trunk=nowhere is no folder of a transformers model"):
        PhysicsEncoderConfig(trunk="nowhere").pinned()
    words = tmp_path / "words"
    transformers.BertModel(transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                                                   vocab_size=20)).save_pretrained(words)  # fmt: skip
    with pytest.raises(InvalidInput, match=r"trunk=.*words holds a BertModel, expected a picture model"):
        stirred.network().extended(encoder=PhysicsEncoderConfig(trunk=str(words)))
    short = tmp_path / "short"
    save_trunk(short, "dinov2")
    described = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps(described | {"num_hidden_layers": 2}))
    with pytest.raises(InvalidInput, match=r"trunk=.*short lacks \d+ of its weights, such as encoder\.layer\.1"):
        stirred.network().extended(encoder=PhysicsEncoderConfig(trunk=str(short)))
    (short / "model.safetensors").write_bytes(b"\0" * 9)
    with pytest.raises(InvalidInput, match=r"trunk=.*short cannot be read by transformers"):
        stirred.network().extended(encoder=PhysicsEncoderConfig(trunk=str(short)))


@pytest.mark.parametrize("wrong", [{"grid": -1}, {"width": 0}, {"hidden": 0}])
def test_sizes_below_one_are_refused(wrong):
    with pytest.raises(InvalidInput, match="expected a grid from 0"):
        PhysicsEncoderConfig(**wrong)
