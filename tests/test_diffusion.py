"""Schedules, noise, parameterizations, samplers and guidance against closed forms and against the schedulers of diffusers."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.diffusion.guidance import guide, rescale
from worldsim.diffusion.noise import context_levels, independent_levels, keyed_noise, target_levels
from worldsim.diffusion.parameterize import PREDICTIONS, check_prediction, to_clean, training_target
from worldsim.diffusion.samplers import added_noise, ddim_step, level_steps, sample_ddim
from worldsim.diffusion.schedule import SCHEDULES, dynamic_rescale, get_schedule, level_of, spread, tabulated, timestep_of
from worldsim.errors import InvalidInput, UnknownName

TABLES = ("ddpm", "zero_snr", "zero_snr_rescaled")
MEAN = torch.tensor([0.7, -0.2], dtype=torch.float64)  # of two frames that depend on each other
COVARIANCE = torch.tensor([[0.16, 0.12], [0.12, 0.25]], dtype=torch.float64)
ONE = (MEAN[:1], COVARIANCE[:1, :1])
TWO = (MEAN, COVARIANCE)


def level_at(*timesteps):
    return level_of(torch.tensor(timesteps)).double()


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def optimal_denoiser(schedule, mean, covariance):
    """The exact E[clean | x] of clean `[B, T]` from a Gaussian, for one level or one per frame."""

    def denoise(x, level):
        signal, sigma = _scales(schedule, level, x)
        noisy = signal[:, None] * covariance * signal + torch.diag(sigma**2)
        return mean + (x - signal * mean) @ torch.linalg.solve(noisy, signal[:, None] * covariance)

    return denoise


def _scales(schedule, level, x):
    level = torch.as_tensor(level, dtype=x.dtype).expand(x.shape)[0]
    return schedule.alpha(level) * schedule.shrink(level), schedule.sigma(level)


def moments(schedule, levels, gaussian, eta=0.0):
    """Mean and covariance of what the sampler makes of a Gaussian's optimal denoiser, without sampling error.

    The sampler is affine in all its noise, so row 0 of the batch gets none and every other row one unit of one draw.
    """
    mean, covariance = gaussian
    frames, steps = len(mean), len(levels) - 1
    unit = torch.eye(frames * (steps + 1), dtype=mean.dtype)
    unit = torch.cat([unit[:1] * 0, unit]).unflatten(1, (steps + 1, frames))  # [1 + draws, steps + 1, T]
    signal, sigma = _scales(schedule, levels[0], unit[:, 0])
    root = torch.linalg.cholesky(signal[:, None] * covariance * signal + torch.diag(sigma**2))
    if isinstance(levels[0], torch.Tensor):
        levels = [level.expand(len(unit), frames) for level in levels]
    start = signal * mean + unit[:, 0] @ root.T
    sample = sample_ddim(optimal_denoiser(schedule, mean, covariance), start, levels, schedule, eta=eta, draw=lambda i: unit[:, i + 1])
    response = sample[1:] - sample[0]
    return sample[0], response.T @ response


def v_network(x, level):
    """A smooth stand-in for a network: some v for a sample `[B, T, ...]` at a level."""
    return torch.tanh(x.roll(1, -1) - 0.5 * x) + 0.3 * torch.cos(3 * spread(torch.as_tensor(level, dtype=x.dtype), x))


def v_denoiser(schedule):
    def denoise(x, level):
        levels = torch.as_tensor(level, dtype=x.dtype)
        return to_clean("v", v_network(x, level), x, levels, torch.zeros(()), schedule)

    return denoise


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_run_from_clean_to_their_noisiest(name):
    schedule, ends = get_schedule(name), torch.tensor([0.0, 1.0], dtype=torch.float64)
    last = 0.0682650 if name == "ddpm" else 0.0  # the square root of Stable Diffusion's last alphas_cumprod, 0.0046601
    torch.testing.assert_close(schedule.alpha(ends), torch.tensor([1.0, last]).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(schedule.sigma(ends), torch.tensor([0.0, math.sqrt(1 - last**2)]).double(), atol=1e-7, rtol=0)
    assert schedule.shrink(ends[:1]).item() == 1
    levels = torch.linspace(0, 0.999, 112, dtype=torch.float64)  # every ninth timestep
    assert ((schedule.sigma(levels) / schedule.alpha(levels)).diff() > 0).all()


@pytest.mark.parametrize("name", ["cosine", *TABLES])
def test_variance_preserving_schedules_keep_the_variance(name):
    levels, schedule = torch.linspace(0, 1, 1001, dtype=torch.float64), get_schedule(name)
    torch.testing.assert_close(schedule.alpha(levels) ** 2 + schedule.sigma(levels) ** 2, torch.ones_like(levels), atol=1e-12, rtol=0)


def test_the_tables_of_vid2world():
    """The numbers of the specification (3.2.2, 3.2.3, 3.2.8), and a terminal signal of exactly zero."""
    schedule = get_schedule("zero_snr_rescaled")
    assert schedule.alpha(level_at(999)).item() == 0
    assert schedule.sigma(level_at(999)).item() == 1
    assert get_schedule("ddpm").alpha(level_at(999)) > 0.06
    assert schedule.alpha(level_at(0)).item() ** 2 == pytest.approx(0.99915, abs=1e-12)
    assert schedule.alpha(level_at(39)).item() ** 2 == pytest.approx(0.960, abs=5e-4)
    assert schedule.sigma(level_at(39)).item() == pytest.approx(0.199, abs=5e-4)
    assert schedule.shrink(level_at(19, 39)).tolist() == pytest.approx([0.986, 0.971], abs=5e-4)
    assert added_noise(level_at(19), level_at(0), schedule, 1.0).item() == pytest.approx(0.0285, abs=5e-5)


def test_the_dynamic_rescale_is_a_ramp_and_then_flat():
    expected = torch.cat([torch.ones(1), torch.linspace(1, 0.7, 400), torch.full((600,), 0.7)])
    torch.testing.assert_close(dynamic_rescale(torch.arange(1001) / 1000), expected)


@given(timestep=st.integers(-1, 999), offset=st.floats(-0.00049, 0.00049))
def test_timesteps_and_levels_stand_for_each_other(timestep, offset):
    """Float and tensor, float32 and float64, and any level is answered by its nearest timestep."""
    level = level_of(timestep)
    assert isinstance(level, float)
    assert timestep_of(level).item() == timestep
    assert timestep_of(torch.tensor(level + offset, dtype=torch.float64)).item() == timestep
    whole = level_of(torch.tensor([timestep]))
    assert whole.dtype == torch.float32
    assert timestep_of(whole).tolist() == [timestep]
    assert timestep_of(0.0) == -1


def test_a_table_is_looked_up_in_the_dtype_and_shape_of_the_level():
    schedule = tabulated(torch.linspace(1, 0, 1000))
    level = torch.tensor([[0.0, 0.001, 1.0]])
    torch.testing.assert_close(schedule.alpha(level), torch.tensor([[1.0, 1.0, 0.0]]), rtol=0, atol=0)
    assert schedule.sigma(level.double()).dtype == torch.float64


def test_noise_is_added_frame_by_frame():
    clean, noise = torch.full((2, 3, 4, 4, 1), 2.0), torch.full((2, 3, 4, 4, 1), -6.0)
    level = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.25, 0.0]])
    noised = get_schedule("linear").add_noise(clean, noise, level)
    assert noised[:, :, 0, 0, 0].tolist() == [[2.0, -2.0, -6.0], [-6.0, 0.0, 2.0]]


@pytest.mark.parametrize("name", ["ddpm", "zero_snr"])
def test_noise_is_added_as_by_diffusers(name):
    scheduler = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=name == "zero_snr")
    timesteps = torch.tensor([0, 19, 39, 500, 998, 999])
    clean, noise = random(2, 6, 3, 4, 4, dtype=torch.float32)
    expected = scheduler.add_noise(clean, noise, timesteps)
    torch.testing.assert_close(get_schedule(name).add_noise(clean, noise, level_of(timesteps)), expected, atol=1e-5, rtol=0)


def test_history_is_noised_without_the_dynamic_rescale():
    clean, noise = random(2, 3, 4, 4, 2)
    level, plain, shrinking = level_at(0, 39, 700), get_schedule("zero_snr"), get_schedule("zero_snr_rescaled")
    assert torch.equal(shrinking.add_noise(clean, noise, level, shrink=False), plain.add_noise(clean, noise, level))
    shrunk = clean * torch.tensor([1.0, 1 - 0.3 * 39 / 399, 0.7]).double()[:, None, None, None]
    torch.testing.assert_close(shrinking.add_noise(clean, noise, level), plain.add_noise(shrunk, noise, level))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@settings(max_examples=12, deadline=None)
@given(levels=st.lists(st.floats(0, 0.97), min_size=2, max_size=5), seed=st.integers(0, 2**31))
def test_a_perfect_output_stands_for_the_clean_sample(prediction, name, levels, seed):
    """For every prediction and schedule. "noise" says little near level 1, where the signal is gone, so levels end at 0.97."""
    schedule, level = get_schedule(name), torch.tensor(levels, dtype=torch.float64)
    clean, noise, base = random(3, len(levels), 2, 2, 3, seed=seed)
    output = training_target(prediction, clean, noise, level, base, schedule)
    x = schedule.add_noise(clean, noise, level)
    torch.testing.assert_close(to_clean(prediction, output, x, level, base, schedule), clean, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["linear", "zero_snr", "zero_snr_rescaled"])
@pytest.mark.parametrize("prediction", ["v", "flow"])
def test_v_and_flow_still_know_the_clean_sample_at_pure_noise(prediction, name):
    schedule, level = get_schedule(name), torch.ones(1, dtype=torch.float64)
    clean, noise = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-1.2]], dtype=torch.float64)
    shrunk = clean * schedule.shrink(level)
    output = -shrunk if prediction == "v" else noise - shrunk
    torch.testing.assert_close(training_target(prediction, clean, noise, level, clean * 0, schedule), output)
    torch.testing.assert_close(to_clean(prediction, output, noise, level, clean * 0, schedule), clean)


@pytest.mark.parametrize("prediction", ["v", "noise"])
def test_predictions_are_read_as_by_diffusers(prediction):
    kind = {"v": "v_prediction", "noise": "epsilon"}[prediction]
    scheduler = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", prediction_type=kind, clip_sample=False)
    scheduler.set_timesteps(50)
    x, output = random(2, 3, 4, dtype=torch.float32)
    level = torch.full((3,), level_of(400))
    expected = scheduler.step(output, 400, x).pred_original_sample
    torch.testing.assert_close(to_clean(prediction, output, x, level, x * 0, get_schedule("ddpm")), expected, atol=1e-5, rtol=0)


def test_zero_output_copies_the_past():
    base = random(2, 3, 3, 1, dtype=torch.float32)
    for name in ("linear", "zero_snr_rescaled"):
        assert torch.equal(to_clean("clean", torch.zeros_like(base), base + 1, torch.ones(2), base, get_schedule(name)), base)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_level_steps_are_even_and_end_at_both_ends(steps):
    levels = level_steps(steps)
    assert levels[0] == 1.0
    assert levels[-1] == 0.0
    assert len(levels) == steps + 1
    assert all(math.isclose(a - b, 1 / steps, abs_tol=1e-12) for a, b in zip(levels, levels[1:], strict=False))
    assert level_steps(steps, last=0.001) == [*levels[:-1], 0.001]


def test_level_steps_are_trailing_timesteps():
    assert timestep_of(torch.tensor(level_steps(50, last=0.001))).tolist() == [*range(999, 0, -20), 0]
    assert timestep_of(torch.tensor(level_steps(10))).tolist() == [*range(999, 0, -100), -1]
    with pytest.raises(InvalidInput, match="last is 0.5, expected a level from 0 to 1/steps = 0.1"):
        level_steps(10, last=0.5)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_in_many_steps_samples_the_gaussian(name, eta):
    """The mean is right at once; the error of the variance falls to zero as one over the steps."""
    schedule = get_schedule(name)
    (mean, _), (_, coarse), (_, fine) = (moments(schedule, level_steps(steps), ONE, eta) for steps in (4, 125, 250))
    torch.testing.assert_close(mean, ONE[0])
    torch.testing.assert_close(fine, ONE[1], atol=0.015, rtol=0)
    assert abs(fine - ONE[1]) < 0.65 * abs(coarse - ONE[1])


def test_deterministic_ddim_maps_quantiles_to_quantiles():
    schedule, noise = get_schedule("linear"), torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None]
    sample = sample_ddim(optimal_denoiser(schedule, *ONE), noise, level_steps(500), schedule)
    torch.testing.assert_close(sample, ONE[0] + ONE[1].sqrt() * noise, atol=4e-3, rtol=0)


def staggered(steps, delay):
    """Levels of two frames, `steps + delay + 1` of `[1, 2]`: the second begins `delay` steps after the first."""
    first = torch.tensor([*level_steps(steps), *[0.0] * delay], dtype=torch.float64)
    second = torch.tensor([*[1.0] * delay, *level_steps(steps)], dtype=torch.float64)
    return list(torch.stack([first, second], dim=1)[:, None])


@pytest.mark.parametrize("name", ["linear", "zero_snr_rescaled"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("delay", [0, 0.5, 1])
def test_frames_with_their_own_levels_keep_their_joint_gaussian(name, eta, delay):
    """Two correlated frames denoised together, overlapping, and one after the other have the same distribution, as the steps grow."""
    schedule = get_schedule(name)
    (mean, coarse), (_, fine) = (moments(schedule, staggered(steps, int(delay * steps)), TWO, eta) for steps in (100, 200))
    torch.testing.assert_close(mean, MEAN)
    torch.testing.assert_close(fine, COVARIANCE, atol=0.025, rtol=0)
    assert (fine - COVARIANCE).abs().max() < 0.65 * (coarse - COVARIANCE).abs().max()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_step_of_frames_is_the_steps_of_each_frame(name, eta):
    """Including a frame that stays at pure noise, one that stays clean, one that gets there and one that stays in between."""
    schedule = get_schedule(name)
    x, clean, noise = random(3, 2, 6, 3, 3, 1)
    now = torch.tensor([[1.0, 0.8, 0.3, 0.3, 0.0, 1.0], [0.5, 0.4, 0.2, 0.02, 0.0, 0.7]], dtype=torch.float64)
    after = torch.tensor([[1.0, 0.5, 0.0, 0.3, 0.0, 0.0], [0.4, 0.001, 0.0, 0.0, 0.0, 0.7]], dtype=torch.float64)
    moved = ddim_step(x, clean, now, after, schedule, eta=eta, noise=noise)
    for row in range(2):
        for t in range(6):
            levels = now[row, t].item(), after[row, t].item()
            alone = ddim_step(x[row, t], clean[row, t], *levels, schedule, eta=eta, noise=noise[row, t])
            torch.testing.assert_close(moved[row, t], alone, atol=1e-12, rtol=0)
            assert torch.equal(alone, x[row, t]) == (levels[0] == levels[1])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_one_level_for_all_frames_is_a_float(eta):
    schedule, noise = get_schedule("zero_snr_rescaled"), random(2, 3, 4)
    levels, draw = level_steps(10, last=0.001), lambda i: random(2, 3, 4, seed=i + 1)
    alike = torch.tensor(levels, dtype=torch.float64)[:, None, None].expand(-1, 2, 3)
    expected = sample_ddim(v_denoiser(schedule), noise, levels, schedule, eta=eta, draw=draw, keep_scale=True)
    sample = sample_ddim(v_denoiser(schedule), noise, alike, schedule, eta=eta, draw=draw, keep_scale=True)
    torch.testing.assert_close(sample, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("steps", [50, 10])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("last", [0.0, 0.001])
def test_ddim_is_the_one_of_diffusers(steps, eta, last):
    """At eta 1 from the second step on: at zero SNR diffusers takes the root of 1 - alpha'^2 - s^2 = 0, which rounding makes NaN."""
    options = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}
    scheduler = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", set_alpha_to_one=last == 0, **options)
    scheduler.set_timesteps(steps)
    schedule, begin = get_schedule("zero_snr"), int(eta)
    start = random(2, 3, 4, dtype=torch.float32)
    draws = random(steps, 2, 3, 4, seed=1, dtype=torch.float32)
    x = start
    for i, timestep in enumerate(scheduler.timesteps[begin:].tolist()):
        x = scheduler.step(v_network(x, level_of(timestep)), timestep, x, eta=eta, variance_noise=draws[i] if eta else None).prev_sample
    levels = level_steps(steps, last)[begin:]
    sample = sample_ddim(v_denoiser(schedule), start, levels, schedule, eta=eta, draw=lambda i: draws[i])
    torch.testing.assert_close(sample, x, atol=1e-5, rtol=0)


