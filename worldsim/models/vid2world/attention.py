"""Attention of the Vid2World U-Net and the block around it: entries `[N, L, C]` in and out. Knows no picture and no clip."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.causal.layers import Remembers, attend_back


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
    """The places of a frame `[B*T, L, C]` attend to text and, with other keys and values, to image tokens; both answers are added.

    Tokens are those of each frame `[B*T, N, C]` or of each clip `[B, N, C]`, projected once and shown to all its frames.
    """

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
