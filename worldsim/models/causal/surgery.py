"""Causal surgery: turn a bidirectional video network into one that predicts a frame from its past (Vid2World, arXiv 2505.14357, 4.1).

The network is walked by class. A class with a converter is converted, a class known to act within one frame is entered, and any other is
refused, because it may mix frames. Everything is checked before anything is changed. This file knows the layers of torch and of the native
`VideoUNet`; other networks announce theirs with `converts` and `acts_within_frame`.
"""

from collections.abc import Iterable
from functools import partial

from torch import nn

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.causal.kernels import check_transfer
from worldsim.models.causal.layers import Positions, Remembers
from worldsim.models.causal.plan import (
    CONVERTERS,
    NORMS,
    WITHIN_ONE_FRAME,
    CausalReport,
    Plan,
    acts_on_one_frame,
    acts_within_frame,
    converts,
    join,
    kind_of,
    refusal,
)
from worldsim.registry import did_you_mean

__all__ = ["CausalReport", "Plan", "acts_within_frame", "causalize", "converts", "join", "refusal"]
CONTAINERS = {"torch.ModuleList", "torch.ModuleDict", "torch.Sequential"}
NATIVE = "worldsim.models.blocks"
acts_within_frame(
    *(f"torch.{name}" for name in ("Identity", "Linear", "NonDynamicallyQuantizableLinear", "Embedding", "ParameterList", "ParameterDict")),
    *(f"torch.{name}" for name in ("Conv2d", "ConvTranspose2d", "PixelShuffle", "PixelUnshuffle", "LayerNorm", "RMSNorm", "Dropout")),
    *(f"torch.{name}" for name in ("AvgPool2d", "MaxPool2d", "AdaptiveAvgPool2d")),
    *(f"torch.{name}" for name in ("ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish", "Sigmoid", "Tanh", "Softplus")),
    *(f"{NATIVE}.{name}" for name in ("ResBlock", "SpatialAttention", "FeedForward", "Modulation", "FrameNorm")),
    "worldsim.models.actions.ActionEmbedding",
    *(f"worldsim.models.physics_encoder.{name}" for name in ("PhysicsEncoder", "TinyTrunk", "PretrainedTrunk", "TokenAttention")),
    *(f"worldsim.models.geometry_heads.{name}" for name in ("GeometryHeads", "FrameHead")),
)


def causalize(
    module: nn.Module,
    transfer: str = "extrapolative",
    norm: str = "frame",
    window: int | None = None,
    order: int = 2,
    frame_wise: Iterable[type] | type = (),
) -> CausalReport:
    """Make a video network causal in place: frame t of its output depends on frames 0..t of its input. State-dict keys stay.

    Known are `VideoUNet` and, of diffusers, `UNetSpatioTemporalConditionModel`, `UNet3DConditionModel`, `I2VGenXLUNet` and
    `UNetMotionModel`; their `timestep` may be `[B, T]` afterwards (see `frame_levels.FrameLevels`). A text or image context must be that of
    the clip. Attention processors set afterwards undo the surgery; `causality_leak` finds that.

    Args:
        module: the network.
        transfer: how centred kernels become causal, see `transfer_kernel`.
        norm: "frame" (statistics of each frame), "cumulative" (of all frames so far) or "clip" (of all frames, as pretrained: leaks).
        window: how many earlier frames temporal attention sees; None for all, then features cannot be remembered from pass to pass.
        order: frames that extrapolation fits its line to.
        frame_wise: classes of modules or attention processors that you vouch for: they act within one frame, apart from what their children
            do.

    Raises:
        InvalidInput: a module that may mix frames, or that is causal already. The network is then as it was.
        UnknownName: unknown transfer or norm.
    """
    classes = (frame_wise,) if isinstance(frame_wise, type) else tuple(frame_wise)
    if norm not in NORMS:
        raise UnknownName(f'unknown norm "{norm}"; {did_you_mean(norm, NORMS)}')
    if window is not None and (not isinstance(window, int) or window < 1):
        raise InvalidInput(f"window is {window}, expected at least 1 earlier frame, or None for all")
    for path, layer in module.named_modules():
        if isinstance(layer, Remembers) and not isinstance(layer, Positions) and getattr(layer, "causal", True):
            raise InvalidInput(f"{path} is causal already; causalize a network as it was pretrained")
    plan = Plan(module, transfer=check_transfer(transfer), norm=norm, window=window, order=order, frame_wise=classes)
    _survey(plan, "", module, within=False)
    return plan.carry_out()


def _survey(plan: Plan, path: str, module: nn.Module, *, within: bool) -> None:
    """Plan for `module` and what is below it; `within` says that the module around it acts on one frame at a time."""
    kind, settled = kind_of(type(module)), plan.is_settled(path)
    vouched = not settled and (kind in WITHIN_ONE_FRAME or type(module) in plan.frame_wise)
    if not settled:
        if convert := CONVERTERS.get(kind):
            convert(plan, path, module)
        elif not (vouched or kind in CONTAINERS or acts_on_one_frame(module) or (within and type(module) is nn.GroupNorm)):
            raise refusal(path, module)
    for name, child in ((name, child) for name, child in module._modules.items() if child is not None):  # a shared child is met twice
        _survey(plan, join(path, name), child, within=within if kind in CONTAINERS else vouched)


@converts("worldsim.models.video_unet.VideoUNet")
def _video_unet(plan: Plan, path: str, net: nn.Module) -> None:
    """The native network: it has levels per frame and norms per frame, and both ways to look."""
    if net.config.causal:
        raise InvalidInput("this network is causal already; causalize a pretrained one (worldsim train stage=pretrain)")
    if plan.norm != "frame":
        raise InvalidInput(f'norm is "{plan.norm}"; this network normalises each frame by itself, expected norm="frame"')
    if plan.window not in (None, net.config.window):
        raise InvalidInput(f"window is {plan.window}; this network's attention has learned {net.config.window}, leave window out")
    plan.window = net.config.window
    plan.change(None, path, partial(net.set_causal, causal=True))


@converts(f"{NATIVE}.TemporalConv")
def _native_convolution(plan: Plan, path: str, layer: nn.Module) -> None:
    plan.kernel(path, layer)
    plan.change("convolutions", path, partial(_look_back, layer))


@converts(f"{NATIVE}.TemporalAttention")
def _native_attention(plan: Plan, path: str, layer: nn.Module) -> None:
    plan.settle(path)
    plan.change("attentions", path, partial(_look_back, layer))


def _look_back(layer: nn.Module) -> None:
    layer.causal = True