def test_an_ancestral_step_from_pure_noise_forgets_it():
    """alpha = 0: the noise says nothing of the sample, so x' is the prediction noised afresh."""
    schedule = get_schedule("zero_snr")
    x, clean, noise = random(3, 2, 3, 4, dtype=torch.float32)
    expected = schedule.add_noise(clean, noise, torch.tensor(0.98))
    assert torch.equal(ddim_step(x, clean, 1.0, 0.98, schedule, eta=1.0, noise=noise), expected)


@pytest.mark.parametrize("keep_scale", [True, False])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_shrinking_anew_is_the_ratio_of_vid2world(eta, keep_scale):
    """Specification 3.2.8: the shrunk clean prediction times shrink(after) / shrink(now); the last step keeps shrink(19) if asked to."""
    schedule = get_schedule("zero_snr_rescaled")
    x = start = random(2, 3, 4)
    draws = random(50, 2, 3, 4, seed=1)
    levels = level_steps(50, last=0.001)
    shrinks = dynamic_rescale(torch.tensor(levels, dtype=torch.float64))
    shrinks[-1] = shrinks[-2] if keep_scale else 1.0
    for i in range(50):
        now, after = (schedule.alpha(torch.tensor(level, dtype=torch.float64)) ** 2 for level in levels[i : i + 2])
        v = v_network(x, levels[i])
        shrunk = (now.sqrt() * x - (1 - now).sqrt() * v) * shrinks[i + 1] / shrinks[i]
        direction = now.sqrt() * v + (1 - now).sqrt() * x
        added = eta * ((1 - after) / (1 - now) * (1 - now / after)).sqrt()
        x = after.sqrt() * shrunk + (1 - after - added**2).sqrt() * direction + added * draws[i]
    sample = sample_ddim(v_denoiser(schedule), start, levels, schedule, eta=eta, draw=lambda i: draws[i], keep_scale=keep_scale)
    torch.testing.assert_close(sample, x, atol=1e-10, rtol=0)


