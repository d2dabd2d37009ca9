"""The two ways to keep the past, on every kind of network: what they must agree on, and what only one of them can do."""

from dataclasses import replace

import numpy as np
import pytest
import small_unets
import stirred
import torch

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.diffusers_unet import DiffusersUNet, DiffusersUNetConfig
from worldsim.simulator import RELEASED, Sampler, VideoWorldModel

TOLERANCE = 2e-4  # of latents of size 1, in float32, after several steps


def world(network: torch.nn.Module, dtype: torch.dtype = torch.float32, **options: object) -> VideoWorldModel:
    """A world of 32 x 32 frames around a network on 4 x 4 latents of 4 channels."""
    return VideoWorldModel(stirred.SPEC, network.to(dtype), stirred.autoencoder().to(dtype), Sampler(**options))


def diffusers_net() -> DiffusersUNet:
    """A tiny stirred UNet3DConditionModel, causal, whose attention sees four earlier frames."""
    name = "UNet3DConditionModel"
    torch.manual_seed(0)
    sizes = {"action_size": 3, "latent_height": 4, "latent_width": 4, "window": 4, "causal": True}
    return stirred.stir(DiffusersUNetConfig(name, small_unets.CONFIGS[name], **sizes).build(), size=0.05)


NETWORKS = {"native": lambda: stirred.network(window=4), "diffusers": diffusers_net}


def latents(model: VideoWorldModel, steps: int, lanes: int = 2, seed: int = 5) -> torch.Tensor:
    """Latents `[steps, lanes, h, w, C]` of a rollout under fixed actions."""
    state = model.start(stirred.pictures(lanes), np.arange(seed, seed + lanes, dtype=np.uint64))
    found = []
    for action in stirred.actions(lanes, steps):
        state, _ = model.step(state, action)
        found.append(state.latest)
    return torch.stack(found)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", [{}, {"guidance": 2.5, "rescale": 0.7}, {"eta": 1.0, "steps": 3}], ids=["plain", "guided", "ancestral"])
