"""The stages a world model is made in: autoencoder, pretrain, causalize, post-train, self-context. Knows nothing about commands.

Vid2World's recipe at a small size: a bidirectional, action-free video diffusion model is pretrained, causalized with its
weights transferred, and post-trained with independent noise levels and action dropout; last, it learns to continue from its
own imperfect frames.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from worldsim.models.autoencoder import Autoencoder, to_pixels
from worldsim.models.video_unet import VideoUNet
from worldsim.training.latents import LatentClips
from worldsim.training.loss import Diffusion, causal_loss, joint_loss, self_generated


@dataclass(frozen=True)
class StageDefaults:
    """Optimizer steps, clips (or frames) per step, peak learning rate, and frames per clip."""

    iterations: int
    batch: int
    learning_rate: float
    clip: int = 12


STAGES = {
    "autoencoder": StageDefaults(9000, 32, 1.2e-3, 1),
    "pretrain": StageDefaults(261, 8, 1e-3),
    "causalize": StageDefaults(0, 8, 0.0),
    "post-train": StageDefaults(1433, 8, 1e-3),
    "self-context": StageDefaults(2511, 12, 8e-4),
}
BEFORE = {"pretrain": "autoencoder", "causalize": "pretrain", "post-train": "causalize", "self-context": "post-train"}


class VideoObjective:
    """The loss of one stage on clips of latents. `self_share` of the batches take their history from the model itself."""

    def __init__(
        self,
        network: VideoUNet,
        autoencoder: Autoencoder,
        clips: LatentClips,
        diffusion: Diffusion,
        *,
        batch: int,
        dropout: float,
        self_share: float = 0.0,
    ) -> None:
        self.model: nn.Module = network
        self.autoencoder, self.clips, self.diffusion = autoencoder, clips, diffusion
        self.batch, self.dropout, self.self_share = batch, dropout, self_share
        self.call = network

    def compile(self) -> None:
        """Evaluate through torch.compile from now on."""
        self.call = torch.compile(self.model)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Mean squared error of one batch of clips."""
        clean, actions = self._draw(self.batch, generator)
        if not self.model.config.causal:
            return joint_loss(self.call, clean, self.diffusion, generator)
        context = None
        if torch.rand((), generator=generator) < self.self_share:
            context = self_generated(self.call, clean, actions, self.diffusion, generator)
        return causal_loss(self.call, clean, actions, self.diffusion, generator, dropout=self.dropout, context=context)

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips where the model is: latents `[B, T, h, w, C]`, actions `[B, T, A]`."""
        device = next(self.model.parameters()).device
        clean, actions = self.clips.draw(count, generator)
        return clean.to(device), actions.to(device)

    @torch.no_grad()
    def preview(self, path: Path) -> None:
        """Four clips, each above itself with every second frame predicted in one step; before causalization, the clips alone."""
        generator = torch.Generator().manual_seed(0)
        clean, actions = self._draw(4, generator)
        shown = [clean]
        if self.model.config.causal:
            shown.append(self_generated(self.model, clean, actions, self.diffusion, generator))
        rows = [self._strip(latents[i]) for i in range(4) for latents in shown]
        Image.fromarray(np.concatenate(rows)).save(path)

    def _strip(self, latents: Tensor) -> np.ndarray:
        frames = to_pixels(self.autoencoder.decode(latents)).cpu().numpy()  # [T, H, W, 3]
        return np.concatenate(list(frames), axis=1)