def test_keeping_the_scale_is_a_factor_on_the_result():
    schedule, noise = get_schedule("zero_snr_rescaled"), random(2, 3)
    kept, plain = (
        sample_ddim(v_denoiser(schedule), noise, level_steps(50), schedule, keep_scale=keep_scale) for keep_scale in (True, False)
    )
    torch.testing.assert_close(kept, plain * (1 - 0.3 * 19 / 399))


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_ddim_with_the_linear_schedule_is_the_euler_of_flow_matching(steps):
    """diffusers' scheduler integrates what the network predicts: noise - clean, the flow."""
    scheduler, schedule = FlowMatchEulerDiscreteScheduler(), get_schedule("linear")
    scheduler.set_timesteps(sigmas=level_steps(steps)[:-1])
    x = start = random(2, 3, 4, dtype=torch.float32)
    for level, timestep in zip(level_steps(steps)[:-1], scheduler.timesteps, strict=True):
        x = scheduler.step(v_network(x, level), timestep, x).prev_sample

    def denoise(x, level):
        return to_clean("flow", v_network(x, level), x, torch.tensor(level), x * 0, schedule)

    torch.testing.assert_close(sample_ddim(denoise, start, level_steps(steps), schedule), x, atol=1e-5, rtol=0)


def test_one_ddim_step_from_pure_noise_is_the_prediction():
    schedule, noise = get_schedule("linear"), random(5, dtype=torch.float32)
    sample = sample_ddim(lambda x, level: x * 0 + level + 2, noise, level_steps(1), schedule)
    assert torch.equal(sample, torch.full((5,), 3.0))


