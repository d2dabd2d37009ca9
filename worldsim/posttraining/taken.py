"""Group-relative policy optimisation of a sampler: its denoising steps as a policy, and the objective on them. Knows no judge.

With eta above 0 every DDIM step but the last adds noise of a known spread, so it is a draw from a Gaussian around the mean that the clean
prediction implies: a policy with a probability (the idea of Flow-GRPO, arXiv 2505.05470; the step is Song et al. 2021, eq. 12). All of its
noise is keyed by (seed, frame, step), so nothing is stored while sampling: the steps follow from the rollout's latents and its seed, in
one pass over two streams, which computes what sampling with kept features computed frame by frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from worldsim.diffusion.noise import keyed_noise
from worldsim.diffusion.parameterize import previous, to_clean
from worldsim.diffusion.samplers import added_noise, ddim_step, level_steps
from worldsim.diffusion.schedule import get_schedule
from worldsim.errors import InvalidInput
from worldsim.models.network import VideoNetwork
from worldsim.posttraining.objective import PostTraining
from worldsim.posttraining.objectives import Steps, grpo_loss
from worldsim.simulator.denoising import HISTORY_STEP
from worldsim.simulator.sampler import Sampler


@dataclass(frozen=True)
class Taken:
    """The steps that a sampler took, of R rollouts of L frames; what belongs to the frames that were given means nothing.

    Attributes:
        held: the frames as history held them, `[R, L, h, w, C]`.
        path: the noisy frames before each step and after the last, `[K + 1, R, L, h, w, C]`.
        actions: normalised, into each frame, `[R, L, A]`.
        mask: the frames that were drawn, bool `[R, L]`.
        advantages: of each rollout `[R]`, or of its frames `[R, L]`.
        context: what the network was told of each rollout's first frame, rows `[R, ...]`.
    """

    held: Tensor
    path: Tensor
    actions: Tensor
    mask: Tensor
    advantages: Tensor
    context: Mapping[str, Tensor] = field(default_factory=dict)


def check_policy(network: VideoNetwork, sampler: Sampler) -> None:
    """Refuse samplers whose steps have no probability, or are not what one pass computes.

    Raises:
        InvalidInput: what is in the way, and what to type.
    """
    if not network.two_streams:
        raise InvalidInput("grpo goes over all frames in one pass, which takes a network of two streams; type mode=rwr or mode=dpo")
    if sampler.eta == 0 or sampler.steps < 2:
        raise InvalidInput(f"grpo needs steps that add noise, this sampler has eta={sampler.eta} and {sampler.steps} steps; type mode=rwr")
    if sampler.guidance != 1 or sampler.history != "stream" or sampler.ending != "clean":
        raise InvalidInput("grpo needs a world model that is sampled without guidance, with history=stream; type mode=rwr or mode=dpo")


def clean_of(network: VideoNetwork, x: Tensor, level: float, taken: Taken, rows: Tensor, sampler: Sampler) -> Tensor:
    """The clean prediction for the noisy frames `x` `[B, L, h, w, C]` of some rollouts, each from the history before it."""
    held, actions = taken.held[rows], taken.actions[rows]
    history_level = torch.full(held.shape[:2], sampler.history_level).to(held)
    levels = torch.full_like(history_level, level)
    known = torch.ones_like(levels)
    known[:, 0] = 0
    streams = [torch.stack(pair, 1) for pair in ((held, x), (history_level, levels), (known, known))]
    context = {name: each[rows] for name, each in taken.context.items()}
    output = network(streams[0], streams[1], actions, streams[2], None, context)[:, 1].float()
    return to_clean(sampler.prediction, output, x, levels, previous(held, history_level), get_schedule(sampler.schedule))


@torch.no_grad()
def retrace(
    network: VideoNetwork,
    sampler: Sampler,
    latents: Tensor,
    actions: Tensor,
    seeds: Sequence[int],
    given: int,
    advantages: Tensor,
    context: Mapping[str, Tensor] | None = None,
) -> Taken:
    """The steps by which `network`, as it is, drew the frames after `given` of each rollout.

    Args:
        network: the one that drew them.
        sampler: how, with eta above 0.
        latents: of the rollouts, `[R, L, h, w, C]`, not rounded.
        actions: normalised, into each frame, `[R, L, A]`.
        seeds: of each rollout.
        given: frames that were given.
        advantages: `[R]` or `[R, L]`.
        context: what it was told of each rollout's first frame, rows `[R, ...]`.
    """
    schedule, (count, frames) = get_schedule(sampler.schedule), latents.shape[:2]

    def noise(step: int) -> Tensor:
        drawn = [keyed_noise([seed] * frames, range(frames), step, tuple(latents.shape[2:])) for seed in seeds]
        return torch.stack(drawn).to(latents)

    level = torch.full((count, frames), sampler.history_level).to(latents)
    held = schedule.add_noise(latents, noise(HISTORY_STEP), level, shrink=sampler.history_shrink)
    mask = (torch.arange(frames) >= given).expand(count, frames).to(latents.device)
    taken = Taken(held, noise(0)[None], actions, mask, advantages, context or {})
    path, levels, everyone = [noise(0)], level_steps(sampler.steps), torch.arange(count)
    for i, (now, after) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        clean = clean_of(network, path[-1], now, taken, everyone, sampler)
        path.append(ddim_step(path[-1], clean, now, after, schedule, eta=sampler.eta, noise=noise(i + 1)))
    return replace(taken, path=torch.stack(path))


class GroupRelative(PostTraining):
    """grpo on steps that were taken; `clips` is a `Taken`. No action is hidden: it is what the steps were taken under."""

    sampler: Sampler

    def loss(self, generator: torch.Generator) -> Tensor:
        """The clipped objective of one step of the sampler, drawn at random, of a batch of rollouts."""
        taken, sampler, schedule = self.clips, self.sampler, self.diffusion.schedule
        rows = torch.randint(len(taken.advantages), (self.how.batch,), generator=generator)
        step = int(torch.randint(sampler.steps - 1, (), generator=generator))  # the last adds no noise
        now, after = level_steps(sampler.steps)[step : step + 2]
        before, landed = taken.path[step, rows], taken.path[step + 1, rows]
        spread = added_noise(torch.tensor(now), torch.tensor(after), schedule, sampler.eta)
        means = [
            ddim_step(before, clean_of(network, before, now, taken, rows, sampler), now, after, schedule, eta=sampler.eta)
            for network in (self._called(), self.reference)
        ]
        steps = steps_under(means[0], means[1], landed, spread)
        loss, seen = grpo_loss(steps, taken.mask[rows], taken.advantages[rows], self.how.epsilon, self.how.beta)
        self.seen = {name: value.item() for name, value in seen.items()}
        return loss


def steps_under(mean: Tensor, old_mean: Tensor, landed: Tensor, spread: Tensor) -> Steps:
    """Steps that landed at `landed` `[B, L, h, w, C]`, under Gaussians of one spread around two means."""
    inside = (2, 3, 4)
    own, old = (-(landed - each).square().mean(inside) / (2 * spread**2) for each in (mean, old_mean))
    return Steps(own, old, (mean - old_mean).square().mean(inside) / (2 * spread**2))
