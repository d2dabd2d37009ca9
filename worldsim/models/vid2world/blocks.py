"""The layers of the Vid2World U-Net. Features are `[B*T, C, H, W]`, frames of a clip side by side; only layers named temporal mix frames.

Every part of a block is called with the features and the `Scene`, what all blocks of one pass share. Here temporal layers look both ways;
`surgery` turns them causal.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.causal.layers import Remembers, attend_back
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


class SelfAttention(nn.Module):
    """Attention among the L entries of `[N, L, C]`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (_split(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return self.out(_joined(self.attend(q, k, v)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`[N, heads, L, d]` each; who sees whom."""
        return F.scaled_dot_product_attention(q, k, v)


class TemporalAttention(SelfAttention):
    """Attention among the frames of one place: `[B*H*W, T, C]`. Every frame sees every other."""


class CausalAttention(Remembers, TemporalAttention):
    """A frame sees itself and at most `history` earlier frames."""

    history: int

    @classmethod
    def of(cls, attention: TemporalAttention, history: int) -> "CausalAttention":
        """A layer that holds the projections of `attention` itself."""
        with torch.device("meta"):
            made = cls(attention.out.out_features, attention.heads)
        for name, child in attention.named_children():
            setattr(made, name, child)
        made.history = history
        return made.train(attention.training)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_back(q, k, v, self, self.history)


class ContextAttention(nn.Module):
    """The places of a frame `[B*T, L, C]` attend to text and, with keys and values of their own, to image tokens; both answers are added."""

    def __init__(self, width: int, heads: int, context_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key, self.value, self.image_key, self.image_value = (nn.Linear(context_dim, width, bias=False) for _ in range(4))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, image: Tensor) -> Tensor:
        q = _split(self.query(x), self.heads)
        answers = [self._answer(q, text, self.key, self.value), self._answer(q, image, self.image_key, self.image_value)]
        return self.out(_joined(answers[0] + answers[1]))

    def _answer(self, q: Tensor, tokens: Tensor, key: nn.Linear, value: nn.Linear) -> Tensor:
        k, v = (_split(layer(tokens), self.heads).repeat_interleave(len(q) // len(tokens), dim=0) for layer in (key, value))
        return F.scaled_dot_product_attention(q, k, v)


def _split(x: Tensor, heads: int) -> Tensor:
    """`[N, L, C]` to `[N, heads, L, d]`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class GatedMLP(nn.Module):
    """An MLP four times as wide inside; half of what enters gates the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 8 * width)
        self.leave = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.enter(x).chunk(2, dim=-1)
        return self.leave(value * F.gelu(gate))


class TransformerBlock(nn.Module):
    """Attention, attention (to the context, where there is one), MLP: each after a norm and added."""

    def __init__(self, width: int, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.first, self.second = first, second
        self.mlp = GatedMLP(width)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        x = x + self.first(self.norm1(x))
        x = x + self.second(self.norm2(x), *context)
        return x + self.mlp(self.norm3(x))


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
