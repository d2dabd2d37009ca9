"""Depth and motion heads: they change nothing, look at nothing that is to come, learn, and agree however the past is kept."""

import numpy as np
import pytest
import stirred
import torch
import toy_scene
from test_physics_encoder import _stop_at, rollout, world
from test_training import assert_equal, tensors_of

from worldsim.errors import InvalidInput
from worldsim.geometry import depth_gap
from worldsim.models.causal import causality_leak, causalize
from worldsim.models.geometry_heads import Geometry, GeometryHeadsConfig
from worldsim.models.physics_encoder import PhysicsEncoderConfig
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig
from worldsim.simulator import HISTORY_MODES, Sampler, open_world_model, save_world_model
from worldsim.simulator.clip_geometry import clip_geometry
from worldsim.training.geometry import GeometryWeights, SceneTruth, geometry_losses
from worldsim.training.loop import LoopConfig, train

STAGES = {"heads alone": GeometryWeights(), "with the network": GeometryWeights(1.0, 0.1, 0.1, 0.1)}


def with_heads(trunk: str = "unet", window: int = 4) -> VideoUNet:
    """A stirred network with stirred heads."""
    net = stirred.network(trunk, window=window)
    scale = 32 // (4 // net.config.patch)
    net = net.extended(heads=GeometryHeadsConfig(scale=scale))
    stirred.stir(net.heads, size=0.1)
    return net


def inputs(frames: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 1, frames)
    return {
        "x": torch.randn(*shape, 4, 4, 4, generator=generator),
        "levels": torch.rand(shape, generator=generator),
        "actions": torch.randn(2, frames, 3, generator=generator),
        "known": torch.ones(shape),
    }


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
@torch.no_grad()
def test_heads_change_no_bit_and_are_not_asked_for_nothing(trunk, monkeypatch):
    plain, net = stirred.network(trunk), with_heads(trunk)
    output, said = net(**inputs(), geometry=True)
    assert torch.equal(output, plain(**inputs()))
    assert [each.shape for each in said] == [(2, 1, 5, 32, 32), (2, 1, 5, 32, 32, 2), (2, 1, 5, 32, 32), (2, 1, 5, 32, 32, 2)]
    monkeypatch.setattr(net.heads, "forward", None)
    assert torch.equal(net(**inputs()), output)
    assert torch.equal(rollout(world(net), 3), rollout(world(plain), 3))


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
@pytest.mark.parametrize("name", ["x", "levels", "actions", "known"])
@torch.no_grad()
def test_what_they_say_of_a_frame_does_not_feel_later_ones(trunk, name):
    net, given = with_heads(trunk), inputs()
    _, before = net(**given, geometry=True)
    changed = given[name].clone()
    changed[(slice(None), 3) if name == "actions" else (slice(None), slice(None), 3)] *= 0.3
    _, after = net(**given | {name: changed}, geometry=True)
    for was, now in zip(before, after, strict=True):
        assert torch.equal(was[:, :, :3], now[:, :, :3])
        assert not torch.equal(was[:, :, 3], now[:, :, 3])


def test_a_network_with_every_part_leaks_nothing_and_can_be_causalized():
    parts = {"encoder": PhysicsEncoderConfig(width=8), "heads": GeometryHeadsConfig()}
    assert causality_leak(stirred.network().extended(**parts)) == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    net = VideoUNetConfig(**vars(stirred.network(causal=False).config) | parts).build()
    causalize(net)
    assert net.causal


def test_the_smallest_pixels_stand_where_their_features_do():
    """A feature becomes scale x scale pixels in place: an error in turning axes would move the plate."""
    net = with_heads()
    net.heads.depth.project.bias.data.zero_()
    net.heads.depth.project.weight.data.zero_()
    net.heads.depth.project.bias.data[3 * 8 + 5] = 1.0  # row 3, column 5 of each cell
    with torch.no_grad():
        _, said = net(**inputs(1), geometry=True)
    expected = torch.full((32, 32), 1.0)
    expected[3::8, 5::8] = 1.5  # metres: mean 1, scale 0.5
    assert torch.equal(said.depth[0, 0, 0], expected)


def geometries(history: str, steps: int = 6) -> list[Geometry]:
    model = world(with_heads(), history=history, history_level=0.1)
    state, found = model.start(stirred.pictures(2), np.array([5, 6], dtype=np.uint64)), []
    for action in stirred.actions(2, steps):
        found.append(model.geometry(state))
        state, _ = model.step(state, action)
    return [*found, model.geometry(state)]


@pytest.mark.parametrize("history", ["window", "stream", "block"])
def test_the_geometry_of_an_imagined_frame_is_that_of_a_pass_over_all(history):
    """While all frames fit; and a first frame has no motion."""
    said, expected = geometries(history, 3), geometries("recompute", 3)
    assert np.isnan(said[0].forward).all()
    assert np.isfinite(said[0].depth).all()
    for mine, theirs in zip(said, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=3e-4)
    assert said[1].forward.shape == (2, 32, 32, 2)


