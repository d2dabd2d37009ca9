"""Learn to tell success from failure on the last frames of episodes. Knows nothing about who labelled them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.autoencoder import to_unit
from worldsim.training.wear import worn


def last_frames(end: int, count: int) -> np.ndarray:
    """Indices of the last `count` frames up to frame `end`; before the episode's first frame it stands still."""
    return np.arange(end - count + 1, end + 1).clip(min=0)


@dataclass(frozen=True)
class LabelledClips:
    """Clips of `k` frames each with a label, and a number that the label was read off, where there is one.

    Attributes:
        frames: uint8 `[M, H, W, 3]`, each once.
        rows: which of them each clip shows, `[N, k]`.
        labels: bool `[N]`.
        values: float `[N]`, NaN where the label says no number.
        groups: name of what each clip was taken from, `[N]`: what must not stand on both sides of a split.
        final: whether the clip ends where its episode ends, bool `[N]`.
    """

    frames: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    groups: np.ndarray
    final: np.ndarray

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.labels)

    def show(self, which: np.ndarray) -> np.ndarray:
        """The pictures of some clips, uint8 `[n, k, H, W, 3]`."""
        return self.frames[self.rows[which]]

    def only(self, which: np.ndarray) -> "LabelledClips":
        """Some of the clips, by number or mask."""
        parts = (getattr(self, name)[which] for name in ("rows", "labels", "values", "groups", "final"))
        return LabelledClips(self.frames, *parts)

    def require_both(self, what: str) -> None:
        """Refuse clips of one kind.

        Raises:
            InvalidInput: no clip, no success or no failure among them.
        """
        if not self.labels.any() or self.labels.all():
            counts = f"{int(self.labels.sum())} successes and {int((~self.labels).sum())} failures"
            raise InvalidInput(f"the {what} episodes hold {counts}, expected some of both; add episodes, or labels")


class Judging:
    """Cross entropy of the first output with the labels, on worn clips; a second output, if there is one, learns the values.

    Where values are known, half of each batch is drawn from the quarter of the clips nearest to `boundary`, where mistakes are made.
    """

    def __init__(self, model: nn.Module, clips: LabelledClips, boundary: float, scale: float, *, batch: int = 64, shift: int = 0) -> None:
        """Values are learned as (value - `boundary`) / `scale`; `shift` as in `worn`."""
        self.model, self.clips, self.batch, self.shift = model, clips, batch, shift
        self._targets = ((clips.values - boundary) / scale).astype(np.float32)
        distance = np.abs(self._targets)
        self._near = np.flatnonzero(distance <= np.quantile(distance, 0.25)) if np.isfinite(distance).all() else None

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Numbers of the clips of one batch."""
        if self._near is None:
            return rng.integers(len(self.clips), size=self.batch)
        return np.concatenate([rng.integers(len(self.clips), size=self.batch // 2), rng.choice(self._near, self.batch - self.batch // 2)])

    def loss(self, generator: torch.Generator) -> Tensor:
        """Mean error of one batch."""
        which = self.draw(np.random.default_rng(torch.randint(2**62, (1,), generator=generator).item()))
        device = next(self.model.parameters()).device
        said = self.model(worn(to_unit(torch.from_numpy(self.clips.show(which))), generator, self.shift).to(device)).float()
        labels = torch.from_numpy(self.clips.labels[which].astype(np.float32)).to(device)
        loss = F.binary_cross_entropy_with_logits(said[:, 0], labels)
        if said.shape[1] == 1:
            return loss
        return loss + F.smooth_l1_loss(said[:, 1], torch.from_numpy(self._targets[which]).to(device), beta=0.1)

    def preview(self, path: Path) -> None:
        """There is no picture to show."""
