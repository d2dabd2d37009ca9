"""The layers of the Vid2World U-Net. Features are `[B*T, C, H, W]`, frames of a clip side by side; only layers named temporal mix frames.

Every part of a block is called with the features and the `Scene`, what all blocks of one pass share. Here temporal layers look both ways;
`surgery` turns them causal.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.vid2world.attention import ContextAttention, SelfAttention, TemporalAttention, TransformerBlock
from worldsim.models.vid2world.config import GROUPS


@dataclass(frozen=True)
class Scene:
    """What all blocks of one pass share.

    Attributes:
        frames: T, frames of each clip in this pass.
        emb: noise level, frame rate and action of each frame, `[B*T, E]`, after the activation.
        text: `[B, N, C]`.
        image: tokens of each frame `[B*T, N, C]`, or of each clip `[B, N, C]`.
    """

    frames: int
    emb: Tensor
    text: Tensor
    image: Tensor


def silenced(layer: nn.Module) -> nn.Module:
    """`layer` with zero weights: what it feeds begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def to_clips(h: Tensor, frames: int) -> Tensor:
    """`[B*T, C, H, W]` to `[B, C, T, H, W]`."""
    return h.unflatten(0, (-1, frames)).transpose(1, 2)


def to_frames(x: Tensor) -> Tensor:
    """`[B, C, T, H, W]` to `[B*T, C, H, W]`."""
    return x.transpose(1, 2).flatten(0, 1)


class Stage(nn.Module):
    """Parts one after the other, each under its name."""

    def __init__(self, **parts: nn.Module | None) -> None:
        super().__init__()
        for name, part in parts.items():
            if part is not None:
                self.add_module(name, part)

    def forward(self, h: Tensor, scene: Scene) -> Tensor:
        for part in self.children():
            h = part(h, scene)
        return h


class FrameConv(nn.Conv2d):
    """An ordinary convolution of each frame, as a part of a stage."""

    def forward(self, h: Tensor, scene: Scene) -> Tensor:
        return super().forward(h)


class Grow(nn.Conv2d):
    """Twice the size: nearest neighbours, then a convolution."""

    def forward(self, h: Tensor, scene: Scene) -> Tensor:
        return super().forward(F.interpolate(h, scale_factor=2.0, mode="nearest"))


class RowsConv2d(nn.Conv2d):
    """A convolution whose output row h sees the rows above and h itself, none below: K - 1 zero rows on top."""

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "RowsConv2d":
        """A layer that holds the parameters of `conv` itself."""
        made = cls(conv.in_channels, conv.out_channels, conv.kernel_size, padding=(0, conv.padding[1]), device="meta")
        made.weight, made.bias = conv.weight, conv.bias
        return made.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 0, self.kernel_size[0] - 1, 0)))


class Head(nn.Module):
    """Features to the prediction."""

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.conv = silenced(nn.Conv2d(width, out_channels, 3, padding=1))

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(F.silu(self.norm(h)))


class ConvStep(nn.Module):
    """Norm, activation, convolution over three frames: `[B, C, T, H, W]`."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.dropout(F.silu(self.norm(x))))


class TemporalConvs(nn.Module):
    """Four steps over time, added to what came in."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.steps = nn.Sequential(*(ConvStep(width, dropout if i else 0.0) for i in range(4)))
        silenced(self.steps[-1].conv)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.steps(x)


class ResBlock(nn.Module):
    """Two convolutions of each frame with its embedding added between them, then the convolutions over time."""

    def __init__(self, in_width: int, width: int, emb_width: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, in_width)
        self.conv_in = nn.Conv2d(in_width, width, 3, padding=1)
        self.embed = nn.Linear(emb_width, width)
        self.norm_out = nn.GroupNorm(GROUPS, width)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = silenced(nn.Conv2d(width, width, 3, padding=1))
        self.skip = nn.Identity() if in_width == width else nn.Conv2d(in_width, width, 1)
        self.temporal = TemporalConvs(width, dropout)

    def forward(self, h: Tensor, scene: Scene) -> Tensor:
        x = self.conv_in(F.silu(self.norm_in(h))) + self.embed(scene.emb)[:, :, None, None]
        h = self.skip(h) + self.conv_out(self.dropout(F.silu(self.norm_out(x))))
        return to_frames(self.temporal(to_clips(h, scene.frames)))


class SpatialTransformer(nn.Module):
    """The places of each frame attend to one another and to the context."""

    def __init__(self, width: int, head_channels: int, context_dim: int) -> None:
        super().__init__()
        heads = width // head_channels
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.enter = nn.Linear(width, width)
        self.block = TransformerBlock(width, SelfAttention(width, heads), ContextAttention(width, heads, context_dim))
        self.leave = silenced(nn.Linear(width, width))

    def forward(self, h: Tensor, scene: Scene) -> Tensor:
        x = self.enter(self.norm(h).flatten(2).transpose(1, 2))  # [B*T, H*W, C]
        x = self.leave(self.block(x, scene.text, scene.image))
        return h + x.transpose(1, 2).unflatten(2, h.shape[2:])


class Pointwise(nn.Conv1d):
    """A linear layer over the last axis whose weight is stored as that of a convolution of one tap."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight[..., 0], self.bias)


class TemporalTransformer(nn.Module):
    """Each place attends, twice, to itself in other frames."""

    def __init__(self, width: int, inner: int, head_channels: int, projection: type[nn.Module] = nn.Linear) -> None:
        super().__init__()
        heads = inner // head_channels
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.enter = projection(width, inner)
        self.block = TransformerBlock(inner, TemporalAttention(inner, heads), TemporalAttention(inner, heads))
        self.leave = silenced(projection(inner, width))

    def forward(self, h: Tensor, scene: Scene) -> Tensor:
        clips = to_clips(h, scene.frames)
        x = self.norm(clips).permute(0, 3, 4, 2, 1)  # [B, H, W, T, C]
        places = x.shape[:3]
        x = self.leave(self.block(self.enter(x.flatten(0, 2))))  # [B*H*W, T, C]
        return h + x.unflatten(0, places).permute(0, 3, 4, 1, 2).flatten(0, 1)  # [B*T, C, H, W]


class ActionMLP(nn.Module):
    """Actions `[B, T, D]` to embeddings `[B, T, E]`. A vector of zeros has an embedding too."""

    def __init__(self, action_size: int, width: int, emb_width: int, kind: str) -> None:
        super().__init__()
        if kind == "multi_hot":
            self.table = nn.Embedding(action_size, width)
            self.mlp = mlp(width, emb_width, emb_width)
        else:
            self.mlp = mlp(action_size, width, emb_width, emb_width)

    def forward(self, actions: Tensor) -> Tensor:
        actions = actions.to(self.mlp[0].weight.dtype)
        return self.mlp(actions @ self.table.weight if hasattr(self, "table") else actions)


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for in_width, width in zip(widths, widths[1:], strict=False):
        layers += [nn.SiLU(), nn.Linear(in_width, width)]
    return nn.Sequential(*layers[1:])
