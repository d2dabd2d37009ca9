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
        faults: one line per lane, empty while all that was made in it are numbers.
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
    faults: tuple[str, ...]

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

    def faulted(self, broken: Tensor, fault: str) -> "LatentState":
        """The state in which the lanes where `broken`, bool `[B]`, have this fault, unless they have one already."""
        found = zip(self.faults, broken.tolist(), strict=True)
        return replace(self, faults=tuple(before or (fault if now else "") for before, now in found))

    def select(self, lanes: Sequence[int]) -> "LatentState":
        """Some lanes, in the given order."""
        index = torch.as_tensor(lanes, device=self.latents.device)
        cache = self.cache and self.cache.select(lanes)
        return self._mapped(lambda mine, _: mine[index], lambda mine, _: tuple(mine[lane] for lane in lanes), self, cache)

    def merge(self, lanes: Sequence[int], other: "LatentState") -> "LatentState":
        """This state with `lanes` replaced by the lanes of `other`."""
        index = torch.as_tensor(lanes, device=self.latents.device)

        def replaced(mine: Tensor, theirs: Tensor) -> Tensor:
            mine = mine.clone()
            mine[index] = theirs
            return mine

        def exchanged(mine: tuple, theirs: tuple) -> tuple:
            new = dict(zip(lanes, theirs, strict=True))
            return tuple(new.get(lane, value) for lane, value in enumerate(mine))

        return self._mapped(replaced, exchanged, other, self.cache and self.cache.merge(lanes, other.cache))

    def _mapped(self, tensors: Rows, tuples: Rows, other: "LatentState", cache: HistoryCache | None) -> "LatentState":
        names = ("latents", "held", "actions", "known", "length", "frame")
        rows = {name: tensors(getattr(self, name), getattr(other, name)) for name in names}
        rows |= {name: tuples(getattr(self, name), getattr(other, name)) for name in ("seeds", "faults")}
        context = {name: tensors(tensor, other.context[name]) for name, tensor in self.context.items()}
        return LatentState(**rows, context=context, cache=cache)
