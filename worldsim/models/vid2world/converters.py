"""What becomes of the U-Net's layers when it is made causal: says so to `worldsim.models.causal.causalize`."""

from functools import partial

import torch

from worldsim.errors import InvalidInput
from worldsim.models.causal.kernels import transfer_kernel
from worldsim.models.causal.plan import Plan, acts_within_frame, converts, join
from worldsim.models.vid2world.blocks import (
    Attention,
    Downsample,
    FeedForward,
    HeadConv,
    ResBlock,
    SpatialTransformer,
    TemporalAttention,
    TemporalConvs,
    TemporalTransformer,
    TransformerBlock,
    Upsample,
    _PointwiseConv,
)
from worldsim.models.vid2world.unet import Vid2WorldUNet

acts_within_frame(Attention, Downsample, FeedForward, ResBlock, SpatialTransformer, TransformerBlock, Upsample, _PointwiseConv)
acts_within_frame("worldsim.models.causal.layers.Positions")


@converts(Vid2WorldUNet)
def _whole(plan: Plan, path: str, net: Vid2WorldUNet) -> None:
    if net.config.causal:
        raise InvalidInput("this network is causal already; load the base with load_base, or build it with causal=False")
    plan.settle(path)
    plan.settle(join(path, "out_norm"))  # it sees one frame at a time

    def note() -> None:
        net.config.causal, net.config.norm = True, plan.norm

    plan.change(None, path, note)


@converts(TemporalConvs)
def _convolutions(plan: Plan, path: str, module: TemporalConvs) -> None:
    for stage in range(len(module.stages)):
        plan.settle(f"{path}.stages.{stage}")
    plan.settle(path)
    plan.temporal_layers(path, module)


@converts(TemporalTransformer)
def _transformer(plan: Plan, path: str, module: TemporalTransformer) -> None:
    plan.settle(path)
    plan.group_norm(f"{path}.norm", module.norm)


@converts(TemporalAttention)
def _attention(plan: Plan, path: str, layer: TemporalAttention) -> None:
    def look_back() -> None:
        layer.causal, layer.window = True, plan.window

    plan.settle(path)
    plan.change("attentions", path, look_back)


@converts(HeadConv)
def _head(plan: Plan, path: str, layer: HeadConv) -> None:
    """As released: the kernel is transferred along the height, and output rows see the rows above."""
    plan.settle(path)
    if plan.root.config.head == "rows":
        plan.change(None, path, partial(_to_rows, layer, plan))


@torch.no_grad()
def _to_rows(layer: HeadConv, plan: Plan) -> None:
    layer.weight.copy_(transfer_kernel(layer.weight, plan.transfer, plan.order, axis=-2))
    layer.rows = True
