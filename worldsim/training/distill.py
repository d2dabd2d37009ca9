"""Distillation: a causal network learns to do in one step what its teacher, itself as it was before, does in several.

Both are put where the sampler puts them: history nearly clean, and frames about to be drawn. A clip is laid out as in `loss`: a network
of two streams draws every frame after the first at once, each from the history before it; a network of one stream draws the last frame.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worldsim.diffusion.guidance import guide, rescale
from worldsim.diffusion.noise import context_levels
from worldsim.diffusion.parameterize import previous, to_clean
from worldsim.diffusion.samplers import clean_between, ddim_step
from worldsim.errors import InvalidInput
from worldsim.models.network import VideoNetwork, first_unled
from worldsim.training.loss import Diffusion, self_generated
from worldsim.training.stages import VideoObjective


@dataclass(frozen=True)
class Distillation:
    """What the student is to match.

    Attributes:
        teacher_steps: DDIM steps of the teacher from noise to a frame, equally spaced.
        student_steps: steps of the student, each of which stands for `teacher_steps / student_steps` of the teacher's.
        guidance: action guidance of the teacher; the student is sampled without, so it needs one evaluation where the teacher needs two.
        rescale: share of the spread from before guidance that the teacher restores.
    """

    teacher_steps: int = 4
    student_steps: int = 1
    guidance: float = 1.0
    rescale: float = 0.0

    def __post_init__(self) -> None:
        if self.student_steps < 1 or self.teacher_steps % self.student_steps or self.teacher_steps == self.student_steps:
            raise InvalidInput(
                f"teacher_steps is {self.teacher_steps}, expected a larger multiple of student_steps={self.student_steps}; "
                f"type teacher_steps={4 * max(1, self.student_steps)}"
            )


@dataclass(frozen=True)
class Scene:
    """A clip whose last `drawn` frames are about to be drawn.

    Attributes:
        held: history, as noisy as it is held, `[B, T, h, w, C]`.
        held_level: its levels `[B, T]`.
        actions: into each frame `[B, T, A]`.
        drawn: N, the number of frames to draw; all the others are history only.
        diffusion: how a network's output is read.
        context: what the network is told of the first frame.
    """

    held: Tensor
    held_level: Tensor
    actions: Tensor
    drawn: int
    diffusion: Diffusion
    context: Mapping[str, Tensor] | None = None

    def clean(self, net: VideoNetwork, x: Tensor, level: Tensor, *, guidance: float = 1.0, share: float = 0.0) -> Tensor:
        """The clean prediction of `net` for the drawn frames `x` `[B, N, h, w, C]` at levels `[B, N]`, guided and rescaled by `share`."""
        output = self._output(net, x, level, hidden=False)
        if guidance != 1:
            guided = guide(output, self._output(net, x, level, hidden=True), guidance)
            output = rescale(guided, output, share, (2, 3, 4)) if share else guided
        base = previous(self.held, self.held_level)[:, -self.drawn :]
        return to_clean(self.diffusion.prediction, output, x, level, base, self.diffusion.schedule)

    def _output(self, net: VideoNetwork, x: Tensor, level: Tensor, *, hidden: bool) -> Tensor:
        """What the network says of the drawn frames, whose actions may be `hidden` from it."""
        past = self.held.shape[1] - self.drawn
        stream = torch.cat([self.held[:, :past], x], dim=1)
        levels = torch.cat([self.held_level[:, :past], level], dim=1)
        actions, known = first_unled(net, self.actions, torch.ones_like(levels))
        asked = known.clone()
        asked[:, past:] *= not hidden
        if net.two_streams:
            x, levels, known = (torch.stack(pair, 1) for pair in ((self.held, stream), (self.held_level, levels), (known, asked)))
        else:
            x, levels, known = stream[:, None], levels[:, None], asked[:, None]
        return net(x, levels, actions, known, None, self.context)[:, -1, past:].float()


def distillation_loss(
    student: VideoNetwork, teacher: VideoNetwork, scene: Scene, clean: Tensor, options: Distillation, generator: torch.Generator
) -> Tensor:
    """Mean squared error between one step of the student and the teacher's `teacher_steps / student_steps` steps over the same levels.

    Progressive distillation (Salimans and Ho 2022) by any factor rather than by halves. Each drawn frame begins at one of the student's
    own levels, drawn independently: the noised `clean` `[B, N, h, w, C]`, at the first level noise alone.
    """
    step = torch.randint(options.student_steps, clean.shape[:2], generator=generator).to(clean)
    level, noise = 1 - step / options.student_steps, torch.randn(clean.shape, generator=generator).to(clean)
    x = scene.diffusion.schedule.add_noise(clean, noise, level)
    with torch.no_grad():
        target = teachers_answer(teacher, scene, x, level, options)
    return (scene.clean(student, x, level) - target).square().mean()


def teachers_answer(teacher: VideoNetwork, scene: Scene, x: Tensor, level: Tensor, options: Distillation) -> Tensor:
    """The clean prediction that takes `x` at `level` in one step of the student to where the teacher's steps take it."""
    count, schedule, moved, now = options.teacher_steps // options.student_steps, scene.diffusion.schedule, x, level
    for i in range(1, count + 1):
        after = (level - i / options.teacher_steps).clamp(min=0)
        guess = scene.clean(teacher, moved, now, guidance=options.guidance, share=options.rescale)
        moved, now = ddim_step(moved, guess, now, after, schedule), after
    return clean_between(x, moved, level, now, schedule)


class DistillObjective(VideoObjective):
    """The distillation loss on clips of latents. The teacher is a copy of the network as it is given; it is not trained."""

    def __init__(self, distillation: Distillation, network: VideoNetwork, *parts: Any) -> None:
        super().__init__(network, *parts)
        if self.diffusion.prediction == "noise":
            raise InvalidInput(
                "a noise prediction says nothing of the frame at pure noise, where one step begins; distill clean, v or flow"
            )
        self.distillation = distillation
        self.teacher = deepcopy(network).requires_grad_(requires_grad=False).eval()

    def loss(self, generator: torch.Generator) -> Tensor:
        """The loss of one batch of clips; in a share of the batches every second history frame is the student's own prediction."""
        net, diffusion = self.model, self.diffusion
        clean, actions = self._draw(self.options.batch, generator)
        history, context = clean, self._context(clean, generator)
        if net.two_streams and torch.rand((), generator=generator) < self.options.self_share:
            history = self_generated(self._called(), clean, actions, diffusion, generator, context)
        level = context_levels(clean.shape[:2], diffusion.context_level, generator).to(clean)
        held = diffusion.schedule.add_noise(history, torch.randn(clean.shape, generator=generator).to(clean), level)
        drawn = clean.shape[1] - 1 if net.two_streams else 1
        scene = Scene(held, level, actions, drawn, diffusion, context)
        return distillation_loss(self._called(), self.teacher, scene, clean[:, -drawn:], self.distillation, generator)
