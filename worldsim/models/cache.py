"""What a causal network remembers of past frames: per temporal layer, features computed once and reused by every later step and branch.

A layer keeps summaries, which each frame replaces, or a tape of the last frames. The newest frame sits in the last slot of a tape, and
`length` says per lane how many slots are filled. Knows nothing about the network that fills it.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.models.tape import Tape

Kept = tuple[Tensor | Tape, ...]


@dataclass(frozen=True)
class HistoryCache:
    """Per-lane memory: `length` int64 `[B]` and, for each temporal layer by name, summaries `[B, ...]` or tapes."""

    length: Tensor
    layers: dict[str, Kept]

    @cached_property
    def seen(self) -> dict[str, tuple[Tensor, ...]]:
        """The features of each layer as tensors: summaries as they are, tapes as views of their last frames."""
        return {name: tuple(each.seen if isinstance(each, Tape) else each for each in kept) for name, kept in self.layers.items()}

    @property
    def buffers(self) -> list[Tensor]:
        """All tensors that are held, `[B, ...]`, spare slots of the tapes included."""
        return [each.slots.tensor if isinstance(each, Tape) else each for kept in self.layers.values() for each in kept]

    @property
    def bytes_per_lane(self) -> int:
        """What a lane's memory takes."""
        return sum(tensor[:1].nbytes for tensor in self.buffers)

    def select(self, lanes: Sequence[int]) -> "HistoryCache":
        """The memory of some lanes, in the given order."""
        index = torch.as_tensor(lanes, device=self.length.device)
        picked = {
            name: tuple(each.select(index) if isinstance(each, Tape) else each[index] for each in kept)
            for name, kept in self.layers.items()
        }
        return HistoryCache(self.length[index], picked)

    def merge(self, lanes: Sequence[int], other: "HistoryCache") -> "HistoryCache":
        """This memory with `lanes` replaced by the rows of `other`; the rest is untouched."""
        index = torch.as_tensor(lanes, device=self.length.device)

        def replaced(mine: Tensor | Tape, theirs: Tensor | Tape) -> Tensor | Tape:
            if isinstance(mine, Tape):
                return mine.merge(index, theirs)
            mine = mine.clone()
            mine[index] = theirs
            return mine

        layers = {name: tuple(replaced(*pair) for pair in zip(kept, other.layers[name], strict=True)) for name, kept in self.layers.items()}
        return HistoryCache(replaced(self.length, other.length), layers)

    def empty(self) -> "HistoryCache":
        """A memory of this shape in which no frame is."""

        def blank(each: Tensor | Tape) -> Tensor | Tape:
            return each.zeros() if isinstance(each, Tape) else torch.zeros_like(each)

        return HistoryCache(blank(self.length), {name: tuple(map(blank, kept)) for name, kept in self.layers.items()})


class Memory:
    """One forward pass's view of history: hands each temporal layer its cached features and collects what it wants remembered.

    `lanes` worlds are evaluated `branches` times each (guidance): row `lane * branches + branch` of the batch. All branches of a lane
    read the same features.

    Attributes:
        keeps: whether this pass is to be remembered. One that is not (a denoising step) computes nothing for the frames to come.
        ahead: whether branch 0 is the newest frame of history and the others are the frame after it: one pass then writes the one and
            evaluates the others, which see it. A pass holds one frame then.
    """

    def __init__(
        self,
        cache: HistoryCache | None = None,
        *,
        lanes: int | None = None,
        branches: int = 1,
        keeps: bool = True,
        ahead: bool = False,
    ) -> None:
        self.cache, self.branches, self.keeps, self.ahead = cache, branches, keeps, ahead
        self.lanes = lanes if cache is None else len(cache.length)
        self._seen = None if cache is None else cache.seen
        self.written: dict[str, tuple[Tensor, ...]] = {}
        self.appended: dict[str, tuple[Tensor, ...]] = {}
        self._shared: dict[Hashable, Tensor] = {}

    def rows(self) -> int:
        """Rows of the batch."""
        return self.lanes * self.branches

    def per_branch(self, past: Tensor, newest: Tensor | None = None) -> Tensor:
        """Features `[lanes, ...]` as each branch is to read them, `[lanes, branches or 1, ...]`; `newest` is what branches ahead read."""
        if not self.ahead:
            return past[:, None]
        later = past if newest is None else newest
        return torch.cat([past[:, None], later[:, None].expand(-1, self.branches - 1, *later.shape[1:])], dim=1)

    def spread(self, past: Tensor, newest: Tensor | None = None) -> Tensor:
        """`per_branch` for every row of the batch, `[rows, ...]`."""
        each = self.per_branch(past, newest)
        return each.expand(-1, self.branches, *each.shape[2:]).flatten(0, 1)

    def history(self, features: Tensor) -> Tensor:
        """Of features `[rows, ...]` those of the history branch, `[lanes, ...]`."""
        return features.unflatten(0, (-1, self.branches))[:, 0]

    def once(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """What all layers of this pass compute alike, computed by the first of them."""
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    def read(self, layer: str) -> tuple[Tensor, ...] | None:
        """The features of `layer`, or None where this pass holds all frames itself."""
        return None if self._seen is None else self._seen[layer]

    def write(self, layer: str, *features: Tensor) -> None:
        """Remember `features` `[lanes, ...]` of `layer` in place of what was."""
        if self.keeps:
            self.written[layer] = features

    def append(self, layer: str, *features: Tensor) -> None:
        """Remember `features` `[lanes, ..., frames, d]` of `layer` behind those of the frames before."""
        if self.keeps:
            self.appended[layer] = features

    def after(self, frames: int, window: int) -> HistoryCache:
        """The cache that holds what this pass has written, `frames` frames later. History is one branch: no lane has two.

        Everything is copied: nothing of the pass, which may own its memory (CUDA graphs) or hold other branches in it, lives on.

        Raises:
            InvalidInput: several branches, a pass that keeps nothing, or a network without a layer that remembers.
        """
        if self.branches != 1 and not self.ahead:
            raise InvalidInput(f"a pass of {self.branches} branches cannot be remembered; evaluate the history in one")
        if not self.keeps:
            raise InvalidInput("this pass was told to keep nothing and cannot be remembered; give it Memory(keeps=True)")
        if not self.written and not self.appended:
            raise InvalidInput("this network has no layer over time, so there is nothing to remember; type history=recompute")
        kept: dict[str, Kept] = {
            name: tuple(each.clone(memory_format=torch.contiguous_format) for each in features) for name, features in self.written.items()
        }
        for name, features in self.appended.items():
            before = (None,) * len(features) if self.cache is None else self.cache.layers[name]
            kept[name] = tuple(Tape.of(new, window) if old is None else old.after(new) for old, new in zip(before, features, strict=True))
        tensor = next(iter((self.written or self.appended).values()))[0]
        start = torch.zeros(len(tensor), dtype=torch.int64, device=tensor.device) if self.cache is None else self.cache.length
        return HistoryCache((start + frames).clamp(max=window), kept)
