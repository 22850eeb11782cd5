"""From two networks' predictions to a denoised latent: the masked diffusion model (Sec. 3.2).

`mask` is 1 where a pixel is copied from the reference (static) and 0 where it is drawn anew
(dynamic). Eq. 7 blends noise; since `denoised = x - sigma * noise` is affine, blending what each
noise denoises to is the same thing, and with the exact static noise that is the reference itself.
So nothing is ever divided by a small sigma in sampling.

Shapes: `n` guidance branches, `b` batch, `c` channels, `h w` latent size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from artv_cli.diffusion.guidance import Branch, guide
from artv_cli.diffusion.schedule import Schedule
from artv_cli.settings import Guidance, StaticNoise

# How far guidance may move a latent value, in units of the latents' deviation: unbounded pushes
# feed back through the references and build up over a long story.
DYNAMIC_LIMIT = 1.5


class Prediction(NamedTuple):
    """What the two networks say about a noisy latent."""

    mask: Tensor  # (b, 1, h, w) in [0, 1]: 1 copies the reference
    dynamic: Tensor  # (b, c, h, w): the dynamic noise


# (y_t (n*b, c, h, w) branch by branch, timestep) -> Prediction of the same n*b: of all branches, or
# of the full one alone (n = 1). Where guidance is on the dynamic part, only the full branch's mask
# is read: the first b will do.
NoisePredictor = Callable[[Tensor, int], Prediction]


def static_noise(
    y_t: Tensor,
    reference: Tensor,
    signal_scale: Tensor | float,
    noise_scale: Tensor | float,
    form: StaticNoise,
) -> Tensor:
    """Return the noise that a pixel would hold had it not moved since the reference (Eq. 6).

    `y_t` and the clean `reference`: (b, c, h, w); the scales are sqrt(abar_t) and
    sqrt(1 - abar_t). "exact" solves Eq. 3 for y_0 = y_ref; the two differences are the paper's
    Fig. 3 and text, neither of which is scaled.
    """
    match form:
        case "exact":
            return (y_t - signal_scale * reference) / noise_scale
        case "input_minus_reference":
            return y_t - reference
        case "reference_minus_input":
            return reference - y_t


def compose_noise(mask: Tensor, static: Tensor, dynamic: Tensor) -> Tensor:
    """Return m * eps_static + (1 - m) * eps_dynamic (Eq. 7).

    `mask`: (b, 1, h, w) in [0, 1]; `static` and `dynamic`: (b, c, h, w). A mask of 1 or 0 returns
    the one or the other exactly.
    """
    return mask * static + (1 - mask) * dynamic


@dataclass(frozen=True, kw_only=True, eq=False)
class Denoiser:
    """A noise predictor as k-diffusion's samplers want it: `denoise(x, sigma) -> denoised`.

    `branches` names what the batch of `predict` holds, `FULL` first, and alone where the timestep
    lies outside `guidance.interval`; `reference` is the previous frame's clean latents,
    (b, c, h, w), or None for a key frame, which has nothing to copy.
    `watch` hears each evaluation's timestep and the full branch's mask, (b, 1, h, w).
    """

    predict: NoisePredictor
    schedule: Schedule
    guidance: Guidance
    branches: tuple[Branch, ...]
    reference: Tensor | None
    static_noise: StaticNoise = "exact"
    watch: Callable[[int, Tensor], None] | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Return the guided estimate of y_0 in x = y_0 + sigma * eps; both (b, c, h, w).

        The networks know only the schedule's timesteps: `sigma` is moved to the nearest of them
        (sgm's `DiscreteDenoiser`).
        """
        timestep = self.schedule.nearest_timestep(sigma)
        sigma = self.schedule.sigmas[timestep].item()
        y_t = x / math.sqrt(1 + sigma**2)

        lowest, highest = self.guidance.interval
        branches = self.branches if lowest <= timestep <= highest else (Branch.FULL,)
        mask, noise = self.predict(y_t.repeat(len(branches), 1, 1, 1), timestep)
        masks = mask.to(x).split(len(x))  # n of (b, 1, h, w)
        dynamic = [x - sigma * part for part in noise.to(x).split(len(x))]  # n of (b, c, h, w)
        if self.watch is not None:
            self.watch(timestep, masks[0])

        static = self._static(x, y_t, sigma)
        if self.guidance.on == "composed":
            composed = [
                # Where the references are blank there is nothing to copy: the mask is 0.
                d if branch is Branch.NO_REFERENCE else _blend(m, static, d)
                for branch, m, d in zip(branches, masks, dynamic, strict=True)
            ]
            return guide(composed, branches, self.guidance)
        guided = guide(dynamic, branches, self.guidance, limit=DYNAMIC_LIMIT)
        return _blend(masks[0], static, guided)

    def _static(self, x: Tensor, y_t: Tensor, sigma: float) -> Tensor | None:
        """Return what the static noise denoises to; with the exact form, the reference itself."""
        if self.reference is None:
            return None
        reference = self.reference.to(x)
        if self.static_noise == "exact":
            return reference
        signal_scale = 1 / math.sqrt(1 + sigma**2)
        noise = static_noise(y_t, reference, signal_scale, sigma * signal_scale, self.static_noise)
        return x - sigma * noise


def _blend(mask: Tensor, static: Tensor | None, dynamic: Tensor) -> Tensor:
    """Return m * D_static + (1 - m) * D_dynamic: Eq. 7 on what each noise denoises to."""
    return dynamic if static is None else compose_noise(mask, static, dynamic)
