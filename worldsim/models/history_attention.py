"""Attention over time with a memory: new frames look at cached keys and at one another, and no history is copied. Knows no network."""

import torch
from torch import Tensor

from worldsim.models.cache import Memory


def attend_to_history(q: Tensor, k: Tensor, v: Tensor, past: tuple[Tensor, ...], bias: Tensor) -> Tensor:
    """Attention of the new frames of all branches of a lane to the frames before them and to one another, or each to itself.

    Args:
        q: `[B, P, heads, N, d]`, N = branches * frames at each of P positions.
        k: like `q`.
        v: like `q`.
        past: cached keys and values `[B, P, heads, W, d]`, which all branches share.
        bias: added to the scores, `[B, heads or 1, N, W + N]`, or `[B, heads or 1, N, W + 1]` where a new frame sees no other; -inf hides.

    Returns:
        Like `q`.
    """
    keys, values = past
    count, alone = keys.shape[-2], bias.shape[-1] == keys.shape[-2] + 1
    q = q * q.shape[-1] ** -0.5
    own = (q * k).sum(-1, keepdim=True) if alone else q @ k.transpose(-1, -2)
    scores = (keys @ q.transpose(-1, -2)).transpose(-1, -2)  # on a CPU quicker than q by the transposed keys, which lie as they were kept
    scores = torch.cat([scores, own.to(scores.dtype)], dim=-1) + bias[:, None]
    weights = scores.softmax(-1).to(v.dtype)
    seen, own = weights[..., :count], weights[..., count:]
    return seen @ values + (own * v if alone else own @ v)


def frames_back(memory: Memory, frames: int, window: int) -> Tensor:
    """How many frames before each new frame each key lies: int64 `[lanes, N, window + N]`, N = branches * frames.

    Keys are the `window` cached slots, then the new frames themselves, branch by branch; `[lanes, N, window + 1]` with the frame itself
    alone where each branch has one frame and sees no other. What a frame must not see, because it is later, too far back, an empty slot
    or of another branch, is -1. With a memory that is `ahead`, the others see branch 0 one frame back.
    """
    return memory.once(("frames_back", frames, window), lambda: _frames_back(memory, frames, window))


def _frames_back(memory: Memory, frames: int, window: int) -> Tensor:
    device = memory.cache.length.device
    branch = torch.arange(memory.branches, device=device).repeat_interleave(frames)  # of each new frame
    time = torch.arange(frames, device=device).repeat(memory.branches) + (branch > 0 if memory.ahead else 0)
    slot = torch.arange(-window, 0, device=device)  # the newest cached frame is at -1
    filled = (-slot <= memory.cache.length[:, None])[:, None]  # [lanes, 1, window]
    cached = (time[:, None] - slot).masked_fill(~filled, -1)  # [lanes, N, window]
    if frames == 1 and not memory.ahead:
        own = torch.zeros_like(time)[:, None]
    else:
        together = (branch[:, None] == branch) | ((branch == 0) if memory.ahead else False)
        own = (time[:, None] - time).masked_fill(~together, -1)
    back = torch.cat([cached, own.expand(memory.lanes, -1, -1)], dim=-1)
    return back.masked_fill(back > window, -1)
