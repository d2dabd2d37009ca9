"""Proof that a network predicts a frame from its past only: change a later frame and see whether an earlier output moves.

Works on any `VideoNetwork` and on a video U-Net of diffusers, before and after causal surgery. Knows nothing about how either is made.
Source of the checks: `specs/vid2world.md` 1.4.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.diffusers_families import call, is_unet, smallest_latents
from worldsim.models.network import VideoNetwork

STIR = 1e-2  # standard deviation of what is added to every weight


@torch.no_grad()
def causality_leak(
    net: VideoNetwork | nn.Module,
    *,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
    latent_shape: tuple[int, int, int] | None = None,
    context: Mapping[str, Tensor] | None = None,
) -> dict[str, float]:
    """Largest change of an earlier output when one frame's latent, noise level or action changes. Exactly 0.0 for a causal network.

    The probe runs in float64 on a copy whose weights are stirred, since a layer that begins at zero would hide what it leaks. The copy
    is what the config builds, where the network has one that builds: that is what a checkpoint of it will be.

    Args:
        net: a network. One with `per_frame = False`, or a U-Net of diffusers before surgery, takes one level per clip and no actions:
            its answer has "latents" alone. The "actions" of a U-Net after surgery are its extra embeddings.
        lengths: numbers of frames to try; default 1, 2 and the training length `net.window + 1` (5 for a U-Net of diffusers).
        seed: of inputs and stirring.
        latent_shape: `(h, w, C)` to probe at; default the network's own, or the smallest that a U-Net of diffusers takes.
        context: one row of each entry, fixed over the clip; default what the network takes as neutral.

    Raises:
        InvalidInput: outputs are not finite, or a positive control failed: a frame moved neither its own nor a later output, or frame 0
            no later one, so a zero would prove nothing.
    """
    probe = _probe(net, seed, latent_shape, context)
    leaks = dict.fromkeys(probe.sizes, 0.0)
    for length in probe.lengths if lengths is None else lengths:
        inputs = probe.inputs(length)
        before = probe.run(inputs)
        for kind in leaks:
            for frame in range(length):
                moved = _moved(probe.run(_changed(inputs, kind, frame)), before)  # [T]
                _check_controls(kind, frame, moved)
                leaks[kind] = max(leaks[kind], moved[:frame].max().item() if frame else 0.0)
    return leaks


@torch.no_grad()
def prefix_change(
    net: VideoNetwork | nn.Module,
    *,
    length: int | None = None,
    seed: int = 0,
    latent_shape: tuple[int, int, int] | None = None,
    context: Mapping[str, Tensor] | None = None,
) -> float:
    """Largest difference between `f(x[:t])` and `f(x)[:t]` over all t, float64: rounding (under 1e-12) for a causal network.

    Arguments as for `causality_leak`; `length` is the number of frames of x, default the training length.
    """
    probe = _probe(net, seed, latent_shape, context)
    inputs = probe.inputs(length or max(probe.lengths))
    whole = probe.run(inputs)
    parts = (probe.run({kind: tensor[:, :t] for kind, tensor in inputs.items()}) for t in range(1, whole.shape[1]))
    return max((_moved(part, whole[:, : part.shape[1]]).max().item() for part in parts), default=0.0)


def gradient_leak(
    net: VideoNetwork | nn.Module,
    *,
    length: int | None = None,
    seed: int = 0,
    latent_shape: tuple[int, int, int] | None = None,
    context: Mapping[str, Tensor] | None = None,
) -> float:
    """Largest |d out_i / d x_j| over j > i, for a random direction of each out_i, float64. Exactly 0.0 for a causal network.

    Arguments as for `prefix_change`.

    Raises:
        InvalidInput: some out_i has no gradient with respect to its own x_i.
    """
    probe = _probe(net, seed, latent_shape, context)
    inputs = probe.inputs(length or max(probe.lengths))
    x = inputs["latents"].requires_grad_()
    output, worst = probe.run(inputs), 0.0
    for i in range(output.shape[1]):
        direction = torch.randn(output[:, i].shape, generator=probe.generator, dtype=output.dtype)
        slope = torch.autograd.grad((output[:, i] * direction).sum(), x, retain_graph=True)[0].abs().flatten(2).amax((0, 2))  # [T]
        if slope[i] == 0.0:
            raise InvalidInput(f"output frame {i} has no gradient with respect to its own latent; a zero elsewhere would prove nothing")
        worst = max(worst, slope[i + 1 :].max().item() if i + 1 < len(slope) else 0.0)
    return worst


@dataclass(frozen=True)
class _Probe:
    """A stirred network behind one call: inputs by kind `[1, T, *sizes[kind]]` to the output `[1, T, ...]`."""

    run: Callable[[dict[str, Tensor]], Tensor]
    sizes: dict[str, tuple[int, ...]]
    lengths: tuple[int, ...]
    generator: torch.Generator

    def inputs(self, length: int) -> dict[str, Tensor]:
        """Random inputs: latents in [-0.5, 0.5], the rest in [0, 1]."""
        drawn = {kind: torch.rand(1, length, *size, generator=self.generator, dtype=torch.float64) for kind, size in self.sizes.items()}
        return drawn | {"latents": drawn["latents"] - 0.5}


def _probe(
    net: VideoNetwork | nn.Module, seed: int, latent_shape: tuple[int, int, int] | None, context: Mapping[str, Tensor] | None
) -> _Probe:
    generator = torch.Generator().manual_seed(seed)
    if hasattr(net, "without_towers"):
        net = net.without_towers()
    context = None if context is None else {name: value.cpu().double() for name, value in context.items()}
    probed = _probed_unet if is_unet(net) else _probed_network
    return probed(net, _stirred(net, generator), generator, latent_shape, context)


def _probed_network(
    net: VideoNetwork, copy: nn.Module, generator: torch.Generator, latent_shape: tuple | None, context: dict | None
) -> _Probe:
    sizes = {"latents": tuple(latent_shape or getattr(net, "smallest_latents", None) or net.latent_shape)}
    if getattr(net, "per_frame", True):
        sizes |= {"levels": (), "actions": (net.action_size,)}
    if context is None and hasattr(net, "neutral_context"):
        context = {name: value.double() for name, value in net.neutral_context(sizes["latents"]).items()}
    given = {} if context is None else {"context": context}

    def run(inputs: dict[str, Tensor]) -> Tensor:
        x = inputs["latents"][:, None]
        levels = inputs["levels"][:, None] if "levels" in inputs else x.new_full(x.shape[:3], 0.5)
        actions = inputs["actions"] if "actions" in inputs else x.new_zeros(*x.shape[0:3:2], net.action_size)
        return copy(x, levels, actions, torch.ones_like(levels), **given)[:, 0]

    return _Probe(run, sizes, tuple(sorted({1, 2, net.window + 1})), generator)


def _probed_unet(net: nn.Module, copy: nn.Module, generator: torch.Generator, latent_shape: tuple | None, context: dict | None) -> _Probe:
    sizes = {"latents": tuple(latent_shape or smallest_latents(net))}
    causal = hasattr(copy, "frame_levels")
    if causal:
        sizes |= {"levels": (), "actions": (copy.time_embedding.linear_2.out_features,)}

    def run(inputs: dict[str, Tensor]) -> Tensor:
        latents = inputs["latents"].permute(0, 1, 4, 2, 3)  # [1, T, C, h, w]
        if not causal:
            return call(copy, latents, torch.tensor([500]), context)
        copy.frame_levels.extra = inputs["actions"]
        return call(copy, latents, (999 * inputs["levels"]).round().long(), context)

    return _Probe(run, sizes, (1, 2, 5), generator)


def _stirred(net: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy in float64 on the CPU, in evaluation, with every weight stirred."""
    build = getattr(getattr(net, "config", None), "build", None)
    if build is None:
        copy = deepcopy(net)
    else:
        copy = build()
        copy.load_state_dict(net.state_dict())
    copy = copy.cpu().double().eval()
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(STIR * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return copy


def _changed(inputs: dict[str, Tensor], kind: str, frame: int) -> dict[str, Tensor]:
    changed = inputs[kind].clone()
    changed[:, frame] = 1 - changed[:, frame]
    return inputs | {kind: changed}


def _moved(after: Tensor, before: Tensor) -> Tensor:
    """Largest absolute difference of each frame, `[T]`."""
    moved = (after - before).abs().flatten(2).amax((0, 2))
    if not moved.isfinite().all():
        raise InvalidInput("the leak probe met an output that is not finite; the weights are damaged")
    return moved


def _check_controls(kind: str, frame: int, moved: Tensor) -> None:
    if moved[frame:].max() == 0.0:
        raise InvalidInput(f"the leak probe changed {kind} of frame {frame} and no output moved; the network does not use them")
    if frame == 0 and len(moved) > 1 and moved[1:].max() == 0.0:
        raise InvalidInput(f"the leak probe changed {kind} of frame 0 and no later output moved; the network does not look back")
