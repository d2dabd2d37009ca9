"""The stages a world model is made in: autoencoder, pretrain, causalize, posttrain, self-context, distill, heads. Knows no commands.

Vid2World's recipe at a small size: a bidirectional, action-free video diffusion model is pretrained, causalized with its
weights transferred, and post-trained with independent noise levels and action dropout; then it learns to continue from its
own imperfect frames. Distillation to fewer sampling steps (`worldsim.training.distill`) may come last, and heads for depth and motion
(`worldsim.training.geometry`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from worldsim.models.autoencoder import FrameCoder, to_pixels
from worldsim.models.network import VideoNetwork
from worldsim.training.loss import Diffusion, causal_loss, every_second, forcing_loss, joint_loss, self_generated


@dataclass(frozen=True)
class StageDefaults:
    """Optimizer steps, clips (or frames) per step, peak learning rate, and frames per clip."""

    steps: int
    batch: int
    learning_rate: float
    clip: int = 12


STAGES = {
    "autoencoder": StageDefaults(9000, 32, 1.2e-3, 1),
    "pretrain": StageDefaults(261, 8, 1e-3),
    "causalize": StageDefaults(0, 8, 1e-3),
    "posttrain": StageDefaults(1433, 8, 1e-3),
    "self-context": StageDefaults(2511, 12, 8e-4),
    "distill": StageDefaults(200, 6, 3e-4),
    "heads": StageDefaults(600, 8, 1e-3),
}
BEFORE = {  # a stage begins at the first of these that has been trained
    "pretrain": ("autoencoder",),
    "causalize": ("pretrain",),
    "posttrain": ("causalize",),
    "self-context": ("posttrain",),
    "distill": ("self-context", "posttrain"),
    "heads": ("self-context", "posttrain"),
}


@dataclass(frozen=True)
class VideoOptions:
    """How a video network is trained.

    Attributes:
        batch: clips per step.
        dropout: share of frames whose action is hidden.
        objective: of a causal network, "two-stream" or "forcing"; see `worldsim.training.loss`.
        self_share: share of the batches that take their history from the model itself.
        image_dropout: share of the clips that are not told their first image.
    """

    batch: int
    dropout: float
    objective: str = "two-stream"
    self_share: float = 0.0
    image_dropout: float = 0.0


class Clips(Protocol):
    """Where clips come from."""

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents `[count, T, h, w, C]` and the normalised actions into each frame `[count, T, A]`."""


class Evaluated:
    """A network seen through another way to call it (compiled, or spread over processes); attributes are the network's own."""

    def __init__(self, call: Callable[..., Tensor], network: VideoNetwork) -> None:
        self._call, self._network = call, network

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Evaluate."""
        return self._call(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


class VideoObjective:
    """The loss of one stage on clips of latents. `call` evaluates the network; the loop may put a distributed one there."""

    def __init__(self, network: VideoNetwork, autoencoder: FrameCoder, clips: Clips, diffusion: Diffusion, options: VideoOptions) -> None:
        self.model: nn.Module = network
        self.autoencoder, self.clips, self.diffusion, self.options = autoencoder, clips, diffusion, options
        self.call = network

    def compile(self) -> None:
        """Evaluate through torch.compile from now on."""
        self.call = torch.compile(self.model)

    def loss(self, generator: torch.Generator) -> Tensor:
        """Mean squared error of one batch of clips."""
        options, net = self.options, self.model
        clean, actions = self._draw(options.batch, generator)
        if not net.causal:
            return joint_loss(self._called(), clean, self.diffusion, generator)
        context = self._context(clean, generator)
        if options.objective == "forcing":
            return forcing_loss(self._called(), clean, actions, self.diffusion, generator, dropout=options.dropout, context=context)
        history = None
        if torch.rand((), generator=generator) < options.self_share:
            history = self_generated(self._called(), clean, actions, self.diffusion, generator, context)
        given = {"dropout": options.dropout, "history": history, "context": context}
        return causal_loss(self._called(), clean, actions, self.diffusion, generator, **given)

    def _called(self) -> "Evaluated":
        return Evaluated(self.call, self.model)

    def _context(self, clean: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        """What the network is told about the first frame: as the autoencoder shows it, or, now and then, a grey picture.

        A gradient flows through a network's own encoder, and through nothing else.
        """
        with torch.no_grad():
            first = clean[:, 0]
            if self.model.needs_pixels:
                first = self.autoencoder.decode(clean[:, 0]).clamp(-1, 1)
                kept = (torch.rand(len(first), generator=generator) >= self.options.image_dropout).to(first)
                first = first * kept[:, None, None, None]
        learns = torch.is_grad_enabled() and getattr(self.model, "encoder", None) is not None
        with torch.set_grad_enabled(learns):
            return self.model.context_for(first, clean[:, 0])

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
        if self.model.causal:
            guess = self_generated if self.model.two_streams else every_second
            shown.append(guess(self.model, clean, actions, self.diffusion, generator, self._context(clean, generator)))
        rows = [self._strip(latents[i]) for i in range(4) for latents in shown]
        Image.fromarray(np.concatenate(rows)).save(path)

    def _strip(self, latents: Tensor) -> np.ndarray:
        frames = to_pixels(self.autoencoder.decode(latents)).cpu().numpy()  # [T, H, W, 3]
        return np.concatenate(list(frames), axis=1)