def test_an_ancestral_step_has_the_spread_of_the_posterior():
    """Variance of x' given x and the clean sample: 1 / (precision of x' alone + precision of x given x'), for the linear schedule."""
    now, after = torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.35, dtype=torch.float64)
    slope = (1 - now) / (1 - after)  # x = slope x' + rest
    rest = now**2 - (slope * after) ** 2
    posterior = 1 / (1 / after**2 + slope**2 / rest)
    torch.testing.assert_close(added_noise(now, after, get_schedule("linear"), 1.0) ** 2, posterior)


def test_the_sampler_refuses_what_it_cannot_do():
    noise, schedule = torch.zeros(1, 1), get_schedule("zero_snr")
    with pytest.raises(InvalidInput, match="eta is 1.0, so every step adds noise; give draw"):
        sample_ddim(v_denoiser(schedule), noise, [1.0, 0.0], schedule, eta=1.0)
    with pytest.raises(InvalidInput, match="eta is 1.5, expected a number from 0"):
        sample_ddim(v_denoiser(schedule), noise, [1.0, 0.0], schedule, eta=1.5, draw=lambda i: noise)


def test_guidance_is_linear_in_the_scale():
    known, hidden = random(2, 6)
    assert torch.equal(guide(known, hidden, 0.0), hidden)
    torch.testing.assert_close(guide(known, hidden, 1.0), known)
    torch.testing.assert_close(guide(known, hidden, 3.0) - guide(known, hidden, 2.0), known - hidden)
    torch.testing.assert_close(guide(known, hidden, 2.5), (1 + 1.5) * known - 1.5 * hidden)  # as printed in the paper, lambda 1.5
    assert torch.equal(guide(known, known, 7.5), known)


