"""The newest frames' features of several lanes: preallocated slots, written in place, and yet a value. Knows no network."""

from dataclasses import dataclass

import torch
from torch import Tensor


class _Slots:
    """A buffer `[B, ..., slots, d]` that tapes share, and how many of its slots somebody has written."""

    def __init__(self, tensor: Tensor, used: int) -> None:
        self.tensor, self.used = tensor, used


@dataclass(frozen=True)
class Tape:
    """Features of the last `frames` frames of B lanes.

    The buffer has room for half as many frames more. A new frame is written behind the newest, where no earlier tape looks; what finds
    that place taken (a second future of one past) or no room left moves what it sees to a buffer of its own. So a frame costs one slot to
    write and two to move, whatever the window, and no tape ever changes.
    """

    slots: _Slots
    end: int
    frames: int

    @classmethod
    def of(cls, features: Tensor, frames: int) -> "Tape":
        """A tape that ends with `features` `[B, ..., n, d]`; slots before them hold zeros."""
        newest = features[..., -frames:, :]
        shape = list(newest.shape)
        shape[-2] = frames + max(1, frames // 2)
        buffer = newest.new_zeros(shape)
        buffer[..., frames - newest.shape[-2] : frames, :] = newest
        return cls(_Slots(buffer, frames), frames, frames)

    @property
    def seen(self) -> Tensor:
        """A view `[B, ..., frames, d]`, the newest frame last."""
        return self.slots.tensor[..., self.end - self.frames : self.end, :]

    def after(self, features: Tensor) -> "Tape":
        """The tape with `features` `[B, ..., n, d]` of n new frames at its end."""
        end = self.end + features.shape[-2]
        free = self.slots.used == self.end and end <= self.slots.tensor.shape[-2] and not features.requires_grad
        if not free:
            return Tape.of(torch.cat([self.seen, features], dim=-2), self.frames)
        self.slots.tensor[..., self.end : end, :] = features
        self.slots.used = end
        return Tape(self.slots, end, self.frames)

    def select(self, index: Tensor) -> "Tape":
        """Some lanes, in the order of `index`."""
        return Tape.of(self.seen[index], self.frames)

    def merge(self, index: Tensor, other: "Tape") -> "Tape":
        """This tape with the lanes of `index` replaced by those of `other`."""
        seen = self.seen.clone()
        seen[index] = other.seen
        return Tape.of(seen, self.frames)

    def zeros(self) -> "Tape":
        """A tape of this shape without a frame."""
        return Tape.of(torch.zeros_like(self.seen), self.frames)
