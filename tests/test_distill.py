"""Distillation: in one step the student says what its teacher says in several, closed forms first."""

from dataclasses import replace

import numpy as np
import pytest
import stirred
import torch
from test_training import DIFFUSION, assert_equal, clips, killed_at, tensors_of, video_objective
from torch import Tensor, nn

from worldsim.diffusion.samplers import clean_between, ddim_step, level_steps, sample_ddim
from worldsim.diffusion.schedule import get_schedule
from worldsim.errors import InvalidInput
from worldsim.simulator import Sampler, VideoWorldModel
from worldsim.training.distill import Distillation, DistillObjective, Scene, distillation_loss, teachers_answer
from worldsim.training.loop import LoopConfig, train
from worldsim.training.loss import Diffusion


class Pointwise(nn.Module):
    """A network of two streams whose clean prediction is a function of each number and its level, whatever came before."""

    two_streams, starts_known = True, False

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x, levels, actions, known, memory=None, context=None):
        self.asked = levels[:, 1, 1:]
        return self.function(x, levels[..., None, None, None].expand_as(x))


def coins(lanes: int = 256, frames: int = 3) -> tuple[Scene, Tensor]:
    """A world whose every number is -1 or 1, each as often, with nothing to be known from the past; and its clean frames."""
    clean = torch.randint(2, (lanes, frames, 1, 1, 1), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    scene = Scene(torch.zeros_like(clean), torch.zeros(lanes, frames), torch.zeros(lanes, frames, 1), frames - 1, DIFFUSION)
    return scene, clean[:, 1:]


def best_guess(x: Tensor, level: Tensor) -> Tensor:
    """The mean of such a number given x = (1 - level) number + level noise: tanh((1 - level) x / level^2)."""
    return torch.tanh((1 - level) * x / level.clamp(min=1e-3) ** 2)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "ddpm", "zero_snr", "zero_snr_rescaled"])
def test_the_clean_prediction_behind_a_step(schedule):
    schedule, generator = get_schedule(schedule), torch.Generator().manual_seed(0)
    x, clean = torch.randn(2, 40, 3, 4, generator=generator, dtype=torch.float64)
    now, after = torch.tensor([1.0, 0.8, 0.5], dtype=torch.float64), torch.tensor([0.5, 0.0, 0.25], dtype=torch.float64)
    now, after = now.expand(40, 3), after.expand(40, 3)
    moved = ddim_step(x, clean, now, after, schedule)
    torch.testing.assert_close(clean_between(x, moved, now, after, schedule), clean)


def test_one_step_of_a_perfect_teacher_is_the_mean_and_one_of_its_student_is_a_sample():
    """Heads or tails: the mean, 0, is neither. The student, an MLP, learns what the teacher's 16 steps make of each noise."""
    scene, clean = coins()
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    student = Pointwise(lambda x, level: mlp(torch.cat([x, level], -1)))
    student.mlp, teacher, options = mlp, Pointwise(best_guess), Distillation(teacher_steps=16)
    noise, ones = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)), torch.ones(clean.shape[:2])
    many = sample_ddim(lambda x, level: scene.clean(teacher, x, torch.full_like(ones, level)), noise, level_steps(16), DIFFUSION.schedule)
    assert scene.clean(teacher, noise, ones).abs().max() == 0
    assert (many.abs() - 1).abs().median() < 1e-3
    generator, adam = torch.Generator().manual_seed(2), torch.optim.Adam(student.parameters(), 5e-3)
    for _ in range(300):
        adam.zero_grad()
        distillation_loss(student, teacher, scene, clean, options, generator).backward()
        adam.step()
    one = scene.clean(student, noise, ones)
    assert (one * many > 0).float().mean() > 0.98
    assert (one - many).square().mean() < 0.06  # the mean is off by 1
    assert student.asked.unique() == 1  # a one-step student is only ever asked at noise alone


