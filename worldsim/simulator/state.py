"""Lanes of imagined worlds as a value: the last frames as latents, what led into them, and the features of all frames before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worldsim.models.cache import HistoryCache

Rows = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class LatentState:
    """B lanes. The last L frames stand right-aligned: the newest is in the last slot, and `length` slots of a lane are filled.

    Attributes:
        latents: `[B, L, h, w, C]`, clean.
        held: the same frames as history holds them, at the history level, `[B, L, h, w, C]`.
        actions: normalised actions into the frames, `[B, L, A]`.
        known: 0 where no action led into a frame, `[B, L]`.
        length: `[B]`.
        frame: index of the newest frame, `[B]`.
        context: what the network is told about the first frame, rows per lane.
        cache: features of the frames before the newest; None where they are computed anew.
        seeds: one per lane.
    """

    latents: Tensor
    held: Tensor
    actions: Tensor
    known: Tensor
    length: Tensor
    frame: Tensor
    context: Mapping[str, Tensor]
    cache: HistoryCache | None
    seeds: tuple[int, ...]

    @property
    def latest(self) -> Tensor:
        """The newest frame as a latent, `[B, h, w, C]`."""
        return self.latents[:, -1]

    def pushed(self, latent: Tensor, held: Tensor, action: Tensor, known: Tensor, *, cache: HistoryCache | None = None) -> "LatentState":
        """The state one frame later, the oldest frame dropped."""

        def slide(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old[:, 1:], new[:, None]], dim=1)

        return replace(
            self,
            latents=slide(self.latents, latent),
            held=slide(self.held, held),
            actions=slide(self.actions, action),
            known=slide(self.known, known),
            length=(self.length + 1).clamp(max=self.latents.shape[1]),
            frame=self.frame + 1,
            cache=cache,
        )

    def select(self, lanes: Sequence[int]) -> "LatentState":
        """Some lanes, in the given order."""
        index = torch.as_tensor(lanes, device=self.latents.device)
        cache = self.cache and self.cache.select(lanes)
        return self._mapped(lambda mine, _: mine[index], self, cache, tuple(self.seeds[lane] for lane in lanes))

    def merge(self, lanes: Sequence[int], other: "LatentState") -> "LatentState":
        """This state with `lanes` replaced by the lanes of `other`."""
        index, seeds = torch.as_tensor(lanes, device=self.latents.device), list(self.seeds)
        for lane, seed in zip(lanes, other.seeds, strict=True):
            seeds[lane] = seed

        def replaced(mine: Tensor, theirs: Tensor) -> Tensor:
            mine = mine.clone()
            mine[index] = theirs
            return mine

        cache = self.cache and self.cache.merge(lanes, other.cache)
        return self._mapped(replaced, other, cache, tuple(seeds))

    def _mapped(self, change: Rows, other: "LatentState", cache: HistoryCache | None, seeds: tuple[int, ...]) -> "LatentState":
        names = ("latents", "held", "actions", "known", "length", "frame")
        rows = {name: change(getattr(self, name), getattr(other, name)) for name in names}
        context = {name: change(tensor, other.context[name]) for name, tensor in self.context.items()}
        return LatentState(**rows, context=context, cache=cache, seeds=seeds)
