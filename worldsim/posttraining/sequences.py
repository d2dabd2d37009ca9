"""What is learned from, in memory: clips of latents, or two versions of each, with the frames that count. Knows no network and no file."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B clips of T frames in V versions (1, or chosen and rejected).

    Attributes:
        versions: latents float32 `[V, B, T, h, w, C]`.
        actions: normalised, into each frame, `[B, T, A]`.
        mask: the frames that count, bool `[B, T]`.
        weights: of each frame, `[B, T]`.
    """

    versions: Tensor
    actions: Tensor
    mask: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(*(each.to(device) for each in (self.versions, self.actions, self.mask, self.weights)))


@dataclass(frozen=True)
class Sequences:
    """N sequences of L frames, of which batches are cut; fields as of a `Batch`, latents in float16."""

    versions: Tensor
    actions: Tensor
    mask: Tensor
    weights: Tensor

    def draw(self, count: int, length: int, generator: torch.Generator) -> Batch:
        """Windows of at most `length` frames, each with a frame that counts; a window's own first frame never does, it has no past."""
        frames = self.mask.shape[1]
        length = min(length, frames)
        rows = torch.randint(len(self.actions), (count,), generator=generator)
        first = self.mask[rows].int().argmax(1)  # [count], the first frame that counts
        low = (first - length + 1).clamp(min=0)
        high = torch.full_like(low, frames - length)
        begin = (low + (torch.rand(count, generator=generator) * (high - low + 1)).long()).clamp(max=high)
        at = begin[:, None] + torch.arange(length)  # [count, T]
        mask = self.mask[rows[:, None], at]
        mask[:, 0] = False
        return Batch(self.versions[:, rows[:, None], at].float(), self.actions[rows[:, None], at], mask, self.weights[rows[:, None], at])


def parted(first: Tensor, second: Tensor, given: int) -> Tensor:
    """From where on two versions `[N, L, ...]` of each sequence differ, at the earliest after `given` frames; bool `[N, L]`."""
    differs = (first != second).flatten(2).any(2)
    differs[:, :given] = False
    return differs.cumsum(1) > 0


def after(given: int, count: int, frames: int) -> Tensor:
    """True after the first `given` of so many frames, bool `[count, frames]`."""
    return (torch.arange(frames) >= given).expand(count, frames).clone()
