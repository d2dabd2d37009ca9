"""Schedules, noise, parameterizations, samplers and guidance against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldsim.diffusion.guidance import guide
from worldsim.diffusion.noise import context_levels, keyed_noise, target_levels
from worldsim.diffusion.parameterize import PREDICTIONS, check_prediction, to_clean, training_target
from worldsim.diffusion.samplers import level_steps, sample_ddim
from worldsim.diffusion.schedule import SCHEDULES, get_schedule
from worldsim.errors import UnknownName

MEAN, STD = 0.7, 0.4


def gaussian_denoiser(schedule):
    """The exact E[clean | x] of clean ~ N(MEAN, STD^2)."""

    def denoise(x, level):
        alpha, sigma = (f(torch.tensor(level, dtype=x.dtype)) for f in (schedule.alpha, schedule.sigma))
        return MEAN + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_run_from_clean_to_pure_noise(name):
    schedule = get_schedule(name)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha(ends), 1 - ends, atol=1e-15, rtol=0)
    torch.testing.assert_close(schedule.sigma(ends), ends, atol=1e-15, rtol=0)
    levels = torch.linspace(0, 1, 101, dtype=torch.float64)
    ratio = schedule.sigma(levels[:-1]) / schedule.alpha(levels[:-1])
    assert (ratio.diff() > 0).all()


def test_the_cosine_schedule_keeps_the_variance():
    levels = torch.linspace(0, 1, 11, dtype=torch.float64)
    schedule = get_schedule("cosine")
    torch.testing.assert_close(schedule.alpha(levels) ** 2 + schedule.sigma(levels) ** 2, torch.ones_like(levels))


def test_noise_is_added_frame_by_frame():
    clean, noise = torch.full((2, 3, 4, 4, 1), 2.0), torch.full((2, 3, 4, 4, 1), -6.0)
    level = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.25, 0.0]])
    noised = get_schedule("linear").add_noise(clean, noise, level)
    assert noised[:, :, 0, 0, 0].tolist() == [[2.0, -2.0, -6.0], [-6.0, 0.0, 2.0]]


@pytest.mark.parametrize("name", SCHEDULES)
def test_ddim_in_many_steps_turns_noise_into_the_gaussian(name):
    """The exact flow maps noise z to MEAN + STD z: the quantiles of one Gaussian to those of the other."""
    schedule, noise = get_schedule(name), torch.linspace(-3, 3, 61, dtype=torch.float64)
    sample = sample_ddim(gaussian_denoiser(schedule), noise, level_steps(2000), schedule)
    torch.testing.assert_close(sample, MEAN + STD * noise, atol=2e-3, rtol=0)
    coarse = sample_ddim(gaussian_denoiser(schedule), noise, level_steps(4), schedule)
    assert (coarse - sample).abs().max() > 0.05


def test_ddim_with_the_linear_schedule_is_euler():
    schedule, x = get_schedule("linear"), torch.linspace(-2, 2, 9, dtype=torch.float64)
    denoise, levels = gaussian_denoiser(schedule), level_steps(7)
    euler = x
    for now, after in zip(levels[:-1], levels[1:], strict=True):
        velocity = (euler - denoise(euler, now)) / now  # dx/dt of rectified flow
        euler = euler + (after - now) * velocity
    torch.testing.assert_close(sample_ddim(denoise, x, levels, schedule), euler, atol=1e-6, rtol=0)  # levels are float32 inside


def test_one_ddim_step_from_pure_noise_is_the_prediction():
    schedule, noise = get_schedule("linear"), torch.randn(5, generator=torch.Generator().manual_seed(0))
    sample = sample_ddim(lambda x, level: x * 0 + level + 2, noise, level_steps(1), schedule)
    assert torch.equal(sample, torch.full((5,), 3.0))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_level_steps_are_even_and_end_at_both_ends(steps):
    levels = level_steps(steps)
    assert levels[0] == 1.0
    assert levels[-1] == 0.0
    assert len(levels) == steps + 1
    assert all(math.isclose(a - b, 1 / steps, abs_tol=1e-12) for a, b in zip(levels, levels[1:], strict=False))


def test_guidance_is_linear_in_the_scale():
    known, hidden = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).unbind()
    assert torch.equal(guide(known, hidden, 0.0), hidden)
    torch.testing.assert_close(guide(known, hidden, 1.0), known)
    torch.testing.assert_close(guide(known, hidden, 3.0) - guide(known, hidden, 2.0), known - hidden)
    assert torch.equal(guide(known, known, 7.5), known)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(levels=st.lists(st.floats(0, 0.98), min_size=2, max_size=5), seed=st.integers(0, 2**31))
def test_a_perfect_output_stands_for_the_clean_sample(prediction, name, levels, seed):
    """For every prediction and schedule. "noise" says nothing at level 1, where the signal is gone, so levels end at 0.98."""
    schedule, generator = get_schedule(name), torch.Generator().manual_seed(seed)
    level = torch.tensor(levels, dtype=torch.float64)
    clean, noise, base = torch.randn(3, len(levels), 2, 2, 3, generator=generator, dtype=torch.float64).unbind()
    output = training_target(prediction, clean, noise, level, base, schedule)
    x = schedule.add_noise(clean, noise, level)
    torch.testing.assert_close(to_clean(prediction, output, x, level, base, schedule), clean, atol=1e-10, rtol=0)


def test_v_still_knows_the_clean_sample_at_pure_noise():
    schedule, level = get_schedule("linear"), torch.ones(1, dtype=torch.float64)
    clean, noise = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-1.2]], dtype=torch.float64)
    assert training_target("v", clean, noise, level, clean * 0, schedule).item() == -0.3
    assert to_clean("v", -clean, noise, level, clean * 0, schedule).item() == 0.3


def test_zero_output_copies_the_past():
    base = torch.randn(2, 3, 3, 1, generator=torch.Generator().manual_seed(2))
    x, schedule = torch.randn_like(base), get_schedule("linear")
    assert torch.equal(to_clean("clean", torch.zeros_like(base), x, torch.ones(2), base, schedule), base)


def test_keyed_noise_depends_on_its_key_alone():
    many = keyed_noise([5, 9, 2**63], [0, 3, 7], 4, (6, 2))
    assert many.dtype == torch.float32
    for row, (seed, frame) in enumerate([(5, 0), (9, 3), (2**63, 7)]):
        assert torch.equal(keyed_noise([seed], [frame], 4, (6, 2))[0], many[row])
    torch.manual_seed(123)
    assert torch.equal(keyed_noise([5, 9, 2**63], [0, 3, 7], 4, (6, 2)), many)


def test_keyed_noise_differs_in_every_part_of_the_key():
    draws = [keyed_noise([seed], [frame], step, (4,)) for seed in (0, 1) for frame in (0, 1) for step in (0, 1)]
    assert len({tuple(draw[0].tolist()) for draw in draws}) == 8


def test_keyed_noise_is_standard_normal_and_uncorrelated_between_frames():
    noise = keyed_noise([3] * 200, range(200), 0, (500,))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert abs((noise[:-1] * noise[1:]).mean()) < 0.015


def test_target_levels_are_often_pure_noise():
    levels = target_levels((200, 100), torch.Generator().manual_seed(0))
    assert levels.shape == (200, 100)
    assert 0 <= levels.min() <= levels.max() <= 1
    assert abs((levels == 1).float().mean() - 0.4) < 0.02
    rest = levels[levels < 1]
    assert abs(rest.mean() - 1 / (1 + 0.6)) < 0.01  # E[U^0.6]


def test_context_levels_stay_below_the_highest():
    levels = context_levels((1000,), 0.1, torch.Generator().manual_seed(0))
    assert 0 <= levels.min() < 0.005
    assert 0.095 < levels.max() <= 0.1


def test_unknown_names_are_answered_with_a_suggestion():
    with pytest.raises(UnknownName, match='unknown noise schedule "linaer"; did you mean "linear"'):
        get_schedule("linaer")
    with pytest.raises(UnknownName, match='unknown prediction "nose"; did you mean "noise"'):
        check_prediction("nose")
    assert check_prediction("v") == "v"
