"""One noise level per frame for the U-Nets of diffusers, which take one per clip. Knows nothing about causality.

These networks embed a level per clip and repeat it for each frame. Here the embedding per clip becomes zero, and each block is
handed the sum of what else was added to it (frame rate, sizes) and the embedding of each frame's own level.
"""

from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput


class FrameLevels:
    """What stands between a U-Net and its blocks: `timestep` may be a number, `[B]` or `[B, T]`.

    Attributes:
        extra: `[B, T, E]` added to the embedding of each frame, such as that of the action that led into it; None for nothing.
    """

    def __init__(self, axis: int) -> None:
        self.axis, self.extra = axis, None
        self._waves: Tensor | None = None  # [B*T, waves] of the levels in this pass
        self._embedding: Tensor | None = None  # [B*T, E]
        self._shape = (0, 0)

    @classmethod
    def install(cls, unet: nn.Module, axis: int) -> "FrameLevels":
        """Let `unet` take a level per frame; `axis` is that of time in its `sample`. The result is also `unet.frame_levels`."""
        levels = unet.frame_levels = cls(axis)
        unet.register_forward_pre_hook(levels._begin, with_kwargs=True)
        unet.register_forward_hook(levels._end, always_call=True)
        unet.time_embedding.register_forward_hook(levels._embed)
        middle = [] if unet.mid_block is None else [unet.mid_block]
        for block in (*unet.down_blocks, *middle, *unet.up_blocks):
            block.register_forward_pre_hook(levels._add, with_kwargs=True)
        return levels

    def _begin(self, unet: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        given = dict(zip(("sample", "timestep"), args, strict=False)) | kwargs
        sample = given["sample"]
        self._shape = (len(sample), sample.shape[self.axis])
        levels = self._per_frame(torch.as_tensor(given["timestep"], device=sample.device))
        self._waves = unet.time_proj(levels.flatten())
        if len(args) > 1:
            return (args[0], levels[:, 0], *args[2:]), kwargs
        return args, kwargs | {"timestep": levels[:, 0]}

    def _per_frame(self, timestep: Tensor) -> Tensor:
        rows, frames = self._shape
        if timestep.ndim == 1 and len(timestep) in (1, rows):
            return timestep[:, None].expand(self._shape)
        if timestep.ndim == 0 or timestep.shape == self._shape:
            return timestep.expand(self._shape)
        raise InvalidInput(f"timestep is {list(timestep.shape)}, expected a number, [{rows}] or one for each frame, [{rows}, {frames}]")

    def _embed(self, embedding: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
        if self._waves is None:
            return None
        condition = [None if each is None else each.repeat_interleave(self._shape[1], dim=0) for each in args[1:]]
        emb = embedding.forward(self._waves.to(args[0]), *condition)
        if self.extra is not None:
            expected = [*self._shape, emb.shape[-1]]
            if list(self.extra.shape) != expected:
                raise InvalidInput(f"frame_levels.extra is {list(self.extra.shape)}, expected {expected}: one embedding for each frame")
            emb = emb + self.extra.flatten(0, 1).to(emb)
        self._embedding = emb
        return torch.zeros_like(output)

    def _add(self, block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        if self._embedding is None:
            return None
        if "temb" in kwargs:
            return args, kwargs | {"temb": kwargs["temb"] + self._embedding}
        return (args[0], args[1] + self._embedding, *args[2:]), kwargs

    def _end(self, unet: nn.Module, args: tuple, output: Any) -> None:
        self._waves = self._embedding = None
