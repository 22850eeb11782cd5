"""The schedule, against diffusers' and sgm's definitions."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from artv_cli.diffusion.schedule import Schedule

SCHEDULE = Schedule.scaled_linear()


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler])
def test_alphas_equal_diffusers_scaled_linear(scheduler):
    theirs = scheduler(beta_start=0.00085, beta_end=0.0120, beta_schedule="scaled_linear")
    torch.testing.assert_close(
        SCHEDULE.alphas_cumprod, theirs.alphas_cumprod.double(), rtol=2e-5, atol=0
    )


def test_add_noise_equals_diffusers_for_a_batch_of_timesteps():
    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.0120, beta_schedule="scaled_linear")
    latents, noise = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 200, 999])
    torch.testing.assert_close(
        SCHEDULE.add_noise(latents, noise, timesteps), theirs.add_noise(latents, noise, timesteps)
    )


def test_fifty_timesteps_are_999_979_down_to_19():
    assert SCHEDULE.timesteps(50) == list(range(999, 0, -20))


@given(st.integers(1, 1000))
def test_timesteps_fall_without_repeats_as_sgm_spaces_them(steps):
    # generate_roughly_equally_spaced_steps of sgm, with its reversal left out
    expected = np.linspace(1000 - 1, 0, steps, endpoint=False).astype(int).tolist()
    timesteps = SCHEDULE.timesteps(steps)
    assert timesteps == expected
    assert len(set(timesteps)) == steps and min(timesteps) >= 0


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_a_step_count_outside_the_schedule_is_refused_with_the_range(steps):
    with pytest.raises(ValueError, match=f"steps must be 1 to 1000, got {steps}"):
        SCHEDULE.timesteps(steps)


@pytest.mark.parametrize("betas", [(0.00085, 0.012), (0.0001, 0.02), (0.0015, 0.0195)])
def test_a_schedule_says_of_which_betas_it_is_made(betas):
    assert Schedule.scaled_linear(*betas).betas == betas


def test_sampling_sigmas_fall_to_zero_and_count_one_more_than_the_steps():
    sigmas = SCHEDULE.sampling_sigmas(50)
    assert len(sigmas) == 51 and sigmas[-1] == 0.0
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[0] == pytest.approx(14.614641229333639, abs=1e-12)


@given(st.integers(0, 999), st.floats(-0.49, 0.49))
def test_a_sigma_is_moved_to_the_nearest_timestep(timestep, offset):
    sigmas = SCHEDULE.sigmas
    neighbour = min(max(timestep + int(math.copysign(1, offset)), 0), 999)
    gap = abs(sigmas[neighbour] - sigmas[timestep]).item()
    sigma = sigmas[timestep].item() + math.copysign(gap * abs(offset), offset)
    assert SCHEDULE.nearest_timestep(sigma) == timestep


def test_sigmas_beyond_the_schedule_are_moved_to_its_ends():
    assert SCHEDULE.nearest_timestep(0.0) == 0
    assert SCHEDULE.nearest_timestep(1e6) == 999


def test_one_timestep_serves_the_whole_batch():
    latents, noise = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        SCHEDULE.add_noise(latents, noise, 321),
        SCHEDULE.add_noise(latents, noise, torch.tensor([321, 321])),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_noised_latents_keep_their_dtype(dtype):
    latents = torch.ones(1, 4, 2, 2, dtype=dtype)
    for timestep in (200, torch.tensor([200])):
        assert SCHEDULE.add_noise(latents, latents, timestep).dtype == dtype
