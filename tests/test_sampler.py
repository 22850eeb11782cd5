"""The samplers, against k-diffusion's values and against Gaussians, whose answer is known."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sample_plans import plan

from artv_cli.diffusion.sampler import (
    ancestral_step,
    dpmpp_2m,
    dpmpp_2s_ancestral,
    euler,
    initial_state,
    sample,
)
from artv_cli.diffusion.schedule import Schedule
from artv_cli.setting_tables import GuidanceSettings
from artv_cli.settings import SamplerName, Settings
from artv_cli.timings import effort

GOLDEN = json.loads((Path(__file__).parent / "golden" / "samplers.json").read_text())
MATRIX = torch.tensor(GOLDEN["A"], dtype=torch.float64)
SCHEDULE = Schedule.scaled_linear()
DEVIATION = 0.5  # of the Gaussian data


class Recorded:
    """A denoiser that remembers the sigmas at which it was asked."""

    def __init__(self, denoise):
        self.denoise, self.sigmas = denoise, []

    def __call__(self, x, sigma):
        self.sigmas.append(sigma)
        return self.denoise(x, sigma)


def golden_denoiser(x, sigma):
    return torch.tanh(x @ MATRIX / (1 + sigma**2)) + 0.25 * torch.sin(x) / (1 + sigma)


def gaussian_denoiser(x, sigma):
    """The ideal denoiser of data ~ N(0, DEVIATION^2)."""
    return x * DEVIATION**2 / (DEVIATION**2 + sigma**2)


def no_noise(step):
    raise AssertionError(f"noise was asked for at step {step}")


def karras_sigmas(steps):
    """Return `steps` falling sigmas from 14.6 to 0.03, evenly spaced in sigma^(1/7)."""
    ramp = torch.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), steps, dtype=torch.float64)
    return ramp.pow(7).tolist()


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda c: f"{c['sampler']}-eta{c['eta']}-{c['steps']}"
)
def test_trajectory_equals_k_diffusion(case):
    sigmas = SCHEDULE.sampling_sigmas(case["steps"])
    assert SCHEDULE.timesteps(case["steps"]) == case["timesteps"]
    assert sigmas == pytest.approx(case["sigmas"], abs=1e-9)

    x = torch.tensor(case["x"], dtype=torch.float64)
    noise = [torch.tensor(n, dtype=torch.float64) for n in case["noise"] or []].__getitem__
    denoise = Recorded(golden_denoiser)
    match case["sampler"]:
        case "dpmpp_2s_ancestral":
            result = dpmpp_2s_ancestral(denoise, x, sigmas, noise, eta=case["eta"])
        case "euler_ancestral":
            result = euler(denoise, x, sigmas, noise, eta=case["eta"])
        case "dpmpp_2m" | "euler" as name:
            result = sample(name, denoise, x, sigmas, no_noise)

    assert len(denoise.sigmas) == case["model_calls"]
    assert denoise.sigmas == pytest.approx(case["model_sigmas"], abs=1e-9)
    torch.testing.assert_close(
        result, torch.tensor(case["result"], dtype=torch.float64), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    ("name", "evaluations"), [("dpmpp_2s_ancestral", 99), ("dpmpp_2m", 50), ("euler", 50)]
)
def test_fifty_steps_take_two_evaluations_each_but_the_last_or_one(name, evaluations):
    denoise = Recorded(gaussian_denoiser)
    x = torch.ones(1, 1, 1, 1)
    sample(name, denoise, x, SCHEDULE.sampling_sigmas(50), lambda step: torch.zeros_like(x))
    assert len(denoise.sigmas) == evaluations


def relative_error(sampler, steps):
    """How far a Gaussian's trajectory ends from the ODE's exact solution."""
    sigmas = karras_sigmas(steps)
    start = torch.tensor([10.0], dtype=torch.float64)
    variance = DEVIATION**2
    exact = start * math.sqrt((variance + sigmas[-1] ** 2) / (variance + sigmas[0] ** 2))
    return ((sampler(gaussian_denoiser, start, sigmas) - exact) / exact).abs().item()


def two_s_without_noise(denoise, x, sigmas):
    return dpmpp_2s_ancestral(denoise, x, sigmas, no_noise, eta=0)


def test_the_error_of_2s_without_noise_is_that_of_a_second_order_method():
    errors = [relative_error(two_s_without_noise, steps) for steps in (10, 20, 40, 80)]
    assert errors == pytest.approx([3.0e-2, 7.3e-3, 1.8e-3, 4.5e-4], rel=0.05)


@pytest.mark.parametrize(
    ("sampler", "order"), [(two_s_without_noise, 2), (dpmpp_2m, 2), (euler, 1)]
)
def test_doubling_the_steps_divides_the_error_by_two_to_the_order(sampler, order):
    coarse, fine = relative_error(sampler, 160), relative_error(sampler, 320)
    assert coarse / fine == pytest.approx(2**order, rel=0.1)


def test_full_ancestral_noise_keeps_the_data_s_deviation():
    generator = torch.Generator().manual_seed(0)

    def noise(step):
        return torch.randn(1, 4, 100, 100, generator=generator, dtype=torch.float64)

    sigmas = [*karras_sigmas(80), 0.0]
    result = dpmpp_2s_ancestral(gaussian_denoiser, noise(-1) * sigmas[0], sigmas, noise, eta=1.0)
    assert result.std().item() == pytest.approx(0.497, rel=0.01)


@given(st.floats(1e-3, 100), st.just(0.0) | st.floats(1e-6, 1), st.floats(0, 1))
def test_an_ancestral_step_splits_the_next_variance(sigma, fraction, eta):
    sigma_next = sigma * fraction
    down, up = ancestral_step(sigma, sigma_next, eta)
    assert 0 <= down and 0 <= up <= sigma_next
    assert math.hypot(down, up) == pytest.approx(sigma_next, abs=1e-12)
    if eta == 0:
        assert (down, up) == (sigma_next, 0)


@pytest.mark.parametrize("name", ["dpmpp_2s_ancestral", "dpmpp_2m", "euler"])
def test_a_single_step_returns_the_denoised_value(name):
    x = torch.full((1, 4, 2, 2), 3.0)
    result = sample(name, gaussian_denoiser, x, SCHEDULE.sampling_sigmas(1), no_noise)
    sigma = SCHEDULE.sampling_sigmas(1)[0]
    assert torch.equal(result, gaussian_denoiser(x, sigma))


@pytest.mark.parametrize("name", ["dpmpp_2s_ancestral", "dpmpp_2m", "euler"])
def test_a_denoiser_that_knows_the_answer_is_believed(name):
    answer = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.ones_like(answer)
    result = sample(
        name, lambda x, sigma: answer, noise * 14.6, SCHEDULE.sampling_sigmas(7), lambda step: noise
    )
    torch.testing.assert_close(result, answer)


def test_noise_is_asked_once_for_each_step_but_the_last_by_its_index():
    asked = []

    def noise(step):
        asked.append(step)
        return torch.zeros(1)

    dpmpp_2s_ancestral(gaussian_denoiser, torch.ones(1), SCHEDULE.sampling_sigmas(6), noise)
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", get_args(SamplerName))
@pytest.mark.parametrize("interval", [(0, 999), (0, 500), (200, 800)])
def test_a_sampler_asks_as_often_as_its_frames_count_as_work(name, interval):
    scales = {"text": 3, "reference": 0, "anchor": 0}
    settings = Settings(
        sampler=name, steps=20, guidance=GuidanceSettings(interval=interval, **scales)
    )
    recorded = Recorded(gaussian_denoiser)
    sigmas, ones = SCHEDULE.sampling_sigmas(20), torch.ones(1)
    sample(name, recorded, ones, sigmas, lambda step: ones)
    asked = [SCHEDULE.nearest_timestep(sigma) for sigma in recorded.sigmas]
    guided = sum(interval[0] <= timestep <= interval[1] for timestep in asked)
    counted = effort(plan({"prompt": "a cat walks", "frames": 2}, over=settings).frames[1])
    assert counted == pytest.approx(len(asked) + guided, abs=0 if interval == (0, 999) else 2)


def test_the_state_keeps_its_dtype_whatever_the_noise_is_drawn_in():
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    result = dpmpp_2s_ancestral(
        gaussian_denoiser, x, SCHEDULE.sampling_sigmas(3), lambda step: torch.ones(1, 1, 2, 2)
    )
    assert result.dtype == torch.float64


def test_the_initial_state_hands_the_network_the_noise_itself():
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigmas = SCHEDULE.sampling_sigmas(50)
    assert all(a > b for a, b in pairwise(sigmas))
    x = initial_state(noise, sigmas)
    torch.testing.assert_close(x * SCHEDULE.alphas_cumprod[999].sqrt(), noise)
