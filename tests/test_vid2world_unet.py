"""The Vid2World U-Net: sizes and keys of the official checkpoints, surgery on the base, and files that are or are not theirs.

What the network computes is in `test_vid2world_quirks`.
"""

import dataclasses
from functools import cache

import pytest
import torch

from worldsim.errors import InvalidInput
from worldsim.models.vid2world import Vid2WorldConfig, make_causal

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


# Names and branches


def test_only_the_last_action_is_hidden_in_the_second_branch_of_guidance():
    net = tiny()
    given = inputs(net.config)
    moved = (run(net, given | {"known": torch.tensor([[1.0, 1, 1, 0]]).double()}) - run(net, given)).abs().amax((0, 2, 3, 4))
    assert moved[:3].max() == 0.0
    assert moved[3] > 1e-4


def test_layers_that_remember_have_their_names():
    net = tiny()
    for path, layer in net.named_modules():
        assert getattr(layer, "name", path) == path


# Surgery and the base


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


# Configs


def test_a_config_survives_json():
    described = tiny().describe()
    assert Vid2WorldConfig(**described | {"channel_mult": list(described["channel_mult"])}) == TINY


def test_a_fresh_network_begins_silent():
    torch.manual_seed(0)
    assert not run(TINY.build().double().eval(), inputs(TINY)).any()
