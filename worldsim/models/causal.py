"""Causal surgery: turn a bidirectional video network into one that predicts a frame from its past, and prove that it is.

Vid2World (arXiv 2505.14357) section 4.1 and appendix A.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.blocks import TemporalAttention, TemporalConv
from worldsim.models.video_unet import VideoUNet
from worldsim.registry import did_you_mean

METHODS = ("shift", "masked", "extrapolative")


@dataclass(frozen=True)
class CausalReport:
    """What the surgery did: names of the converted layers and the transfer used."""

    convolutions: tuple[str, ...]
    attentions: tuple[str, ...]
    transfer: str


def transfer_kernel(weight: Tensor, method: str, order: int = 2) -> Tensor:
    """Weights of a causal kernel that does what a centred one did.

    Args:
        weight: `[..., K, 1, 1]`, K = 2m + 1 odd, taps -m..m around the present frame.
        method: "shift" keeps the taps, so the output lags m frames; "masked" drops the future taps; "extrapolative" replaces each future
            frame by the least-squares line through the last `order` frames (exact on signals linear in time).
        order: number of frames the line is fitted to, at least 2.

    Returns:
        `[..., K, 1, 1]`, taps -2m..0.

    Raises:
        InvalidInput: an even kernel, or an order that the kernel's reach or a line does not allow.
        UnknownName: unknown method.
    """
    if method not in METHODS:
        raise UnknownName(f'unknown transfer "{method}"; {did_you_mean(method, METHODS)}')
    taps = weight.shape[-3]
    reach = taps // 2
    if taps % 2 == 0:
        raise InvalidInput(f"a kernel of {taps} taps has no centre, expected an odd number")
    if method == "shift" or reach == 0:
        return weight.clone()
    causal = torch.zeros_like(weight)
    causal[..., reach:, :, :] = weight[..., : reach + 1, :, :]
    if method == "extrapolative":
        if not 2 <= order <= taps:
            raise InvalidInput(f"order is {order}, expected 2 to {taps} for a kernel of {taps} taps")
        future = weight[..., reach + 1 :, :, :]  # taps 1..m
        line = _line_coefficients(reach, order).to(weight)  # [m, order]
        causal[..., taps - order :, :, :] += torch.einsum("...kab,kj->...jab", future, line).flip(-3)
    return causal


def _line_coefficients(reach: int, order: int) -> Tensor:
    """`[reach, order]`: weight of the feature j frames back in the extrapolation k = 1..reach frames ahead (ordinary least squares)."""
    back = -torch.arange(order, dtype=torch.float64)
    centred = back - back.mean()
    ahead = torch.arange(1, reach + 1, dtype=torch.float64) - back.mean()
    return 1 / order + ahead[:, None] * centred[None] / centred.square().sum()


def causalize(net: VideoUNet, transfer: str = "extrapolative", norm: str = "frame") -> CausalReport:
    """Make `net` causal in place: temporal kernels are transferred, temporal attention masked. Norms are per frame already.

    Raises:
        InvalidInput: the network is causal already, or `norm` is not one that this network has.
        UnknownName: unknown transfer.
    """
    if net.config.causal:
        raise InvalidInput("this network is causal already; causalize a pretrained one (worldsim train stage=pretrain)")
    if transfer not in METHODS:
        raise UnknownName(f'unknown transfer "{transfer}"; {did_you_mean(transfer, METHODS)}')
    if norm != "frame":
        raise InvalidInput(f'norm is "{norm}"; this network normalises each frame by itself, expected norm="frame"')
    convolutions = {name: module for name, module in net.named_modules() if isinstance(module, TemporalConv)}
    with torch.no_grad():
        for module in convolutions.values():
            module.weight.copy_(transfer_kernel(module.weight, transfer))
    net.set_causal(causal=True)
    attentions = [name for name, module in net.named_modules() if isinstance(module, TemporalAttention)]
    return CausalReport(tuple(convolutions), tuple(attentions), transfer)


@torch.no_grad()
def causality_leak(net: nn.Module, lengths: Sequence[int] = (1, 2, 5, 12), seed: int = 0) -> dict[str, float]:
    """Largest change of an earlier output when a later latent, noise level or action changes, in float64. Exactly 0 for a causal network.

    Raises:
        InvalidInput: a positive control failed: the outputs do not depend on the inputs at all, so a zero would prove nothing.
    """
    probe = _Probe(net, torch.Generator().manual_seed(seed))
    leaks = {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    for length in lengths:
        for kind in leaks:
            leaks[kind] = max(leaks[kind], probe.leak(kind, length))
    return leaks


class _Probe:
    """A float64 copy of the network with every zero-initialised weight stirred, so that no path is silent."""

    def __init__(self, net: VideoUNet, generator: torch.Generator) -> None:
        self.config, self.generator = net.config, generator
        self.net = net.config.build().double()
        self.net.load_state_dict(net.state_dict())
        for parameter in self.net.parameters():
            parameter.add_(1e-2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    def leak(self, kind: str, length: int) -> float:
        inputs = self._inputs(length)
        before = self._run(inputs)
        worst, moved = 0.0, 0.0
        for frame in range(length):
            changed = {name: tensor.clone() for name, tensor in inputs.items()}
            changed[kind][:, frame] = 1 - changed[kind][:, frame]
            difference = (self._run(changed) - before).abs().amax(dim=(0, 2, 3, 4))  # [T]
            worst = max(worst, difference[:frame].max().item() if frame else 0.0)
            moved = max(moved, difference[frame:].max().item())
        if moved == 0.0:
            raise InvalidInput(f"the leak probe changed {kind} and no output moved; the network does not use them")
        return worst

    def _inputs(self, length: int) -> dict[str, Tensor]:
        config, draw = self.config, lambda *shape: torch.rand(shape, generator=self.generator, dtype=torch.float64)
        side = config.latent_size
        return {
            "latents": draw(2, length, side, side, config.latent_channels) - 0.5,
            "levels": draw(2, length),
            "actions": draw(2, length, config.action_size),
        }

    def _run(self, inputs: dict[str, Tensor]) -> Tensor:
        levels = inputs["levels"][:, None]
        return self.net(inputs["latents"][:, None], levels, inputs["actions"], torch.ones_like(levels))[:, 0]
