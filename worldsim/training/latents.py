"""Recorded episodes as latents in memory, with the actions that lead into each frame. Knows nothing about losses."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldsim.data.actions import normalise
from worldsim.data.files import digest_of, written_whole
from worldsim.data.windows import Windows, windows_over
from worldsim.models.autoencoder import Autoencoder, to_unit
from worldsim.types import ActionSpec, Trajectory


@dataclass(frozen=True)
class LatentClips:
    """Latents float16 `[F, h, w, C]` of all frames in a row, `actions` float32 `[F, A]` into each (0 for a first frame), and windows."""

    latents: Tensor
    actions: Tensor
    windows: Windows

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips: latents float32 `[count, T, h, w, C]` and actions `[count, T, A]`."""
        return self.at(self.rows(count, generator))

    def rows(self, count: int, generator: torch.Generator) -> Tensor:
        """The frames that `draw` takes, int64 `[count, T]`."""
        return torch.from_numpy(self.windows.draw(count, generator))

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and actions of the frames at `rows` `[count, T]`."""
        return self.latents[rows].float(), self.actions[rows]


def encode_trajectories(
    model: Autoencoder,
    trajectories: Sequence[Trajectory],
    spec: ActionSpec,
    length: int,
    *,
    focus: Sequence[str] = (),
    keep: Path | None = None,
) -> LatentClips:
    """Encode every frame once; `keep` is a folder that remembers the result by what it was made from."""
    actions = [np.concatenate([np.zeros((1, spec.size), np.float32), normalise(t.actions, spec)]) for t in trajectories]
    seen = [hashlib.sha256(np.ascontiguousarray(t.frames)).hexdigest() for t in trajectories]
    key = digest_of([*seen, _fingerprint(model)])
    kept = keep and keep / f"latents-{key}.safetensors"
    if kept and kept.exists():
        latents = load_file(kept)["latents"]
    else:
        latents = torch.cat([encode_frames(model, trajectory.frames).half() for trajectory in trajectories])
        if kept:
            with written_whole(kept) as aside:
                save_file({"latents": latents}, aside)
    return LatentClips(latents, torch.from_numpy(np.concatenate(actions)), windows_over(trajectories, length, focus))


def _fingerprint(model: Autoencoder) -> str:
    """A hash of every weight."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def encode_frames(model: Autoencoder, frames: np.ndarray) -> Tensor:
    """Frames uint8 `[N, H, W, 3]` to latents float32 `[N, h, w, C]`."""
    device = next(model.parameters()).device
    return model.encode(to_unit(torch.from_numpy(frames)).to(device)).float().cpu()
