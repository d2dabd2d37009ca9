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
from worldsim.models.history_attention import attend_to_history, frames_back


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
        cached = self.memory and self.memory.read(self.name)
        if cached and x.shape[2] == 1:
            return self._one_more(x, *cached)
        reach = self.dilation[0] * (self.kernel_size[0] - 1)
        past = self.memory.spread(cached[0]).to(x) if cached else x.new_zeros(*x.shape[:2], reach, *x.shape[3:])
        seen = torch.cat([past, x], dim=2)
        if self.memory and self.memory.keeps:
            self._keep(seen[:, :, -reach:])
        return super().forward(seen)

    def _one_more(self, x: Tensor, frames: Tensor, sums: Tensor) -> Tensor:
        """One frame after the cached ones: what the earlier taps add is the same in every step and branch, and summed once per frame."""
        newest = None
        if self.memory.keeps:
            newest = self._keep(torch.cat([frames, self.memory.history(x).to(frames)], dim=2)[:, :, 1:])
        present = F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, self.stride[1:], self.padding[1:], self.dilation[1:], self.groups)
        rows = present.unflatten(0, (-1, self.memory.branches)) + self.memory.per_branch(sums, newest)
        return rows.flatten(0, 1)[:, :, None]

    def _keep(self, frames: Tensor) -> Tensor:
        """Remember the last frames `[lanes, C, reach, H, W]` and what they add to the next one, `[lanes, out, H, W]`, which is returned."""
        ahead = frames[:, :, :: self.dilation[0]]  # the taps of the next frame
        sums = F.conv3d(ahead, self.weight[:, :, :-1], None, self.stride, self.padding, (1, *self.dilation[1:]), self.groups)[:, :, 0]
        self.memory.write(self.name, frames, sums)
        return sums


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
        sums = sums @ torch.ones_like(sums[0, 0, :1]).expand(x.shape[2], -1).triu()  # running sums; cumsum has no deterministic CUDA kernel
        sums, frames = self._with_past(sums, frames)
        mean, square = sums / (frames[:, None] * groups[0, 0].numel() / x.shape[2])
        scale = (square - mean.square()).clamp(min=0).add(self.eps).rsqrt()
        normal = (groups - mean[:, :, None, :, None, None]) * scale[:, :, None, :, None, None]
        shape = (1, -1, 1, 1, 1)
        return normal.flatten(1, 2).to(x) * self.weight.reshape(shape) + self.bias.reshape(shape)

    def _with_past(self, sums: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        if self.memory is None:
            return sums, frames
        own = sums.permute(1, 2, 3, 0)  # [B, G, T, 2]
        newest = [self.memory.history(each) for each in (own[:, :, -1], frames[:, -1])]  # [lanes, G, 2], [lanes]
        if cached := self.memory.read(self.name):
            newest = [past + each for past, each in zip(cached, newest, strict=True)]
            past, count = (self.memory.spread(*each) for each in zip(cached, newest, strict=True))
            sums, frames = sums + past.permute(2, 0, 1)[..., None], frames + count[:, None]
        self.memory.write(self.name, *newest)
        return sums, frames


class Positions(Remembers, nn.Module):
    """Counts the frames before a pass, for layers whose position embedding is absolute."""

    def before(self, rows: int, frames: int, device: torch.device) -> Tensor:
        """Index of the first frame of this pass per row of the batch, `[rows]`; counts `frames` more."""
        index = torch.zeros(rows, dtype=torch.int64, device=device)
        if self.memory is None:
            return index
        newest = self.memory.history(index) + frames
        if cached := self.memory.read(self.name):
            newest = newest + cached[0]
            index = self.memory.spread(cached[0], newest)
        self.memory.write(self.name, newest)
        return index


def attend_back(q: Tensor, k: Tensor, v: Tensor, layer: Remembers, window: int | None) -> Tensor:
    """Attention over time in which a frame sees itself and at most `window` earlier frames (None: all of them).

    Args:
        q: `[rows * positions, heads, T, d]`, the frames of this pass.
        k: like `q`.
        v: like `q`.
        layer: where keys and values of earlier frames are remembered.
        window: needed wherever a memory is used.

    Raises:
        InvalidInput: a memory without a window.
    """
    memory, frames = layer.memory, q.shape[-2]
    if memory and window is None:
        raise InvalidInput("features are remembered over a window of frames, and this network has none; causalize(net, window=16)")
    cached = memory and memory.read(layer.name)
    if memory and memory.keeps:
        memory.append(layer.name, *(memory.history(t.unflatten(0, (memory.rows(), -1))) for t in (k, v)))
    if not cached:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=_band(frames, window, q.device))
    back = frames_back(memory, frames, window)[:, None]  # [lanes, 1, N, window + N]
    hidden = memory.once(("hidden", frames, window, q.dtype), lambda: q.new_zeros(back.shape).masked_fill(back < 0, -torch.inf))
    q, k, v = (_by_lane(t, memory) for t in (q, k, v))
    out = attend_to_history(q, k, v, tuple(t.to(k) for t in cached), hidden)
    return out.unflatten(3, (memory.branches, frames)).permute(0, 3, 1, 2, 4, 5).flatten(0, 2)


def _by_lane(t: Tensor, memory: Memory) -> Tensor:
    """`[lanes * branches * positions, heads, T, d]` to `[lanes, positions, heads, branches * T, d]`."""
    return t.unflatten(0, (memory.lanes, memory.branches, -1)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)


def _band(frames: int, window: int | None, device: torch.device) -> Tensor:
    """True where frame i may see frame j, `[T, T]`."""
    index = torch.arange(frames, device=device)
    back = index[:, None] - index
    return (back >= 0) & (back <= (frames if window is None else window))
