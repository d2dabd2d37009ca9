"""The layers of the video network. Features are `[B, S, T, H, W, C]`: B lanes, S streams, T frames.

Stream 0 is history as later frames see it. Further streams are other versions of the same frames (the noisy targets in training,
the guidance branches in sampling): each sees stream 0 before its own frame, and itself. So what is trained is what is sampled.
A bidirectional network has one stream and sees both ways; `worldsim.models.causal.causalize` turns it causal.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.cache import Memory
from worldsim.models.history_attention import attend_to_history, frames_back


class Modulation(nn.Module):
    """Scale and shift of a normalised feature by the frame's own embedding (noise level and action)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.project(emb)[..., None, None, :].chunk(2, dim=-1)  # [B, S, T, 1, 1, C] each
        return x * (1 + scale) + shift


class FrameNorm(nn.Module):
    """GroupNorm over one frame's positions: the statistics of a frame depend on that frame alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.flatten(0, 2).permute(0, 3, 1, 2)  # [B*S*T, C, H, W]
        return self.norm(frames).permute(0, 2, 3, 1).reshape(x.shape)


def per_frame(conv: nn.Module, x: Tensor) -> Tensor:
    """Apply a 2-D layer to every frame of every stream."""
    out = conv(x.flatten(0, 2).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return out.reshape(*x.shape[:3], *out.shape[1:])


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions within a frame."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = FrameNorm(channels), FrameNorm(channels)
        self.modulation = Modulation(channels, embedding)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, emb: Tensor, memory: Memory) -> Tensor:
        h = per_frame(self.conv1, F.silu(self.norm1(x)))
        return x + per_frame(self.conv2, F.silu(self.modulation(self.norm2(h), emb)))


class TemporalConv(nn.Module):
    """Convolution over three frames, kernel `[C, C, 3, 1, 1]`: taps (t-1, t, t+1), or (t-2, t-1, t) once causal."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.name, self.causal = name, False
        self.norm = FrameNorm(channels)
        conv = nn.Conv3d(channels, channels, (3, 1, 1))
        self.weight, self.bias = conv.weight, conv.bias
        with torch.no_grad():
            self.weight.mul_(0.1)

    def forward(self, x: Tensor, emb: Tensor, memory: Memory) -> Tensor:
        u = F.silu(self.norm(x))
        first, middle, last = self.weight[..., 0, 0].unbind(-1)  # [C, C] each
        if not self.causal:
            before, after = _shift(F.linear(u, first), 1), _shift(F.linear(u, last), -1)
            return x + before + F.linear(u, middle, self.bias) + after
        return x + F.linear(u, last, self.bias) + self._past(u[:, :1], first, middle, memory)

    def _past(self, history: Tensor, first: Tensor, middle: Tensor, memory: Memory) -> Tensor:
        """What the two frames before contribute; it is the same in every step and branch, and summed once per frame.

        Kept are the newest frame's feature, and the sum of what it and the one before it add to the frame to come.
        """
        cached = memory.read(self.name)
        if cached is None:
            newest, older = F.linear(history, middle), F.linear(history, first)
            memory.write(self.name, history[:, 0, -1], newest[:, 0, -1] + _shift(older, 1)[:, 0, -1])
            return _shift(newest, 1) + _shift(older, 2)
        feature, past = cached
        if not memory.keeps:
            return past[:, None, None]
        newest = history[:, 0, -1]
        sums = F.linear(newest, middle) + F.linear(feature, first)
        memory.write(self.name, newest, sums)
        return memory.per_branch(past, sums)[:, :, None]


def _shift(x: Tensor, frames: int) -> Tensor:
    """Move `x` later (or earlier, if negative) in time, zeros coming in."""
    moved = torch.zeros_like(x)
    if abs(frames) >= x.shape[2]:
        return moved
    if frames > 0:
        moved[:, :, frames:] = x[:, :, :-frames]
    else:
        moved[:, :, :frames] = x[:, :, -frames:]
    return moved


