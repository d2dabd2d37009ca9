"""Causal surgery: turn a bidirectional video network into one that predicts a frame from its past, and prove that it is.

Vid2World (arXiv 2505.14357) section 4.1 and appendix A.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.causal.kernels import METHODS, transfer_kernel
from worldsim.models.blocks import TemporalAttention, TemporalConv
from worldsim.models.video_unet import VideoUNet
from worldsim.registry import did_you_mean


@dataclass(frozen=True)
class CausalReport:
    """What the surgery did: names of the converted layers and the transfer used."""

    convolutions: tuple[str, ...]
    attentions: tuple[str, ...]
    transfer: str


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
