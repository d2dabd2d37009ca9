"""What becomes of each layer of the Vid2World U-Net in causal surgery. Registers itself with `worldsim.models.causal.surgery`."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from worldsim.errors import InvalidInput
from worldsim.models.causal.kernels import transfer_kernel
from worldsim.models.causal.layers import Positions
from worldsim.models.causal.surgery import CausalReport, Plan, acts_within_frame, causalize, converts, join
from worldsim.models.vid2world import attention as attentions
from worldsim.models.vid2world import blocks
from worldsim.models.vid2world.attention import CausalAttention, TemporalAttention
from worldsim.models.vid2world.blocks import RowsConv2d, TemporalConvs, TemporalTransformer

if TYPE_CHECKING:
    from worldsim.models.vid2world.unet import Vid2WorldUNet

acts_within_frame(
    *(
        blocks.Stage,
        blocks.FrameConv,
        blocks.Grow,
        blocks.Head,
        blocks.ResBlock,
        blocks.SpatialTransformer,
        blocks.Pointwise,
        blocks.ActionMLP,
    ),
    *(attentions.TransformerBlock, attentions.SelfAttention, attentions.ContextAttention, attentions.GatedMLP),
    blocks.ConvStep,  # its norm and convolution are settled by the converter of the layer around it
)


def make_causal(net: "Vid2WorldUNet", *, transfer: str | None, norm: str, window: int) -> CausalReport:
    """Make a bidirectional network causal in place.

    Args:
        net: as built with `causal=False`.
        transfer: see `transfer_kernel`; None keeps the kernels as they are, for weights that were transferred before.
        norm: "clip", "frame" or "cumulative".
        window: most frames in one pass.

    Raises:
        InvalidInput: the network is causal already.
        UnknownName: unknown transfer or norm.
    """
    return causalize(net, transfer="shift" if transfer is None else transfer, norm=norm, window=window - 1)  # "shift" edits no kernel


@converts("worldsim.models.vid2world.unet.Vid2WorldUNet")
def _unet(plan: Plan, path: str, net: "Vid2WorldUNet") -> None:
    """The window is the network's own unless one is given; the released head is causal over rows."""
    if net.config.causal:
        raise InvalidInput("this network is causal already; causalize a base (load_unet with causal=False)")
    if plan.window is None:
        plan.window = net.config.window - 1
    plan.change("positions", join(path, "clock"), partial(setattr, net, "clock", Positions()))
    plan.change(None, path, partial(setattr, net, "config", replace(net.config, causal=True, norm=plan.norm, window=plan.window + 1)))
    if net.config.head == "rows":
        plan.change(None, join(path, "head.conv"), partial(_see_rows_above, net.head, plan.transfer, plan.order))


@torch.no_grad()
def _see_rows_above(head: nn.Module, transfer: str, order: int) -> None:
    """The last convolution of the released networks is causal over image rows; its kernel was transferred along the height."""
    head.conv.weight.copy_(transfer_kernel(head.conv.weight, transfer, order, axis=-2))
    head.conv = RowsConv2d.of(head.conv)


@converts(TemporalConvs)
def _convolutions(plan: Plan, path: str, convs: TemporalConvs) -> None:
    plan.temporal_layers(path, convs)


@converts(TemporalTransformer)
def _transformer(plan: Plan, path: str, transformer: TemporalTransformer) -> None:
    plan.group_norm(join(path, "norm"), transformer.norm)


@converts(TemporalAttention)
def _attention(plan: Plan, path: str, attention: TemporalAttention) -> None:
    plan.replace("attentions", path, CausalAttention.of(attention, plan.window))
