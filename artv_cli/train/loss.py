"""The loss of the masked diffusion model, through both networks at once (Eq. 4, 7).

Nothing supervises the mask: it learns to copy because copying a still pixel predicts the noise
exactly.

Legend: b batch, c latent channels, h w latent size, n text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from artv_cli.diffusion.denoiser import compose_noise, static_noise
from artv_cli.diffusion.noise import augment
from artv_cli.diffusion.schedule import Schedule
from artv_cli.model.artv import ArtV
from artv_cli.settings import StaticNoise
from artv_cli.train.examples import Examples


@dataclass(frozen=True)
class Draw:
    """The random part of one step: what is added to the target and to its conditions.

    `timestep` and `noise_level`: (b,) integers; `noise` (b, c, h, w), `reference_noise`
    (b, 2c, h, w) and `anchor_noise` (b, c, h, w): standard normal.
    """

    timestep: Tensor
    noise_level: Tensor
    noise: Tensor
    reference_noise: Tensor
    anchor_noise: Tensor

    @classmethod
    def for_examples(
        cls,
        examples: Examples,
        schedule: Schedule,
        max_level: int,
        generators: Sequence[torch.Generator],
        shift: float = 1.0,
    ) -> Draw:
        """Draw timesteps over the whole schedule and levels from [0, max_level] (Sec. 3.3).

        Each example has a generator, so that its draw does not hang on the others in its batch. A
        `shift` above 1 draws noisy timesteps more often (arXiv 2403.03206, Eq. 23).
        """
        steps = len(schedule.alphas_cumprod)
        target, references = examples.target.shape[1:], examples.references.shape[1:]
        rows = [
            (
                torch.randint(steps, (), generator=generator),
                torch.randint(max_level + 1, (), generator=generator),
                torch.randn(target, generator=generator),
                torch.randn(references, generator=generator),
                torch.randn(target, generator=generator),
            )
            for generator in generators
        ]
        timestep, *others = (torch.stack(column) for column in zip(*rows, strict=True))
        return cls(_shifted(timestep, steps, shift), *others)

    def to(self, device: torch.device) -> Draw:
        """Return this draw on a device: it is made on the CPU, so that all devices see the same."""
        return Draw(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def _shifted(timestep: Tensor, steps: int, shift: float) -> Tensor:
    share = timestep.double() / steps
    return (steps * shift * share / (1 + (shift - 1) * share)).round().long().clamp(max=steps - 1)


def masked_diffusion_loss(
    model: ArtV,
    examples: Examples,
    text: Tensor,
    draw: Draw,
    schedule: Schedule,
    form: StaticNoise = "exact",
) -> tuple[Tensor, Tensor]:
    """Return ||eps - eps_hat||^2 per example (b,) and the mean mask of each (b,).

    `text`: (b, n, context width), the text encoder's states of the examples' captions.
    """
    level = draw.noise_level
    references = augment(examples.references, level, draw.reference_noise, schedule)
    anchor = augment(examples.anchor, level, draw.anchor_noise, schedule)
    conditions = model.prepare(
        references * examples.has_reference,
        anchor * examples.has_anchor,
        model.prepare_text(text),
        level,
    )
    y_t = schedule.add_noise(examples.target, draw.noise, draw.timestep)
    mask, dynamic = model(y_t, draw.timestep, conditions)
    scales = schedule.coefficients(draw.timestep, y_t)
    static = static_noise(y_t, examples.previous, *scales, form)
    predicted = compose_noise(mask.float(), static, dynamic.float())  # Eq. 7
    loss = (draw.noise - predicted).square().flatten(1).mean(1)  # Eq. 4
    return loss, mask.detach().float().flatten(1).mean(1)