@pytest.mark.parametrize("history", HISTORY_MODES)
def test_asking_moves_nothing_and_lanes_of_any_age_can_be_asked(history):
    model = world(with_heads(), history=history)
    plain, asked = (model.start(stirred.pictures(2), np.array([5, 6], dtype=np.uint64)) for _ in range(2))
    for action in stirred.actions(2, 3):
        model.geometry(asked)
        (plain, _), (asked, _) = model.step(plain, action), model.step(asked, action)
    assert torch.equal(plain.latest, asked.latest)
    young = model.start(stirred.pictures(1, seed=3), np.array([8], dtype=np.uint64))
    mixed = asked.merge([0], young)
    np.testing.assert_allclose(model.geometry(mixed).depth[1], model.geometry(asked).depth[1], atol=1e-5)
    np.testing.assert_allclose(model.geometry(mixed).depth[0], model.geometry(young).depth[0], atol=1e-5)


def test_the_geometry_of_a_clip_is_that_of_its_frames_as_they_are_given():
    """One pass over a clip, longer than the window too, against the state after each of its frames."""
    model = world(with_heads(), history="stream", history_level=0.0)
    frames, actions = stirred.pictures(2, 7), stirred.actions(2, 6).swapaxes(0, 1)
    said = clip_geometry(model, frames, actions)
    assert np.isnan(said.forward[:, 0]).all()
    for count in (1, 3, 7):
        state = model.start(frames[:, :count], np.array([0, 0], dtype=np.uint64), actions[:, : count - 1])
        found = model.geometry(state)
        np.testing.assert_allclose(said.depth[:, count - 1], found.depth, atol=1e-4)
        np.testing.assert_allclose(said.backward[:, count - 1], found.backward, atol=1e-4)
    with pytest.raises(InvalidInput, match=r"take actions \[2, 6, 3\], got \[2, 2, 3\]"):
        clip_geometry(model, frames, actions[:, :2])


def test_a_world_without_heads_says_so():
    model = world(stirred.network())
    with pytest.raises(InvalidInput, match="has no depth and motion heads"):
        model.geometry(model.start(stirred.pictures(1), np.array([1], dtype=np.uint64)))
    with pytest.raises(InvalidInput, match="has no depth and motion heads"):
        stirred.network()(**inputs(), geometry=True)


def test_a_checkpoint_keeps_them(tmp_path):
    net = with_heads()
    save_world_model(tmp_path, stirred.SPEC, net, stirred.autoencoder(), Sampler(), {})
    again = open_world_model(tmp_path, precision="fp32").network
    assert again.config.heads == net.config.heads
    assert_equal(tensors_of(again.heads), tensors_of(net.heads))


def true_said(truth: SceneTruth) -> tuple[SceneTruth, Geometry]:
    """A batch of one clip, and heads that are right about it in both streams."""
    clip = SceneTruth(*(each[None, : toy_scene.FRAMES] for each in truth))
    return clip, Geometry(*(each[:, None].repeat(1, 2, *[1] * (each.ndim - 1)) for each in clip[:4]))


def test_what_is_right_has_no_loss_and_what_is_wrong_has():
    """The closed form of each term: an error of one unit is a loss of one, of the three motions too."""
    _, truth = toy_scene.episodes(3)
    clip, said = true_said(truth)
    levels, units = torch.rand(1, 2, toy_scene.FRAMES), toy_scene.HEADS
    assert all(term.item() < 1e-10 for term in geometry_losses(said, clip, levels, units).values())
    off = said._replace(depth=said.depth + units.depth_scale)
    losses = geometry_losses(off, clip, levels, units)
    assert losses["depth"].item() == pytest.approx(1, abs=1e-5)
    assert losses["warp"].item() < 1e-10  # all depths alike: consistent in themselves
    moved = said._replace(
        forward=said.forward + units.flow_scale, rise=said.rise + units.rise_scale, backward=said.backward - units.flow_scale
    )
    assert geometry_losses(moved, clip, levels, units)["motion"].item() == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize("wrong", ["none", "other way", "no rise"])
def test_the_warp_loss_finds_wrong_motion(wrong):
    """Near its floor on the truth; a constant depth carried along, as in the published code, is found too, since the plate comes nearer."""
    _, truth = toy_scene.episodes(3)
    clip, said = true_said(truth)
    levels = torch.zeros(1, 2, toy_scene.FRAMES)
    changed = {
        "none": said._replace(forward=0 * said.forward),
        "other way": said._replace(forward=-said.forward),
        "no rise": said._replace(rise=0 * said.rise),
    }[wrong]
    floor, found = (geometry_losses(each, clip, levels, toy_scene.HEADS)["warp"].item() for each in (said, changed))
    assert floor < 1e-10
    assert found > 1e-3


