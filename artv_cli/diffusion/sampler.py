"""Samplers: walk from pure noise to a clean latent, asking only for `denoise(x, sigma)`.

The maths is k-diffusion's, with `x = y_0 + sigma eps`. Its exponential steps and its Euler steps
are one formula: if the denoised value stayed as it is, the exact solution of the probability-flow
ODE keeps the fraction sigma_next / sigma of what separates x from it. The samplers differ only in
which denoised value they believe. `step` is the sampler's index, 0 the noisiest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from artv_cli.settings import SamplerName

Denoise = Callable[[Tensor, float], Tensor]  # (x, sigma) -> denoised, all (b, c, h, w)
StepNoise = Callable[[int], Tensor]  # step -> standard normal noise, shaped as x


def initial_state(noise: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Return x at the first sigma when the network's own input y_T is to be `noise`."""
    return noise * math.sqrt(1 + sigmas[0] ** 2)


def sample(
    name: SamplerName, denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: StepNoise
) -> Tensor:
    """Return the latents that the named sampler reaches from `x`.

    `x`: (b, c, h, w), `initial_state(...)`; `sigmas`: falling, 0 last
    (`Schedule.sampling_sigmas`); `noise`: asked only by ancestral samplers.
    """
    match name:
        case "dpmpp_2s_ancestral":
            return dpmpp_2s_ancestral(denoise, x, sigmas, noise)
        case "dpmpp_2m":
            return dpmpp_2m(denoise, x, sigmas)
        case "euler":
            return euler(denoise, x, sigmas)


def dpmpp_2s_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: StepNoise, *, eta: float = 1.0
) -> Tensor:
    """Sample with DPM-Solver++(2S) steps (arXiv 2211.01095, Alg. 1) and fresh noise in between.

    Two evaluations a step, one in the last. `eta` 0 draws no noise, 1 replaces all that it may.
    """
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        denoised = denoise(x, sigma)
        if sigma_down > 0:
            sigma_mid = math.sqrt(sigma * sigma_down)
            denoised = denoise(_approach(x, denoised, sigma_mid / sigma), sigma_mid)
        x = _approach(x, denoised, sigma_down / sigma)
        x = _renoise(x, sigma_up, noise, step)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Sample with DPM-Solver++(2M) steps (arXiv 2211.01095, Alg. 2): one evaluation a step.

    The last denoised value is extrapolated along log sigma from the one before it.
    """
    previous: Tensor | None = None
    h_previous = math.inf
    for sigma, sigma_next in pairwise(sigmas):
        denoised = believed = denoise(x, sigma)
        h = math.log(sigma / sigma_next) if sigma_next > 0 else math.inf
        if previous is not None and sigma_next > 0:
            believed = torch.lerp(previous, denoised, 1 + h / (2 * h_previous))
        x = _approach(x, believed, sigma_next / sigma)
        previous, h_previous = denoised, h
    return x


def euler(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise: StepNoise | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Sample with Euler's method, one evaluation a step; ancestral where `eta` is above 0."""
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        sigma_down, sigma_up = ancestral_step(sigma, sigma_next, eta)
        x = _approach(x, denoise(x, sigma), sigma_down / sigma)
        x = _renoise(x, sigma_up, noise, step)
    return x


def ancestral_step(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Split a step into the noise level to go down to and the noise to add back.

    Their squares sum to that of `sigma_next`, so the data's deviation is kept.
    """
    sigma_up = min(sigma_next, eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2))
    return math.sqrt(sigma_next**2 - sigma_up**2), sigma_up


def _approach(x: Tensor, denoised: Tensor, fraction: float) -> Tensor:
    """Keep `fraction` of what separates `x` from `denoised`."""
    return torch.lerp(denoised, x, fraction)


def _renoise(x: Tensor, sigma_up: float, noise: StepNoise | None, step: int) -> Tensor:
    if noise is None or sigma_up == 0:
        return x
    return x + sigma_up * noise(step).to(x)