@pytest.mark.parametrize(("teacher_steps", "student_steps"), [(2, 1), (8, 1), (8, 2), (6, 3)])
def test_the_student_of_a_linear_teacher_in_closed_form(teacher_steps, student_steps):
    """Of numbers with variance 1/4 the best guess is linear in x, so each student's step is a product of factors of the teacher's."""
    scene, clean = coins(64)

    def gain(level):
        return (1 - level) / 4 / ((1 - level) ** 2 / 4 + level**2)

    def factor(now: float, after: float, slope: float) -> float:
        return (1 - after) * slope + after / now * (1 - (1 - now) * slope)

    table = {}
    for i in range(student_steps):
        levels = torch.linspace(1 - i / student_steps, 1 - (i + 1) / student_steps, teacher_steps // student_steps + 1).tolist()
        whole = np.prod([factor(now, after, gain(now)) for now, after in zip(levels[:-1], levels[1:], strict=True)])
        now, after = levels[0], levels[-1]
        table[now] = (whole - after / now) / ((1 - after) - after / now * (1 - now))
    student = Pointwise(lambda x, level: x * sum(slope * (level - now).abs().lt(1e-4) for now, slope in table.items()))
    options = Distillation(teacher_steps, student_steps)
    teacher = Pointwise(lambda x, level: gain(level) * x)
    assert distillation_loss(student, teacher, scene, clean, options, torch.Generator().manual_seed(0)) < 1e-10
    assert distillation_loss(teacher, teacher, scene, clean, options, torch.Generator().manual_seed(0)) > 1e-4
    assert sorted(student.asked.unique().tolist()) == pytest.approx(sorted(table))


def test_a_world_without_chance_leaves_nothing_to_distill():
    """Where the clean frame does not depend on the noise, one step and many are the same, and the teacher is its own student."""
    scene, clean = coins(8)
    sure = Pointwise(lambda x, level: torch.full_like(x, 0.7))
    assert distillation_loss(sure, sure, scene, clean, Distillation(4), torch.Generator().manual_seed(0)) < 1e-12


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("sampling", [{}, {"guidance": 2.0}, {"guidance": 2.0, "rescale": 0.7}, {"prediction": "v"}])
def test_the_teacher_answers_as_the_simulator_samples(streams, sampling):
    """Same history, noise and action: the frame that `step` draws is the target of a one-step student, in either layout."""
    network, led = stirred.network(), stirred.actions(3, 2)
    model = VideoWorldModel(stirred.SPEC, network, stirred.autoencoder(), Sampler(steps=4, history="window", **sampling))
    state, _ = model.step(model.start(stirred.pictures(3, 2), np.arange(3), led[:1].swapaxes(0, 1)), led[0])
    drawn, _ = model.step(state, led[1])
    held, actions = torch.cat([state.held[:, -3:], torch.zeros_like(state.held[:, -1:])], 1), drawn.actions[:, -4:]
    options = Distillation(4, 1, sampling.get("guidance", 1.0), sampling.get("rescale", 0.0))
    network.two_streams = streams == 2
    diffusion = replace(DIFFUSION, prediction=sampling.get("prediction", "clean"))
    scene = Scene(held, torch.full((3, 4), 0.02), actions, 1, diffusion)
    noise = model.denoiser.noise(state.seeds, state.frame + 1, 0)[:, None]
    with torch.no_grad():
        answer = teachers_answer(network, scene, noise, torch.ones(3, 1), options)
    torch.testing.assert_close(answer[:, 0], drawn.latest, atol=1e-4, rtol=1e-4)


def distilling(**options) -> DistillObjective:
    parts = video_objective(self_share=0.5, **options)
    return DistillObjective(Distillation(teacher_steps=4), parts.model, parts.autoencoder, parts.clips, parts.diffusion, parts.options)


@pytest.mark.parametrize("streams", [1, 2])
def test_the_student_is_trained_and_the_teacher_is_not(tmp_path, streams):
    objective = distilling()
    objective.model.two_streams = objective.teacher.two_streams = streams == 2
    before, own = tensors_of(objective.teacher), tensors_of(objective.model)
    train(objective, LoopConfig(tmp_path, iterations=3, learning_rate=0.01))
    assert_equal(tensors_of(objective.teacher), before)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in objective.teacher.parameters())
    assert any(not torch.equal(tensor, own[name]) for name, tensor in objective.model.named_parameters())
    objective.preview(tmp_path / "seen.png")


def test_training_brings_the_student_to_its_teacher(tmp_path):
    objective = distilling()
    before = objective.loss(torch.Generator().manual_seed(5)).item()
    train(objective, LoopConfig(tmp_path, iterations=80, learning_rate=3e-3, average=0.5))
    assert objective.loss(torch.Generator().manual_seed(5)).item() < 0.7 * before


def test_a_killed_distillation_resumes_as_if_nothing_had_happened(tmp_path):
    config = LoopConfig(tmp_path / "whole", iterations=6, learning_rate=0.01, save_seconds=0)
    whole = train(distilling(), config)
    pieces = replace(config, out=tmp_path / "pieces")
    with pytest.raises(KeyboardInterrupt):
        train(distilling(), pieces, killed_at(3))
    assert_equal(tensors_of(train(distilling(), pieces)), tensors_of(whole))


def test_history_frames_get_no_loss():
    """Whatever the last history frame was to become: only what is drawn counts, and no frame's loss reaches back through history."""
    net, (clean, actions) = stirred.network(), clips(4)
    held = clean.clone().requires_grad_()
    scene = Scene(held, torch.full((4, 5), 0.02), actions, 2, DIFFUSION)
    loss = distillation_loss(net, net, scene, clean[:, -2:], Distillation(2), torch.Generator().manual_seed(0))
    (grad,) = torch.autograd.grad(loss, held)
    assert grad[:, :-1].flatten(2).any(-1).all()
    assert not grad[:, -1].any()  # the last frame is history to nobody


@pytest.mark.parametrize(("teacher", "student"), [(4, 3), (2, 2), (4, 0), (1, 2)])
def test_steps_that_do_not_go_into_one_another(teacher, student):
    with pytest.raises(InvalidInput, match=f"teacher_steps is {teacher}, expected a larger multiple of student_steps={student}; type"):
        Distillation(teacher, student)


def test_a_noise_prediction_is_refused():
    parts = video_objective()
    with pytest.raises(InvalidInput, match="distill clean, v or flow"):
        DistillObjective(
            Distillation(4), parts.model, parts.autoencoder, parts.clips, Diffusion(DIFFUSION.schedule, "noise"), parts.options
        )