def test_recomputing_equals_streaming_while_all_frames_fit(name, options):
    options = {"steps": 2, "history_level": 0.1} | options
    net = NETWORKS[name]()
    streamed, recomputed = (latents(world(net, history=mode, **options), steps=4) for mode in ("stream", "recompute"))
    torch.testing.assert_close(streamed, recomputed, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("window", [None, 4])
def test_a_window_computed_once_equals_one_recomputed(name, window):
    """Also after frames have left the window, guided."""
    net = NETWORKS[name]()
    options = {"guidance": 2.5, "steps": 2, "history_level": 0.1, "window": window}
    once, anew = (latents(world(net, history=mode, **options), steps=8) for mode in ("window", "recompute"))
    torch.testing.assert_close(once, anew, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_twenty_guided_frames_from_a_window_are_those_recomputed(name, dtype):
    """Each frame from one past, over 20 frames of which the window holds 5: the largest difference in units of the frames' spread."""
    options = {"guidance": 2.5, "steps": 2, "history_level": 0.1}
    once, anew = (world(NETWORKS[name](), dtype, history=mode, **options) for mode in ("window", "recompute"))
    state = anew.start(stirred.pictures(2), np.array([5, 6], dtype=np.uint64))
    apart, spread = [], []
    for action in stirred.actions(2, 20):
        cached, _ = once.step(state, action)
        state, _ = anew.step(state, action)
        apart.append((cached.latest - state.latest).abs().max())
        spread.append(state.latest)
    assert state.latest.dtype == dtype
    assert max(apart) / torch.stack(spread).std() < (1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_streamed_world_is_a_full_pass_with_a_banded_mask(name):
    """Frames that stream keeps for ever, past the window, against one pass over all of them in float64."""
    model = world(NETWORKS[name](), torch.float64, history="stream", history_level=0.1, steps=1)
    given, actions, held, normal = stirred.pictures(2), stirred.actions(2, 9), [], []
    state = model.start(given, np.array([5, 6], dtype=np.uint64))
    for action in actions:
        held.append(state.held[:, -1])
        normal.append(model._normal(action, 2))
        past, (state, _) = state, model.step(state, action)
    noise = model.denoiser.noise(past.seeds, past.frame + 1, 0)
    clip = torch.stack([*held, noise], dim=1)[:, None]  # [B, 1, T, h, w, C]
    levels = torch.full(clip.shape[:3], 0.1, dtype=torch.float64)
    levels[..., -1] = 1
    led = torch.stack([torch.zeros_like(normal[0]), *normal], dim=1)
    known = torch.ones_like(levels)
    known[..., 0] = 0
    with torch.no_grad():
        output = model.network(clip, levels, led, known, None, dict(past.context))[:, 0, -1]
    expected = output + (1 - 0.1) * held[-1]  # the clean prediction is a change from the frame before
    torch.testing.assert_close(state.latest, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_block_grows_to_the_window_and_begins_again_from_its_last_half(name):
    """Against passes over the frames that the block holds by definition: 1, 2, 3, 4, then the last 2, 3, 4, then the last 2 again."""
    net = NETWORKS[name]()
    model = world(net, history="block", guidance=1.5)
    frames, actions = stirred.pictures(1), stirred.actions(1, 9)
    state = model.start(frames, np.array([7], dtype=np.uint64))
    held = [1, 2, 3, 4, 2, 3, 4, 2, 3]
    for action, length in zip(actions, held, strict=True):
        normal = model._normal(action, 1)
        expected = model.denoiser.frames_ahead(replace(state, length=torch.tensor([length])), normal[:, None])[:, 0]
        state, _ = model.step(state, action)
        torch.testing.assert_close(state.latest, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("history", ["stream", "block", "window", "recompute"])
def test_merging_a_young_lane_leaves_the_old_one_as_it_was(history):
    model = world(stirred.network(window=4), history=history)
    frames, actions = stirred.pictures(2), stirred.actions(2, 7)
    state = model.start(frames, np.array([1, 2], dtype=np.uint64))
    for action in actions[:5]:
        state, _ = model.step(state, action)
    merged = state.merge([1], model.start(frames[1:], np.array([9], dtype=np.uint64)))
    for action in actions[5:]:
        state, _ = model.step(state, action)
        merged, _ = model.step(merged, action)
        torch.testing.assert_close(state.latest[0], merged.latest[0], atol=TOLERANCE, rtol=0)


def test_beyond_the_window_they_are_different_models():
    net = stirred.network(window=4)
    streamed, recomputed = (latents(world(net, history=mode), steps=8) for mode in ("stream", "recompute"))
    assert (streamed[-1] - recomputed[-1]).abs().max() > TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_lanes_of_different_age_are_recomputed_as_if_alone(name):
    model = world(NETWORKS[name](), history="recompute", guidance=1.5)
    frames, actions = stirred.pictures(2), stirred.actions(2, 4)
    state = model.start(frames, np.array([1, 2], dtype=np.uint64))
    for action in actions[:2]:
        state, _ = model.step(state, action)
    state = state.merge([1], model.start(frames[1:], np.array([9], dtype=np.uint64)))
    for action in actions[2:]:
        state, _ = model.step(state, action)
    old, young = (model.start(frames[lane : lane + 1], np.array([seed], dtype=np.uint64)) for lane, seed in ((0, 1), (1, 9)))
    for i, action in enumerate(actions):
        old, _ = model.step(old, action[:1])
        if i >= 2:
            young, _ = model.step(young, action[1:])
    for lane, alone in enumerate((old, young)):
        torch.testing.assert_close(state.latest[lane], alone.latest[0], atol=TOLERANCE, rtol=0)


def test_one_frame_imagined_jointly_is_the_next_frame():
    model = world(stirred.network(window=4), history="recompute", guidance=1.5)
    frames, action, seeds = stirred.pictures(2, frames=2), stirred.actions(2, 1)[0], np.array([3, 4], dtype=np.uint64)
    _, stepped = model.step(model.start(frames, seeds), action)
    assert np.array_equal(model.imagine_jointly(frames, action[:, None], seeds)[:, 0], stepped)


def test_frames_imagined_jointly_know_each_other():
    """Frame 1 depends on the action into it, and no frame on the actions after it: the network is causal."""
    model = world(stirred.network(window=4), history="recompute")
    frames, seeds = stirred.pictures(1), np.array([3], dtype=np.uint64)
    actions = stirred.actions(1, 3).swapaxes(0, 1)
    before, after = model.imagine_jointly(frames, actions, seeds), model.imagine_jointly(frames, actions * [[[1], [-1], [1]]], seeds)
    assert np.array_equal(before[:, 0], after[:, 0])
    assert (before[:, 1] != after[:, 1]).any()
    assert (before[:, 2] != after[:, 2]).any()


def test_joint_frames_that_do_not_fit_are_refused():
    frames, seeds = stirred.pictures(1), np.array([3], dtype=np.uint64)
    with pytest.raises(InvalidInput, match="history=recompute only"):
        world(stirred.network()).imagine_jointly(frames, stirred.actions(1, 2).swapaxes(0, 1), seeds)
    with pytest.raises(InvalidInput, match="1 given and 6 new frames, expected at most 5 in all"):
        world(stirred.network(window=4), history="recompute").imagine_jointly(frames, stirred.actions(1, 6).swapaxes(0, 1), seeds)
    with pytest.raises(InvalidInput, match="window is 6, this network sees at most 5 frames"):
        world(stirred.network(window=4), history="window", window=6)


def test_a_shorter_window_forgets():
    net = stirred.network(window=4)
    whole, short = (latents(world(net, history="recompute", window=window), steps=3) for window in (None, 2))
    torch.testing.assert_close(whole[0], short[0])
    assert (whole[-1] - short[-1]).abs().max() > TOLERANCE


def test_the_released_sampler_runs():
    options = {**vars(RELEASED), "steps": 4, "history_level": 0.25}
    model = world(diffusers_net(), **options)
    frames = latents(model, steps=2)
    assert torch.isfinite(frames).all()
    assert torch.equal(frames, latents(model, steps=2))


class _Anchored(torch.nn.Module):
    """A causal network that answers with the first frame it was told."""

    kind, two_streams, starts_known, causal, window, action_size, latent_shape = "anchored", False, False, True, 2, 3, (4, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def context_for(self, first_frames, first_latents):
        return {"first": first_latents}

    def forward(self, x, levels, actions, known, memory=None, context=None):
        return context["first"][:, None, None] - 0 * x


@pytest.mark.parametrize("anchor", ["episode", "window"])
def test_the_anchor_is_the_first_frame_of_the_episode_or_of_the_window(anchor):
    told = []
    net = _Anchored()
    net.register_forward_pre_hook(lambda _, args: told.append(args[5]["first"].clone()))
    model = world(net, history="recompute", anchor=anchor, prediction="v")
    state = model.start(stirred.pictures(1), np.array([3], dtype=np.uint64))
    seen = [state.latest]
    for action in stirred.actions(1, 4):
        state, _ = model.step(state, action)
        seen.append(state.latest)
    expected = [seen[max(0, i - 1)] if anchor == "window" else seen[0] for i in range(4)]  # a window holds two frames of history
    for first, frame in zip(told, expected, strict=True):
        torch.testing.assert_close(first, frame)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"anchor": "windw"}, UnknownName, 'unknown anchor "windw"; did you mean "window"'),
        ({"ending": "x"}, UnknownName, 'unknown ending "x"'),
        ({"rescale_over": "clips"}, UnknownName, 'did you mean "clip"'),
        ({"schedule": "liner"}, UnknownName, 'did you mean "linear"'),
        ({"eta": 1.5}, InvalidInput, "eta is 1.5, expected a number from 0 to 1"),
        ({"rescale": -1}, InvalidInput, "rescale is -1"),
        ({"window": 1}, InvalidInput, "window is 1, expected at least 2 frames"),
        ({"anchor": "window"}, InvalidInput, "or history=window"),
        ({"rescale_over": "clip", "history": "window"}, InvalidInput, "type history=recompute"),
    ],
)
def test_options_that_make_no_sense(options, error, words):
    with pytest.raises(error, match=words):
        Sampler(**options)


def test_a_network_of_another_world_is_refused():
    action = replace(stirred.ACTION, names=("x", "y"), low=(-1.0, -1.0), high=(1.0, 1.0))
    with pytest.raises(InvalidInput, match="the network takes actions of 3 numbers, the world's have 2"):
        VideoWorldModel(replace(stirred.SPEC, action=action), stirred.network(), stirred.autoencoder(), Sampler())
