"""The noise schedule: how much signal and how much noise each training timestep holds.

A noisy latent has two scalings. Networks see the variance-preserving `y_t = sqrt(abar) y_0 +
sqrt(1 - abar) eps` (Eq. 3); samplers see the variance-exploding `x = y_0 + sigma eps`, which is
`y_t / sqrt(abar)` with `sigma = sqrt((1 - abar) / abar)`.

Shapes: `b` batch, `c` channels, `h w` latent size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """The training timesteps 0..n-1, from almost clean to almost pure noise.

    `alphas_cumprod`: (n,) float64 on the CPU, falling, inside (0, 1): the paper's abar_t.
    """

    alphas_cumprod: Tensor

    @classmethod
    def scaled_linear(
        cls, beta_start: float = 0.00085, beta_end: float = 0.0120, num_steps: int = 1000
    ) -> Self:
        """Return LDM's "linear" schedule, linear in sqrt(beta): diffusers' `scaled_linear`."""
        root = torch.linspace(beta_start**0.5, beta_end**0.5, num_steps, dtype=torch.float64)
        return cls((1 - root.square()).cumprod(0))

    @cached_property
    def sigmas(self) -> Tensor:
        """Noise level of each timestep, noise over signal: (n,) float64, rising."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    @property
    def betas(self) -> tuple[float, float]:
        """The first and the last beta: what `scaled_linear` makes the schedule of."""
        first = 1 - self.alphas_cumprod[0]
        last = 1 - self.alphas_cumprod[-1] / self.alphas_cumprod[-2]
        # What rounding left in the products is taken out again: 0.012, not 0.01200000000000001.
        return float(f"{first:.10g}"), float(f"{last:.10g}")

    def timesteps(self, steps: int) -> list[int]:
        """Return `steps` falling timesteps from the noisiest on, spaced as in sgm.

        For 50 of 1000: 999, 979, ... 19 (`LegacyDDPMDiscretization`). Raises ValueError unless
        `steps` lies in 1..n.
        """
        num_steps = len(self.alphas_cumprod)
        if not 1 <= steps <= num_steps:
            raise ValueError(f"steps must be 1 to {num_steps}, got {steps}")
        return [int(t) for t in np.linspace(num_steps - 1, 0, steps, endpoint=False)]

    def sampling_sigmas(self, steps: int) -> list[float]:
        """Return the falling sigmas of `timesteps(steps)` with 0 appended: `steps + 1` values."""
        return [*self.sigmas[self.timesteps(steps)].tolist(), 0.0]

    def nearest_timestep(self, sigma: float) -> int:
        """Return the timestep whose noise level is nearest to `sigma` (sgm's quantisation)."""
        return int((self.sigmas - sigma).abs().argmin())

    def coefficients(self, timestep: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(abar_t) and sqrt(1 - abar_t), in `like`'s dtype and on its device.

        `timestep`: one for the whole batch, or (b,) integers. Both results broadcast against
        (b, c, h, w).
        """
        index = torch.as_tensor(timestep, device=like.device).view(-1, 1, 1, 1)
        tables = self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()
        signal, noise = (table.to(like.dtype).to(like.device)[index] for table in tables)
        return signal, noise

    def add_noise(self, latents: Tensor, noise: Tensor, timestep: int | Tensor) -> Tensor:
        """Return y_t = sqrt(abar_t) y_0 + sqrt(1 - abar_t) eps (Eq. 3).

        `latents` y_0 and `noise` eps: (b, c, h, w); `timestep`: as in `coefficients`.
        """
        signal_scale, noise_scale = self.coefficients(timestep, latents)
        return signal_scale * latents + noise_scale * noise
