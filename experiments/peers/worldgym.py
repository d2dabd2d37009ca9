"""WorldGym's diffusion transformer (Quevedo et al. 2025), from a checkout of it and made small: its sampler, timed as it is."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worldsim.errors import INSTALL, MissingDependency
from worldsim.experiments.peers.borrowed import imported, importing_from, require_files
from worldsim.experiments.peers.ours import OwnModel, Setting, wake
from worldsim.experiments.peers.timing import Contender
from worldsim.models.checkpoint import parameter_count
from worldsim.models.video_unet import VideoUNetConfig

COMMIT, SOURCE = "83c0571", "world-model-eval/world-model-eval"
STEPS, WINDOW, ACTION, LATENT, PATCH = 10, 16, 10, (16, 16, 4), 2
SMALL = {"dim": 256, "num_layers": 2, "num_heads": 4, "max_frames": WINDOW, "patch_size": PATCH}
OURS = {
    f"patches of {patch}": OwnModel(
        VideoUNetConfig(latent_channels=LATENT[2], latent_size=LATENT[0], action_size=ACTION, window=WINDOW - 1, patch=patch)
    )
    for patch in (PATCH, 1)  # as many positions as the peer looks at, and four times as many
}
SETTINGS = (Setting(STEPS, guided=False),)


@dataclass(frozen=True)
class WorldGym:
    """Its transformer and its sampler."""

    model: nn.Module
    diffusion: Any

    @property
    def parameters(self) -> int:
        """Of the transformer."""
        return parameter_count(self.model)

    def facts(self) -> dict[str, Any]:
        """What the numbers depend on, as JSON."""
        return {"steps": STEPS, "window": WINDOW, "latent": list(LATENT), "patch": PATCH, "space": "latents", "size": "2 layers x 256"}

    def running(self, lanes: int) -> Contender:
        """The last frame of a full window, for each lane."""
        wake(self.model)
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(lanes, WINDOW, *LATENT, generator=generator)
        actions = 2 * torch.rand(lanes, WINDOW, ACTION, generator=generator) - 1
        return Contender(lambda: self.continued(latents[:, :-1], actions), lanes)

    @torch.no_grad()
    def continued(self, latents: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Frames `[B, T0, h, w, C]` and `actions` `[B, T, A]` into all of T frames, to T frames."""
        known, frames = latents.shape[1], actions.shape[1]
        return self.diffusion.generate(self.model, latents, actions, n_context_frames=known, n_frames=frames)


def load(path: str, *, channels: int = LATENT[2], action: int = ACTION) -> WorldGym:
    """WorldGym's transformer, freshly initialised at the small size, from the checkout at `path`.

    Raises:
        PeerMissing, InvalidInput: no checkout, or one of another commit.
        MissingDependency: it needs einops, which we do not.
    """
    folder = Path(path)
    require_files(folder, "diffusion.py", "worldgym", SOURCE)
    try:
        import einops  # noqa: F401  loaded beforehand, so that it stays loaded
    except ImportError as error:
        raise MissingDependency(f"worldgym needs einops; type: {INSTALL} einops") from error
    from tqdm import tqdm

    with importing_from(folder, ("model", "diffusion")):
        (transformer,) = imported("model", "worldgym", COMMIT, "DiT")
        (diffusion,) = imported("diffusion", "worldgym", COMMIT, "Diffusion")
        sys.modules["diffusion"].tqdm = partial(tqdm, disable=True)  # what TQDM_DISABLE=1 does where tqdm is not loaded yet
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = transformer(in_channels=channels, action_dim=action, **SMALL)
    return WorldGym(model, diffusion(sampling_timesteps=STEPS))