@pytest.mark.parametrize("axes", [(1, 2, 3, 4), (2, 3, 4), (-1,)])
def test_rescaling_brings_the_spread_back(axes):
    conditional, guided = random(2, 2, 3, 4, 4, 5)
    guided = 3 * guided + 1
    assert torch.equal(rescale(guided, conditional, 0.0, axes), guided)
    wide, back, part = (
        each.std(dim=axes) for each in (guided, rescale(guided, conditional, 1.0, axes), rescale(guided, conditional, 0.7, axes))
    )
    torch.testing.assert_close(back, conditional.std(dim=axes))
    torch.testing.assert_close(part, 0.7 * conditional.std(dim=axes) + 0.3 * wide)


def test_rescaling_leaves_what_was_not_guided_and_survives_constants():
    conditional = random(2, 3, 4)
    torch.testing.assert_close(rescale(conditional, conditional, 0.7, (1, 2)), conditional)
    assert torch.equal(rescale(torch.zeros(2, 3), torch.ones(2, 3), 0.7, (1,)), torch.zeros(2, 3))


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


def test_ancestral_sampling_with_keyed_noise_does_not_depend_on_batch_mates():
    schedule, seeds = get_schedule("zero_snr_rescaled"), [4, 8, 15]

    def sample(lanes):
        def noise(step):
            return keyed_noise([seeds[i] for i in lanes], [3] * len(lanes), step, (2, 4))

        denoise = v_denoiser(schedule)
        return sample_ddim(denoise, noise(0), level_steps(5), schedule, eta=1.0, draw=lambda i: noise(i + 1))

    together = sample([0, 1, 2])
    assert torch.equal(sample([2, 0]), together[[2, 0]])
    assert not torch.equal(together[0], together[1])


def test_independent_levels_are_uniform_over_the_timesteps():
    levels = independent_levels((300, 200), torch.Generator().manual_seed(0))
    assert levels.shape == (300, 200)
    counts = torch.bincount(timestep_of(levels).flatten(), minlength=1000)
    assert len(counts) == 1000
    assert counts.min() > 0
    assert 860 < ((counts - 60) ** 2 / 60).sum() < 1150  # chi-squared with 999 degrees of freedom: 999 +- 3.2 * 45
    assert abs(torch.corrcoef(levels.T)[0, 1]) < 0.2


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
