"""The objective that the training loop follows: a batch, the same noise and levels for all sides, and one of the modes. Knows no file.

Chosen and rejected clip, network and reference all see the same noise, the same levels and the same hidden actions: they differ in nothing
that chance decides. Actions are hidden at the rate of training, or guidance would be unlearned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.models.autoencoder import FrameCoder
from worldsim.models.network import VideoNetwork
from worldsim.posttraining.objectives import MODES, Preference, clip_error, dpo_loss, rwr_loss, sft_loss
from worldsim.posttraining.sequences import Batch, Sequences
from worldsim.posttraining.trainable import Reference
from worldsim.training.loss import Diffusion, Draw, causal_draw, causal_residual, forcing_draw, forcing_residual
from worldsim.training.stages import Evaluated, VideoObjective, VideoOptions


@dataclass(frozen=True)
class PostOptions:
    """How a network is post-trained.

    Attributes:
        mode: sft, rwr, dpo or grpo.
        batch: clips, or pairs, per step.
        clip: frames of a clip at most.
        dropout, image_dropout: shares of frames and clips trained without their action and without the first image.
        beta: weight of the reference: of a difference of errors in dpo, of the divergence in grpo.
        lambda_sft: weight of the chosen clip's own error in dpo.
        epsilon: clipping range of grpo's ratio.
    """

    mode: str
    batch: int
    clip: int = 12
    dropout: float = 0.1
    image_dropout: float = 0.0
    beta: float = 500.0
    lambda_sft: float = 0.0
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidInput(f"mode is {self.mode}, expected one of {', '.join(MODES)}")
        if self.beta < 0 or self.epsilon <= 0:
            raise InvalidInput(f"beta={self.beta} and epsilon={self.epsilon}, expected beta from 0 and epsilon above 0")


class PostTraining(VideoObjective):
    """sft, rwr and dpo on clips of latents. `seen` holds what the last batch showed, as numbers by TRL's names."""

    def __init__(
        self,
        network: VideoNetwork,
        reference: Reference,
        autoencoder: FrameCoder,
        clips: Sequences,
        diffusion: Diffusion,
        options: PostOptions,
    ) -> None:
        """`clips` are `Sequences`, of two versions for dpo."""
        shared = VideoOptions(options.batch, options.dropout, image_dropout=options.image_dropout)
        super().__init__(network, autoencoder, clips, diffusion, shared)
        self.reference, self.how = reference, options
        self.seen: dict[str, float] = {}

    def loss(self, generator: torch.Generator) -> Tensor:
        """The mode's loss of one batch."""
        batch = self.clips.draw(self.how.batch, self.how.clip, generator).to(next(self.model.parameters()).device)
        own, reference = self.residuals(batch, generator)
        errors = own.square().mean((3, 4, 5))  # [V, B, T]
        loss, seen = self._judged(batch, errors, reference.square().mean((3, 4, 5)))
        moved = (own.detach() - reference).square().mean((3, 4, 5))
        self.seen = {name: value.item() for name, value in seen.items()}
        self.seen["kl_proxy"] = torch.stack([clip_error(each, batch.mask).mean() for each in moved]).mean().item()
        return loss

    def _judged(self, batch: Batch, errors: Tensor, reference: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self.how.mode == "dpo":
            return dpo_loss(Preference(*errors, *reference), batch.mask, self.how.beta, self.how.lambda_sft)
        weighted = rwr_loss(errors[0], batch.mask, batch.weights) if self.how.mode == "rwr" else sft_loss(errors[0], batch.mask)
        return weighted, {"error": sft_loss(errors[0], batch.mask).detach(), "reference_error": sft_loss(reference[0], batch.mask)}

    def residuals(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What network and reference miss of each version, `[V, B, T, h, w, C]`, on one draw of noise, levels and hidden actions."""
        versions, count = len(batch.versions), len(batch.actions)
        draw = self._chance(batch, generator)
        kept = (torch.rand(count, generator=generator) >= self.how.image_dropout).to(batch.versions)
        clean, actions = batch.versions.flatten(0, 1), batch.actions.repeat(versions, 1, 1)
        draw, first = _repeated(draw, versions), self._first(clean, kept.repeat(versions))
        return tuple(
            self._residual(network, clean, actions, draw, network.context_for(first, clean[:, 0])).unflatten(0, (versions, count))
            for network in (self._called(), self.reference)
        )

    def _chance(self, batch: Batch, generator: torch.Generator) -> Draw:
        """One draw for all versions; in a network of one stream frames that do not count are held nearly clean, as history is."""
        like = batch.versions[0]
        if self.model.two_streams:
            return causal_draw(like, self.diffusion, self.how.dropout, generator)
        draw = forcing_draw(like, self.how.dropout, generator)
        nearly_clean = torch.rand(draw.level.shape, generator=generator).to(like) * self.diffusion.context_level
        return replace(draw, level=torch.where(batch.mask, draw.level, nearly_clean))

    @torch.no_grad()
    def _first(self, clean: Tensor, kept: Tensor) -> Tensor:
        """The first frames as networks are told of them: pixels, grey where they are not `kept`; or latents, where nobody looks."""
        if not self.model.needs_pixels:
            return clean[:, 0]
        return self.autoencoder.decode(clean[:, 0]).clamp(-1, 1) * kept[:, None, None, None]

    def _residual(
        self, network: Evaluated | Reference, clean: Tensor, actions: Tensor, draw: Draw, context: Mapping[str, Tensor]
    ) -> Tensor:
        if network.two_streams:
            return causal_residual(network, clean, actions, draw, self.diffusion, context=context or None)
        return forcing_residual(network, clean, actions, draw, self.diffusion, context)

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips for the preview."""
        batch = self.clips.draw(count, self.how.clip, generator).to(next(self.model.parameters()).device)
        return batch.versions[0], batch.actions


def _repeated(draw: Draw, times: int) -> Draw:
    """The same draw for several versions, rows by version."""
    repeated = {name: value.repeat(times, *[1] * (value.ndim - 1)) for name, value in vars(draw).items() if value is not None}
    return Draw(**repeated)