class FeedForward(nn.Module):
    """A gated MLP at every position (GEGLU, Shazeer 2020)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.modulation = Modulation(channels, embedding)
        self.expand = nn.Linear(channels, 4 * channels)
        self.contract = nn.Linear(2 * channels, channels)
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        value, gate = self.expand(self.modulation(F.layer_norm(x, x.shape[-1:]), emb)).chunk(2, dim=-1)
        return x + self.contract(value * F.gelu(gate))


class SpatialAttention(nn.Module):
    """Attention among the positions of one frame, then a feed-forward layer."""

    def __init__(self, channels: int, embedding: int, head: int = 32) -> None:
        super().__init__()
        self.head = head
        self.modulation = Modulation(channels, embedding)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.feed_forward = FeedForward(channels, embedding)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, emb: Tensor, memory: Memory) -> Tensor:
        h = self.qkv(self.modulation(F.layer_norm(x, x.shape[-1:]), emb))
        q, k, v = h.flatten(3, 4).flatten(0, 2).unflatten(-1, (3, -1, self.head)).permute(2, 0, 3, 1, 4)  # [N, heads, H*W, d] each
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)  # [N, H*W, heads*d] -> x
        return self.feed_forward(x + self.out(h), emb)


class TemporalAttention(nn.Module):
    """Attention over time at each position, at most `window` frames back, with a learned bias per distance; then a feed-forward layer."""

    def __init__(self, name: str, channels: int, embedding: int, window: int, head: int = 32) -> None:
        super().__init__()
        self.name, self.causal, self.window, self.head = name, False, window, head
        self.modulation = Modulation(channels, embedding)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.distance = nn.Parameter(torch.zeros(channels // head, 2 * window + 1))  # bias of distances -window..window
        self.feed_forward = FeedForward(channels, embedding)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, emb: Tensor, memory: Memory) -> Tensor:
        streams, frames = x.shape[1:3]
        h = self.qkv(self.modulation(F.layer_norm(x, x.shape[-1:]), emb))
        h = h.flatten(3, 4).unflatten(-1, (3, -1, self.head)).permute(4, 0, 3, 5, 1, 2, 6)  # [3, B, H*W, heads, S, T, d]
        q, k, v = h.flatten(4, 5)  # [B, H*W, heads, S*T, d] each
        cached = memory.read(self.name)
        memory.append(self.name, k[..., :frames, :], v[..., :frames, :])
        if cached is None:
            h = self._within_clip(q, k, v, streams)
        else:
            h = attend_to_history(q, k, v, cached, self._bias(frames_back(memory, frames, self.window), q))
        h = h.unflatten(3, (streams, frames)).permute(0, 3, 4, 1, 2, 5).reshape(x.shape)  # [B, S, T, H*W, heads, d] -> x
        return self.feed_forward(x + self.out(h), emb)

    def _within_clip(self, q: Tensor, k: Tensor, v: Tensor, streams: int) -> Tensor:
        """Each frame of each stream attends to the other frames of stream 0, and to itself."""
        frames = q.shape[-2] // streams
        bias = self._bias_between(frames, k).repeat(1, streams, 1)
        itself = (q * k).sum(-1) * self.head**-0.5 + self.distance[:, self.window, None].to(q.dtype)  # [B, H*W, heads, S*T]
        scores = torch.cat([q @ k[..., :frames, :].transpose(-1, -2) * self.head**-0.5 + bias, itself[..., None]], dim=-1)
        weights = scores.softmax(-1)
        return weights[..., :-1] @ v[..., :frames, :] + weights[..., -1:] * v

    def _bias(self, back: Tensor, like: Tensor) -> Tensor:
        """The bias of keys so many frames back, `[B, heads, N, keys]`; -1 is hidden."""
        bias = self.distance.to(like.dtype)[:, self.window + back.clamp(min=0)].movedim(0, 1)
        return bias.masked_fill((back < 0)[:, None], -torch.inf)

    def _bias_between(self, frames: int, like: Tensor) -> Tensor:
        """Bias of query frame i for key frame j, `[heads, T, T]`; -inf on itself (scored apart), beyond the window, on a causal future."""
        index = torch.arange(frames, device=like.device)
        back = index[:, None] - index[None]
        hidden = (back == 0) | (back.abs() > self.window) | ((back < 0) if self.causal else False)
        bias = self.distance[:, (back.clamp(-self.window, self.window) + self.window)].to(like.dtype)
        return bias.masked_fill(hidden, -torch.inf)
