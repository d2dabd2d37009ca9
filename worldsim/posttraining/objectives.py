"""The one objective behind sft, rwr, dpo and grpo: pure functions of per-frame errors, weights and rewards. Knows no network and no file.

e_t is the squared error of what a network says of frame t, `[B, T]`; `mask`, bool `[B, T]`, is true on the frames that count: those after
context and after the two clips of a pair part. E = sum_t m_t e_t / sum_t m_t. Names of what is logged are those of TRL.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.errors import InvalidInput

MODES = ("sft", "rwr", "dpo", "grpo")
WEIGHTINGS = ("identity", "exp")
LEAST_SPREAD = 1e-4  # of a group's rewards, as in TRL: below it advantages fade rather than grow


@dataclass(frozen=True)
class Preference:
    """Errors `[B, T]` of the two clips of each pair, of the trained network and of its reference, all on the same noise and levels."""

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor

    def swapped(self) -> "Preference":
        """The opposite preference."""
        return Preference(self.rejected, self.chosen, self.reference_rejected, self.reference_chosen)


@dataclass(frozen=True)
class Steps:
    """Sampling steps taken: log-probability of each under the network and under the one that took it, and how far their means lie apart.

    All `[B, T]`: `kl` is the divergence of two Gaussians of one spread, everything a mean over the numbers of a frame.
    """

    log_probability: Tensor
    old_log_probability: Tensor
    kl: Tensor


def clip_error(errors: Tensor, mask: Tensor) -> Tensor:
    """E of each clip, `[B]`. Frames that do not count add exactly nothing, whatever their error, and get exactly no gradient."""
    return torch.where(mask, errors, 0.0).sum(1) / mask.sum(1).clamp(min=1)


def sft_loss(errors: Tensor, mask: Tensor) -> Tensor:
    """Supervised finetuning: the mean of E."""
    return clip_error(errors, mask).mean()


def rwr_loss(errors: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Reward-weighted regression: the mean of w E, with a weight per clip `[B]` or per frame `[B, T]` (forward-KL projection)."""
    return clip_error(errors * _by_frame(weights), mask).mean()


def reward_weights(rewards: Tensor, weighting: str, temperature: float) -> Tensor:
    """Weights of regression: the rewards themselves, or exp((r - max r) / temperature), whose largest is 1.

    Raises:
        InvalidInput: negative rewards as weights, which would push away from a clip without bound.
    """
    if weighting == "exp":
        return ((rewards - rewards.max()) / temperature).exp()
    if (rewards < 0).any():
        raise InvalidInput("rewards below 0 cannot be weights themselves; type weighting=exp")
    return rewards


def dpo_loss(errors: Preference, mask: Tensor, beta: float, lambda_sft: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """-log sigmoid of the margin, plus `lambda_sft` E of the chosen clip; and what is logged, each a number.

    The implicit reward of a clip is -(beta / 2) (E - E_ref), the margin that of the chosen less that of the rejected (Flow-DPO,
    PhysMaster arXiv 2510.13809 section 3.2; Diffusion-DPO arXiv 2311.12908). At the reference the loss is log 2.
    """
    own = [clip_error(each, mask) for each in (errors.chosen, errors.rejected)]
    reference = [clip_error(each, mask) for each in (errors.reference_chosen, errors.reference_rejected)]
    chosen, rejected = (-0.5 * beta * (mine - theirs) for mine, theirs in zip(own, reference, strict=True))
    margin = chosen - rejected
    loss = -F.logsigmoid(margin).mean() + lambda_sft * own[0].mean()
    seen = {
        "rewards/chosen": chosen.mean(),
        "rewards/rejected": rejected.mean(),
        "rewards/margins": margin.mean(),
        "rewards/accuracies": (margin > 0).float().mean(),
        "winner_error": own[0].mean(),
        "winner_error_change": (own[0] - reference[0]).mean(),
        "loser_error_change": (own[1] - reference[1]).mean(),
    }
    return loss, {name: value.detach() for name, value in seen.items()}


def group_advantages(rewards: Tensor, *, scale_rewards: bool = True) -> Tensor:
    """Rewards of G rollouts of a context each, less their mean, over their spread if scaled; exactly 0 where all are equal.

    `[N, G]`, of clips; or `[N, G, T]`, where each frame is compared with the same frame of the other rollouts.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    centred = torch.where((rewards == rewards[:, :1]).all(1, keepdim=True), torch.zeros_like(centred), centred)
    return centred / (rewards.std(1, keepdim=True) + LEAST_SPREAD) if scale_rewards else centred


def _by_frame(values: Tensor) -> Tensor:
    """One value per clip `[B]` as `[B, 1]`; per frame `[B, T]` as it is."""
    return values if values.ndim == 2 else values[:, None]


def grpo_loss(steps: Steps, mask: Tensor, advantages: Tensor, epsilon: float, beta: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """-min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A) + beta KL over the frames that count; and what is logged.

    Advantages are of clips `[B]` or of frames `[B, T]`.

    rho = exp(log p - log p_old), log p a mean over a frame's numbers as in Flow-GRPO (arXiv 2505.05470), so that it stays near 1.
    """
    ratio, advantage = (steps.log_probability - steps.old_log_probability).exp(), _by_frame(advantages)
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    gain = torch.minimum(ratio * advantage, clipped * advantage)
    loss = (-clip_error(gain, mask) + beta * clip_error(steps.kl, mask)).mean()
    outside = ((ratio - 1).abs() > epsilon).float()
    seen = {"kl": clip_error(steps.kl, mask).mean(), "clip_ratio": clip_error(outside, mask).mean(), "advantages": advantages.abs().mean()}
    return loss, {name: value.detach() for name, value in seen.items()}
