"""What a causal network remembers of past frames: per temporal layer, features computed once and reused by every later step and branch.

History is right-aligned: the newest frame sits in the last slot, and `length` says per lane how many slots are filled. Knows nothing
about the network that fills it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.errors import InvalidInput


@dataclass(frozen=True)
class HistoryCache:
    """Per-lane memory: `length` int64 `[B]` and, for each temporal layer by name, tensors `[B, ...]`."""

    length: Tensor
    layers: dict[str, tuple[Tensor, ...]]

    def select(self, lanes: Sequence[int]) -> "HistoryCache":
        """The memory of some lanes, in the given order."""
        index = torch.as_tensor(lanes, device=self.length.device)
        return HistoryCache(self.length[index], {name: tuple(t[index] for t in tensors) for name, tensors in self.layers.items()})

    def merge(self, lanes: Sequence[int], other: "HistoryCache") -> "HistoryCache":
        """This memory with `lanes` replaced by the rows of `other`; the rest is untouched."""
        index = torch.as_tensor(lanes, device=self.length.device)

        def replaced(mine: Tensor, theirs: Tensor) -> Tensor:
            mine = mine.clone()
            mine[index] = theirs
            return mine

        layers = {
            name: tuple(replaced(*pair) for pair in zip(tensors, other.layers[name], strict=True)) for name, tensors in self.layers.items()
        }
        return HistoryCache(replaced(self.length, other.length), layers)


class Memory:
    """One forward pass's view of history: hands each temporal layer its cached features and collects what it wants remembered.

    `lanes` worlds are evaluated `branches` times each (guidance): row `lane * branches + branch` of the batch. All branches of a lane
    read the same features.
    """

    def __init__(self, cache: HistoryCache | None = None, *, lanes: int | None = None, branches: int = 1) -> None:
        self.cache, self.branches = cache, branches
        self.lanes = lanes if cache is None else len(cache.length)
        self.written: dict[str, tuple[Tensor, ...]] = {}

    def rows(self) -> int:
        """Rows of the batch."""
        return self.lanes * self.branches

    def spread(self, features: Tensor) -> Tensor:
        """Features `[lanes, ...]` for every row of the batch."""
        return features.repeat_interleave(self.branches, dim=0) if self.branches > 1 else features

    def read(self, layer: str) -> tuple[Tensor, ...] | None:
        """The features of `layer`, or None where this pass holds all frames itself."""
        return None if self.cache is None else self.cache.layers[layer]

    def write(self, layer: str, *features: Tensor) -> None:
        """Remember `features` of `layer` for the frames to come."""
        self.written[layer] = features

    def after(self, frames: int, window: int) -> HistoryCache:
        """The cache that holds what this pass has written, `frames` frames later. History is one branch: no lane has two."""
        if self.branches != 1:
            raise InvalidInput(f"a pass of {self.branches} branches cannot be remembered; evaluate the history in one")
        tensors = next(iter(self.written.values()))
        start = torch.zeros(len(tensors[0]), dtype=torch.int64, device=tensors[0].device) if self.cache is None else self.cache.length
        return HistoryCache((start + frames).clamp(max=window), self.written)
