"""Layers that mix time and look back only. They stand in for a video model's own, take over its weights, and keep its state-dict keys.

A layer that needs earlier frames in a later pass is a `Remembers`: while `remembering(net, memory)` holds, it reads the features of
earlier frames from the memory and writes those of this pass. Without a memory a pass holds all the frames there are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.cache import Memory


class Remembers:
    """A layer with something to keep from frame to frame, under its name in the network."""

    name: str = ""
    memory: Memory | None = None


@contextmanager
def remembering(net: nn.Module, memory: Memory | None) -> Iterator[None]:
    """Let every layer of `net` that remembers read from and write to `memory`; None lets each pass stand alone."""
    layers = [module for module in net.modules() if isinstance(module, Remembers)]
    for layer in layers:
        layer.memory = memory
    try:
        yield
    finally:
        for layer in layers:
            layer.memory = None


class CausalConv3d(Remembers, nn.Conv3d):
    """A convolution over time that sees K - 1 earlier frames and no later one: `[B, C, T, H, W]`, kernel `[out, in, K, h, w]`."""

    @classmethod
    def of(cls, conv: nn.Conv3d) -> "CausalConv3d":
        """A causal layer that holds the parameters of `conv` itself; its kernel reads (t-K+1, ..., t) from now on."""
        padding = (0, *conv.padding[1:])
        made = cls(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, padding, conv.dilation, conv.groups, device="meta")
        made.weight, made.bias = conv.weight, conv.bias
        return made.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        reach = self.dilation[0] * (self.kernel_size[0] - 1)
        cached = self.memory and self.memory.read(self.name)
        past = self.memory.spread(cached[0]).to(x) if cached else x.new_zeros(*x.shape[:2], reach, *x.shape[3:])
        seen = torch.cat([past, x], dim=2)
        if self.memory:
            self.memory.write(self.name, seen[:, :, -reach:].clone())
        return super().forward(seen)


class FrameGroupNorm(nn.GroupNorm):
    """GroupNorm of `[B, C, T, H, W]` with the statistics of each frame by itself."""

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)  # [B, T, C, H, W]
        return super().forward(frames.flatten(0, 1)).reshape(frames.shape).transpose(1, 2)


class CumulativeGroupNorm(Remembers, nn.GroupNorm):
    """GroupNorm of `[B, C, T, H, W]` with the statistics of all frames up to each: nearer to a clip's, and still causal."""

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unflatten(1, (self.num_groups, -1)).float() if x.dtype.itemsize < 4 else x.unflatten(1, (self.num_groups, -1))
        sums = torch.stack([groups.sum((2, 4, 5)), groups.square().sum((2, 4, 5))])  # [2, B, G, T] of values and of squares
        frames = torch.arange(1, x.shape[2] + 1, device=x.device).expand(len(x), -1)  # [B, T] frames so far
        sums, frames = self._with_past(sums.cumsum(-1), frames)
        mean, square = sums / (frames[:, None] * groups[0, 0].numel() / x.shape[2])
        scale = (square - mean.square()).clamp(min=0).add(self.eps).rsqrt()
        normal = (groups - mean[:, :, None, :, None, None]) * scale[:, :, None, :, None, None]
        shape = (1, -1, 1, 1, 1)
        return normal.flatten(1, 2).to(x) * self.weight.reshape(shape) + self.bias.reshape(shape)

    def _with_past(self, sums: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        if self.memory is None:
            return sums, frames
        if cached := self.memory.read(self.name):
            past, count = (self.memory.spread(each) for each in cached)  # [B, G, 2], [B]
            sums, frames = sums + past.permute(2, 0, 1)[..., None], frames + count[:, None]
        self.memory.write(self.name, sums[..., -1].permute(1, 2, 0), frames[:, -1])
        return sums, frames


class Positions(Remembers, nn.Module):
    """Counts the frames before a pass, for layers whose position embedding is absolute."""

    def before(self, rows: int, frames: int, device: torch.device) -> Tensor:
        """Index of the first frame of this pass per row of the batch, `[rows]`; counts `frames` more."""
        index = torch.zeros(rows, dtype=torch.int64, device=device)
        if self.memory is None:
            return index
        if cached := self.memory.read(self.name):
            index = self.memory.spread(cached[0])
        self.memory.write(self.name, index + frames)
        return index


def attend_back(q: Tensor, k: Tensor, v: Tensor, layer: Remembers, window: int | None) -> Tensor:
    """Attention over time in which a frame sees itself and at most `window` earlier frames (None: all of them).

    Args:
        q: `[B * positions, heads, T, d]`, the frames of this pass.
        k: like `q`.
        v: like `q`.
        layer: where keys and values of earlier frames are remembered.
        window: needed wherever a memory is used.

    Raises:
        InvalidInput: a memory without a window.
    """
    past, hidden = 0, None
    if memory := layer.memory:
        if window is None:
            raise InvalidInput("features are remembered over a window of frames, and this network has none; causalize(net, window=16)")
        if cached := memory.read(layer.name):
            past, hidden = window, _empty_slots(memory, window, len(q))
            k, v = (torch.cat([memory.spread(old).flatten(0, 1).to(new), new], dim=-2) for old, new in zip(cached, (k, v), strict=True))
        memory.write(layer.name, *(_newest(t, window).unflatten(0, (memory.rows(), -1)) for t in (k, v)))
    seen = _band(q.shape[-2], past, window, q.device)  # [T, past + T]
    if hidden is not None:
        seen = seen & ~F.pad(hidden, (0, q.shape[-2]))[:, None, None]  # [B * positions, 1, T, past + T]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


def _band(frames: int, past: int, window: int | None, device: torch.device) -> Tensor:
    """True where frame i of this pass may see key j; the first `past` keys are of earlier frames."""
    back = torch.arange(past, past + frames, device=device)[:, None] - torch.arange(past + frames, device=device)
    return (back >= 0) & (back <= (past + frames if window is None else window))


def _empty_slots(memory: Memory, window: int, rows: int) -> Tensor:
    """True for the cached slots that no frame has filled yet, `[rows, window]`; the newest frame sits in the last slot."""
    age = torch.arange(window, 0, -1, device=memory.cache.length.device)
    lanes = memory.spread(memory.cache.length)
    return (age > lanes[:, None]).repeat_interleave(rows // len(lanes), dim=0)


def _newest(t: Tensor, window: int) -> Tensor:
    missing = max(window - t.shape[-2], 0)
    return F.pad(t[..., -window:, :], (0, 0, missing, 0))
