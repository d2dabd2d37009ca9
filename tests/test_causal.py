"""Causal surgery: kernels by hand and on signals whose answer is known; the leak probe, with networks that do leak."""

import pytest
import stirred
import torch
import torch.nn.functional as F

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.blocks import TemporalAttention, TemporalConv
from worldsim.models.causal import METHODS, causality_leak, causalize, extrapolation_bound, transfer_kernel

NONE = {"latents": 0.0, "levels": 0.0, "actions": 0.0}


def kernel(taps: int, seed: int = 0) -> torch.Tensor:
    """`[2, 3, taps, 1, 1]` of noise, float64."""
    return torch.randn(2, 3, taps, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def centred(weight: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    """Convolve `[C, T]` over time, zeros on both sides."""
    return F.conv1d(signal[None], weight[..., 0, 0], padding=weight.shape[-3] // 2)[0]


def causal(weight: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    """Convolve `[C, T]` over time, zeros on the left only."""
    return F.conv1d(F.pad(signal, (weight.shape[-3] - 1, 0))[None], weight[..., 0, 0])[0]


def test_the_three_tap_kernels_by_hand():
    weight = torch.tensor([2.0, 3.0, 5.0]).reshape(1, 1, 3, 1, 1)  # taps at t-1, t, t+1

    def taps(method):
        return transfer_kernel(weight, method).flatten().tolist()

    assert taps("shift") == [2, 3, 5]
    assert taps("masked") == [0, 2, 3]
    assert taps("extrapolative") == [0, 2 - 5, 3 + 2 * 5]
    assert taps("mixed") == pytest.approx([10 / 3, 2, 3])


def test_the_five_tap_kernels_by_hand():
    weight = torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0]).reshape(1, 1, 5, 1, 1)
    assert transfer_kernel(weight, "masked").flatten().tolist() == [0, 0, 1, 2, 3]
    assert transfer_kernel(weight, "mixed").flatten().tolist() == pytest.approx([3.6, 3.6, 1, 2, 3])  # 3.6 is the mean of the taps
    # z[t+1] = 2 z[t] - z[t-1], z[t+2] = 3 z[t] - 2 z[t-1]
    assert transfer_kernel(weight, "extrapolative").flatten().tolist() == [0, 0, 1, 2 - 5 - 2 * 7, 3 + 2 * 5 + 3 * 7]


def test_a_third_order_line_by_hand():
    """Least squares through three points: z[t+1] = 4/3 z[t] + 1/3 z[t-1] - 2/3 z[t-2]."""
    weight = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64).reshape(1, 1, 3, 1, 1)
    torch.testing.assert_close(transfer_kernel(weight, "extrapolative", order=3).flatten(), torch.tensor([-2.0, 1.0, 4.0]).double())


@pytest.mark.parametrize(("taps", "order"), [(taps, order) for taps in (3, 5, 7) for order in range(2, taps + 1)])
def test_extrapolation_is_exact_on_lines(taps, order):
    weight, time = kernel(taps), torch.arange(20, dtype=torch.float64)
    line = torch.tensor([[0.3], [-1.1], [2.0]]).double() * time + torch.tensor([[1.0], [0.0], [-4.0]]).double()
    inside = slice(taps, 20 - taps)  # where no padding is seen
    expected = centred(weight, line)[:, inside]
    torch.testing.assert_close(causal(transfer_kernel(weight, "extrapolative", order), line)[:, inside], expected, atol=1e-10, rtol=0)
    for other in ("shift", "masked"):
        assert (causal(transfer_kernel(weight, other), line)[:, inside] - expected).abs().max() > 0.1


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_shift_delays_the_centred_output(taps):
    weight, signal = kernel(taps), torch.randn(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lag = taps // 2
    torch.testing.assert_close(causal(transfer_kernel(weight, "shift"), signal)[:, lag:], centred(weight, signal)[:, :-lag])


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_masked_is_exact_where_the_future_is_zero(taps):
    weight, signal = kernel(taps), torch.randn(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(causal(transfer_kernel(weight, "masked"), signal)[:, -1], centred(weight, signal)[:, -1])


@pytest.mark.parametrize(("taps", "order"), [(taps, order) for taps in (3, 5, 7) for order in range(2, taps + 1)])
def test_extrapolation_errs_within_its_bound_and_shift_does_not(taps, order):
    """Signals that run far and bend little: every second difference is at most `smoothness`."""
    weight, smoothness, inside = kernel(taps), 0.01, slice(taps, 60 - taps)
    bends = smoothness * (2 * torch.rand(3, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(order)) - 1)
    signal = bends.cumsum(-1).cumsum(-1) + 3 * torch.arange(60)
    bound = extrapolation_bound(weight, smoothness, order).sum(dim=(1, 2, 3))  # [2] over the channels in
    expected = centred(weight, signal)[:, inside]

    def error(method):
        return (causal(transfer_kernel(weight, method, order), signal)[:, inside] - expected).abs().amax(-1)

    assert (error("extrapolative") > 0).all()
    assert (error("extrapolative") <= bound).all()
    assert (error("shift") > bound).any()


def test_the_bound_by_hand():
    """Three taps, a line through two frames: L / 2 * |w| * (1 + 6 * 4 / 3)."""
    weight = torch.tensor([2.0, 3.0, -5.0]).reshape(1, 1, 3, 1, 1)
    assert extrapolation_bound(weight, 0.2).flatten().tolist() == pytest.approx([0.1 * 5 * 9])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_the_axis_of_time_can_be_any(method, axis):
    weight = kernel(5)[..., 0, 0]  # [2, 3, 5]
    moved = transfer_kernel(weight.movedim(-1, axis), method, axis=axis)
    for expected in (transfer_kernel(weight, method, axis=-1), transfer_kernel(kernel(5), method)[..., 0, 0]):
        torch.testing.assert_close(moved.movedim(axis, -1), expected, atol=1e-14, rtol=0)  # products of other strides round otherwise
    bound = extrapolation_bound(weight.movedim(-1, axis), 0.1, axis=axis)
    torch.testing.assert_close(bound, extrapolation_bound(weight, 0.1, axis=-1), atol=1e-14, rtol=0)


@pytest.mark.parametrize("taps", [1, 3, 5, 7])
def test_extrapolation_keeps_the_sum_of_the_taps(taps):
    weight = kernel(taps)
    torch.testing.assert_close(transfer_kernel(weight, "extrapolative").sum(-3), weight.sum(-3))


def test_a_kernel_of_one_tap_stays_and_is_copied():
    weight = kernel(1)
    for method in METHODS:
        moved = transfer_kernel(weight, method)
        assert torch.equal(moved, weight)
        assert moved.data_ptr() != weight.data_ptr()


def test_kernels_that_cannot_be_transferred():
    with pytest.raises(InvalidInput, match="a kernel of 4 taps has no centre"):
        transfer_kernel(kernel(4), "shift")
    for order in (1, 4):
        with pytest.raises(InvalidInput, match=f"order is {order}, expected 2 to 3"):
            transfer_kernel(kernel(3), "extrapolative", order)
    with pytest.raises(UnknownName, match='unknown transfer "extrapolativ"; did you mean "extrapolative"'):
        transfer_kernel(kernel(3), "extrapolativ")


@pytest.mark.parametrize("transfer", METHODS)
def test_causalize_reports_what_it_converted(transfer):
    net = stirred.network(causal=False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    report = causalize(net, transfer)
    convolutions = {name for name, module in net.named_modules() if isinstance(module, TemporalConv)}
    attentions = {name for name, module in net.named_modules() if isinstance(module, TemporalAttention)}
    assert (set(report.convolutions), set(report.attentions), report.transfer) == (convolutions, attentions, transfer)
    assert len(convolutions) == 5  # two levels down, the middle, two levels up
    assert len(attentions) == 3
    assert (report.norms, report.positions, report.levels, report.window) == ((), (), (), net.config.window)
    assert report.summary() == f"5 convolutions ({transfer}), 3 attentions (4 earlier frames), 0 norms (frame), 0 positions, 0 level inputs"
    assert net.config.causal
    for name, tensor in net.state_dict().items():
        place, _, leaf = name.rpartition(".")
        moved = transfer_kernel(before[name], transfer) if place in convolutions and leaf == "weight" else before[name]
        assert torch.equal(tensor, moved), name


def test_causalize_refuses_what_it_cannot_do():
    net = stirred.network(causal=False)
    with pytest.raises(InvalidInput, match='expected norm="frame"'):
        causalize(net, norm="clip")
    for trunk in stirred.TRUNKS:  # also where there is no kernel to transfer
        with pytest.raises(UnknownName, match='did you mean "masked"'):
            causalize(stirred.network(trunk, causal=False), transfer="maskd")
    with pytest.raises(InvalidInput, match="window is 5; this network's attention has learned 4, leave window out"):
        causalize(net, window=5)
    with pytest.raises(InvalidInput, match="order is 4, expected 2 to 3"):
        causalize(net, order=4)
    assert not net.config.causal
    causalize(net)
    with pytest.raises(InvalidInput, match="causal already"):
        causalize(net)


def test_causalizing_one_network_leaves_another_of_the_same_config_alone():
    first = stirred.network(causal=False)
    second = first.config.build()
    causalize(second)
    assert second.config.causal
    assert not first.config.causal


def test_causalize_refuses_a_native_network_with_a_layer_that_may_mix_frames():
    net = stirred.network(causal=False)
    net.level_mlp[1] = torch.nn.BatchNorm1d(32)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InvalidInput, match=r"level_mlp.1 is a torch.*BatchNorm1d, which may mix frames; .*frame_wise=\(BatchNorm1d,\)"):
        causalize(net)
    assert not net.config.causal
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
def test_a_causalized_network_leaks_exactly_nothing(trunk):
    net = stirred.network(trunk, causal=False)
    causalize(net)
    assert causality_leak(net, lengths=(1, 2, 6)) == NONE


@pytest.mark.parametrize("trunk", stirred.TRUNKS)
def test_the_probe_finds_the_leak_of_a_network_that_sees_both_ways(trunk):
    leak = causality_leak(stirred.network(trunk, causal=False), lengths=(3,))
    assert min(leak.values()) > 1e-4


def test_the_probe_finds_one_layer_that_looks_ahead():
    for kind in (TemporalConv, TemporalAttention):
        net = stirred.network()
        probed = net.config.build

        def spoiled(build=probed, kind=kind):
            copy = build()
            next(module for module in copy.modules() if isinstance(module, kind)).causal = False
            return copy

        net.config.build = spoiled
        assert min(causality_leak(net, lengths=(3,)).values()) > 1e-6


def test_the_probe_stirs_a_fresh_network_and_leaves_it_as_it_was():
    """A fresh network outputs zeros whatever comes in; a probe of that would prove nothing."""
    torch.manual_seed(0)
    net = stirred.network().config.build()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert causality_leak(net, lengths=(3,)) == NONE
    net.set_causal(causal=False)
    assert min(causality_leak(net, lengths=(3,)).values()) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_the_probe_refuses_a_network_that_ignores_its_inputs():
    class Deaf(torch.nn.Module):
        def forward(self, x, levels, actions, known):
            return torch.zeros_like(x)

    net = stirred.network()
    net.config.build = Deaf
    net.state_dict = dict
    with pytest.raises(InvalidInput, match="no output moved"):
        causality_leak(net, lengths=(3,))
