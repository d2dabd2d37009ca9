"""The leak probe: networks whose leak is known, and the video U-Nets of diffusers before and after surgery."""

import pytest
import small_unets
import torch

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.causal import causalize
from worldsim.models.causal.probe import causality_leak, gradient_leak, prefix_change
from worldsim.models.diffusers_families import neutral_context

NONE = {"latents": 0.0, "levels": 0.0, "actions": 0.0}
KINDS = tuple(NONE)


class Running(torch.nn.Module):
    """Each output frame is the sum of all that came so far, plus whatever a test adds to it."""

    latent_shape, action_size, window, causal, two_streams = (2, 2, 3), 2, 6, True, False

    def __init__(self, extra=lambda heard: 0.0, deaf_to=None):
        super().__init__()
        self.extra, self.deaf_to = extra, deaf_to

    def forward(self, x, levels, actions, known, memory=None, context=None):
        heard = {"latents": x.sum((-3, -2, -1)), "levels": levels, "actions": (actions[:, None] * known[..., None]).sum(-1)}  # [B, S, T]
        total = (sum(heard[kind] for kind in KINDS if kind != self.deaf_to).cumsum(-1) + self.extra(heard))[..., None, None, None]
        return x.cumsum(2) + total if context is None else x.cumsum(2) + total * context["scale"]


def ahead(heard):
    """What the next frame brings, zero for the last."""
    return torch.nn.functional.pad(heard[..., 1:], (0, 1))


def test_a_running_sum_does_not_leak():
    assert causality_leak(Running()) == NONE
    assert prefix_change(Running()) < 1e-12
    assert gradient_leak(Running()) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_is_found_in_the_input_that_leaks_and_no_other(kind):
    leak = causality_leak(Running(lambda heard: 0.25 * ahead(heard[kind])))
    assert {name for name, size in leak.items() if size > 0} == {kind}
    places = {"latents": 12, "levels": 1, "actions": 2}[kind]
    assert leak[kind] <= 0.25 * 2 * places  # 0.25 of a change of at most 2 in each place
    assert prefix_change(Running(lambda heard: 0.25 * ahead(heard[kind]))) > 1e-3
    assert (gradient_leak(Running(lambda heard: 0.25 * ahead(heard[kind]))) > 0) == (kind == "latents")


def test_a_leak_between_two_frames_is_found():
    def one_step(heard):
        return torch.where(torch.arange(heard["levels"].shape[-1]) == 2, ahead(heard["levels"]), 0.0)

    assert causality_leak(Running(one_step))["levels"] > 0
    assert causality_leak(Running(one_step), lengths=(1, 2, 3)) == NONE


def test_the_training_length_is_among_the_lengths():
    """A rule that switches with the number of frames hides from every other length."""

    def at_seven(heard):
        frames = heard["latents"].shape[-1]
        return ahead(heard["latents"]) if frames == Running.window + 1 else torch.zeros(frames, dtype=torch.float64)

    assert causality_leak(Running(at_seven))["latents"] > 0
    assert causality_leak(Running(at_seven), lengths=(1, 2, 6, 8)) == NONE
    assert prefix_change(Running(at_seven)) > 0


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_network_that_is_deaf_to_one_input_is_refused(kind):
    with pytest.raises(InvalidInput, match=f"changed {kind} of frame 0 and no output moved"):
        causality_leak(Running(deaf_to=kind))


def test_a_network_that_forgets_is_refused():
    class Forgetful(Running):
        def forward(self, x, levels, actions, known):
            return x + (levels + actions.sum(-1)[:, None])[..., None, None, None]

    with pytest.raises(InvalidInput, match="no later output moved; the network does not look back"):
        causality_leak(Forgetful())
    assert causality_leak(Forgetful(), lengths=(1,)) == NONE


def test_outputs_that_are_not_finite_are_refused():
    with pytest.raises(InvalidInput, match="not finite"):
        causality_leak(Running(lambda heard: heard["levels"] / 0))


def test_the_probe_takes_another_size_and_a_context():
    sizes = []

    class Sized(Running):
        def forward(self, x, *inputs, **given):
            sizes.append(x.shape[-3:])
            return super().forward(x, *inputs, **given)

    scale = torch.full((1,), 2.0)
    assert causality_leak(Sized(), latent_shape=(1, 4, 2), context={"scale": scale}) == NONE
    assert set(sizes) == {(1, 4, 2)}
    with pytest.raises(InvalidInput, match="no output moved"):
        causality_leak(Sized(), context={"scale": 0 * scale})


@pytest.mark.parametrize("name", small_unets.CONFIGS)
def test_a_unet_of_diffusers_sees_both_ways(name):
    net = small_unets.unet(name)
    leak = causality_leak(net, lengths=(3,))
    assert list(leak) == ["latents"]  # one level per clip, no actions
    assert leak["latents"] > 1e-2
    assert prefix_change(net, length=3) > 1e-2
    assert gradient_leak(net, length=3) > 1e-2


@pytest.mark.parametrize("norm", ["frame", "cumulative"])
@pytest.mark.parametrize("name", small_unets.CONFIGS)
def test_a_causalized_unet_of_diffusers_leaks_exactly_nothing(name, norm):
    net = small_unets.unet(name)
    causalize(net, transfer="extrapolative", norm=norm, window=4)
    generator = torch.Generator().manual_seed(1)
    neutral = neutral_context(net, torch.zeros(1, 4, 4, 4, dtype=torch.float64))
    context = {key: value + torch.rand(value.shape, generator=generator, dtype=torch.float64) for key, value in neutral.items()}
    assert causality_leak(net, lengths=(1, 2, 5), context=context) == NONE
    if norm == "frame":
        assert prefix_change(net, context=context) < 1e-11
        assert gradient_leak(net, length=3, context=context) == 0.0


def test_a_unet_that_keeps_its_norms_over_the_clip_leaks_everything():
    net = small_unets.unet("UNet3DConditionModel")
    causalize(net, norm="clip", window=4)
    assert min(causality_leak(net, lengths=(3,)).values()) > 1e-4


@pytest.mark.parametrize(("layer", "leaks"), [("conv_in", {"latents"}), ("conv_out", set(KINDS))])
def test_one_layer_that_looks_ahead_is_found(layer, leaks):
    """Levels and actions enter after the first layer, so only latents leak through it."""
    net = small_unets.unet("UNetMotionModel")
    causalize(net, window=4)

    def blur(module, inputs, output):
        return output + 0.1 * output.mean(0, keepdim=True)  # rows are frames: [B * T, C, h, w]

    net.get_submodule(layer).register_forward_hook(blur)
    assert {kind for kind, size in causality_leak(net, lengths=(3,)).items() if size > 1e-6} == leaks


def test_the_probe_leaves_the_network_as_it_was():
    net = small_unets.unet("UNetMotionModel").float().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    causality_leak(net, lengths=(2,))
    assert net.training
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name]), name


def test_a_context_that_the_network_does_not_take():
    with pytest.raises(UnknownName, match='takes no context "fps_"; did you mean "fps"'):
        causality_leak(small_unets.unet("I2VGenXLUNet"), lengths=(2,), context={"fps_": torch.zeros(1)})