def test_depth_is_sampled_where_the_flow_leads():
    """Half a pixel to the right on a ramp of 1 m per pixel is half a metre more."""
    ramp = torch.arange(6.0).expand(1, 4, 6)
    gap = depth_gap(ramp, ramp, torch.tensor([0.5, 0.0]).expand(1, 4, 6, 2), torch.full((1, 4, 6), 0.2))
    torch.testing.assert_close(gap[..., :5], torch.full((1, 4, 5), 0.3))


def test_noise_and_what_is_not_known_count_for_less():
    _, truth = toy_scene.episodes(3)
    clip, said = true_said(truth)
    off = said._replace(depth=said.depth.clone())
    off.depth[:, :, 2] += 1
    quiet, loud = torch.zeros(1, 2, toy_scene.FRAMES), torch.zeros(1, 2, toy_scene.FRAMES)
    loud[:, :, 2] = 0.75
    a, b = (geometry_losses(off, clip, levels, toy_scene.HEADS)["depth"].item() for levels in (quiet, loud))
    assert a == pytest.approx(4 / 6, rel=1e-4)  # 1 m is two units
    assert b == pytest.approx(4 * 0.25 / 5.25, rel=1e-4)
    clip.depth[:, 2] = torch.inf
    assert geometry_losses(off, clip, quiet, toy_scene.HEADS)["depth"].item() < 1e-10


@pytest.mark.parametrize("stage", STAGES)
def test_heads_learn_more_than_a_constant(tmp_path, stage):
    """On held-out clips, nearly clean: depth better than the mean of all, flow of what moves better than none."""
    torch.manual_seed(0)
    net = stirred.network().extended(heads=toy_scene.HEADS)
    frozen = tensors_of(net)
    if stage == "heads alone":
        net.requires_grad_(requires_grad=False)
        net.heads.requires_grad_(requires_grad=True)
    train(toy_scene.objective(net, STAGES[stage]), LoopConfig(tmp_path, iterations=60, learning_rate=2e-2, average=0.5))
    changed = {name.split(".")[0] for name, tensor in net.state_dict().items() if not torch.equal(tensor, frozen[name])}
    assert changed == {"heads"} if stage == "heads alone" else {"heads", "enter", "middle"} <= changed
    clips, truth = toy_scene.episodes(8, seed=1)
    rows = torch.arange(len(clips.latents)).reshape(8, -1)
    latents, actions = clips.at(rows)
    level, known = torch.full((8, 1, rows.shape[1]), 0.03), torch.ones(8, 1, rows.shape[1])
    with torch.no_grad():
        _, said = net(latents[:, None], level, actions, known, geometry=True)
    true = truth.at(rows)
    share = 0.9 if stage == "heads alone" else 0.6  # of the constant's error; the network that stays frozen is a random one
    assert (said.depth[:, 0] - true.depth).square().mean() < share * (true.depth - true.depth.mean()).square().mean()
    moving = true.forward[:, 1:].norm(dim=-1) > 1
    flow_error = (said.forward[:, 0, 1:] - true.forward[:, 1:])[moving].norm(dim=-1).mean()
    assert flow_error < 0.7 * true.forward[:, 1:][moving].norm(dim=-1).mean()


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    weights = STAGES["with the network"]

    def make():
        torch.manual_seed(0)
        return toy_scene.objective(stirred.network().extended(heads=toy_scene.HEADS), weights)

    whole = train(make(), LoopConfig(tmp_path / "whole", iterations=4, learning_rate=0.01))
    pieces = LoopConfig(tmp_path / "pieces", iterations=4, learning_rate=0.01)
    with pytest.raises(KeyboardInterrupt):
        train(make(), pieces, _stop_at(2))
    assert_equal(tensors_of(train(make(), pieces)), tensors_of(whole))


def test_what_does_not_fit_is_refused():
    net = stirred.network().extended(heads=toy_scene.HEADS)
    with pytest.raises(InvalidInput, match="learned by a causal video_unet with heads"):
        toy_scene.objective(stirred.network(), GeometryWeights())
    with pytest.raises(InvalidInput, match="expected 144 x 64 x 64"):
        toy_scene.objective(stirred.network().extended(heads=GeometryHeadsConfig(scale=16)), GeometryWeights())
    for wrong in ({"depth": -1.0}, {"warp": float("nan")}, {"depth": 0.0, "motion": 0.0}):
        with pytest.raises(InvalidInput, match="expected numbers from 0"):
            GeometryWeights(**wrong)
    with pytest.raises(InvalidInput, match="scales are"):
        GeometryHeadsConfig(flow_scale=0)
    with pytest.raises(InvalidInput, match="has heads already"):
        net.extended(heads=toy_scene.HEADS)
