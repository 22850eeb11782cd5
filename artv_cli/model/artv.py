"""The masked diffusion model: Φ_dynamic and Φ_mask side by side (Sec. 3.2, Table 2, Table 4).

Φ_dynamic predicts the noise of what moves, Φ_mask how much of each pixel is copied from the
frame before. How the two become one prediction is `diffusion.denoiser`'s business (Eq. 7).

Legend: b batch, c latent channels, h w latent size, n text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from artv_cli.diffusion.schedule import Schedule
from artv_cli.model.attention import KeysValues
from artv_cli.model.unet import ConditionedUNet, NetworkConditions, TextConditions

SD21_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "attention_head_dim": [5, 10, 20, 20],  # diffusers' name for the number of heads
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
MASK_UNET: dict[str, Any] = {
    **SD21_UNET,
    "out_channels": 1,
    "block_out_channels": [64, 128, 256, 256],
    "attention_head_dim": [2, 4, 8, 8],
}


class PreparedText(NamedTuple):
    """A batch of prompts, prepared for both networks."""

    dynamic: TextConditions
    mask: TextConditions


@dataclass(frozen=True)
class Conditions:
    """A batch of prepared conditions for both networks.

    `mask` may cover only the first rows of the batch. `has_reference` (b, 1, 1, 1) is 0 where the
    references are blank: there is nothing to copy.
    """

    dynamic: NetworkConditions
    mask: NetworkConditions
    has_reference: Tensor

    def without_references(self, blank: Conditions) -> Conditions:
        """Return these conditions with the blank references of `blank`."""
        return Conditions(
            replace(self.dynamic, references=blank.dynamic.references),
            replace(self.mask, references=blank.mask.references),
            blank.has_reference,
        )

    def without_anchor(self, blank: Conditions) -> Conditions:
        """Return these conditions with the blank anchor of `blank`."""
        return replace(
            self,
            dynamic=replace(self.dynamic, anchor=blank.dynamic.anchor),
            mask=replace(self.mask, anchor=blank.mask.anchor),
        )

    def with_text(self, text: PreparedText) -> Conditions:
        """Return these conditions with another prompt."""
        return replace(
            self,
            dynamic=replace(self.dynamic, text=text.dynamic),
            mask=replace(self.mask, text=text.mask),
        )


def stack(rows: Sequence[Conditions], *, masks: int) -> Conditions:
    """Concatenate conditions along the batch, with those of Φ_mask for the first `masks` rows."""
    return Conditions(
        _stack_network([row.dynamic for row in rows]),
        _stack_network([row.mask for row in rows[:masks]]),
        torch.cat([row.has_reference for row in rows]),
    )


class ArtV(nn.Module):
    """Predicts the dynamic noise and the copy mask of one frame.

    Φ_dynamic outputs the noise, as in the paper; or, where `velocity` gives the schedule, the
    velocity v = sqrt(abar) eps - sqrt(1 - abar) y_0 (arXiv 2202.00512), of which the noise is
    sqrt(1 - abar) y_t + sqrt(abar) v. A network that starts from nothing learns it much sooner:
    at high noise v is the picture itself, while predicting the noise means copying the input
    to a thousandth.
    """

    def __init__(
        self, dynamic: ConditionedUNet, mask: ConditionedUNet, velocity: Schedule | None = None
    ) -> None:
        super().__init__()
        self.dynamic = dynamic
        self.mask = mask
        self.velocity = velocity

    @apply_forward_hook
    def prepare_text(self, text: Tensor) -> PreparedText:
        """Prepare the text encoder's states (b, n, context width): once per prompt."""
        return PreparedText(self.dynamic.prepare_text(text), self.mask.prepare_text(text))

    @apply_forward_hook
    def prepare(
        self, references: Tensor, anchor: Tensor, text: PreparedText, noise_level: Tensor
    ) -> Conditions:
        """Prepare what does not change between denoising steps: once per frame.

        references: (b, 2c, h, w) y_{i-1} and y_{i-2}, noise-augmented; zeros where blank.
        anchor: (b, c, h, w), noise-augmented; zeros where blank.
        noise_level: (b,) integers in [0, 999], the level of the augmentation.
        """
        has_reference = references.flatten(1).ne(0).any(dim=1).to(references.dtype)
        dynamic, mask = (
            NetworkConditions(
                network.prepare_references(references),
                network.prepare_anchor(anchor),
                prepared,
                network.prepare_level(noise_level),
            )
            for network, prepared in ((self.dynamic, text.dynamic), (self.mask, text.mask))
        )
        return Conditions(dynamic, mask, has_reference[:, None, None, None])

    def forward(
        self, y_t: Tensor, timestep: Tensor, conditions: Conditions
    ) -> tuple[Tensor, Tensor]:
        """Return the mask (rows, 1, h, w) in [0, 1] and the dynamic noise (b, c, h, w).

        y_t: (b, c, h, w) noised latents of Eq. 5; timestep: (b,) integers in [0, 999]. The mask
        has as many rows as `conditions.mask`.
        """
        dynamic_noise = self.dynamic(y_t, timestep, conditions.dynamic)
        if self.velocity is not None:
            signal_scale, noise_scale = self.velocity.coefficients(timestep, y_t)
            dynamic_noise = noise_scale * y_t + signal_scale * dynamic_noise
        rows = len(conditions.mask.level)
        mask = self.mask(y_t[:rows], timestep[:rows], conditions.mask).sigmoid()
        return mask * conditions.has_reference[:rows], dynamic_noise


def _stack_network(rows: Sequence[NetworkConditions]) -> NetworkConditions:
    return NetworkConditions(
        [torch.cat(level) for level in zip(*(row.references for row in rows), strict=True)],
        [_stack_context(layer) for layer in zip(*(row.anchor for row in rows), strict=True)],
        _stack_text([row.text for row in rows]),
        torch.cat([row.level for row in rows]),
    )


def _stack_text(rows: Sequence[TextConditions]) -> TextConditions:
    contexts = [
        [_stack_context(block) for block in zip(*layer, strict=True)]
        for layer in zip(*(row.contexts for row in rows), strict=True)
    ]
    embeddings = [row.embedding for row in rows if row.embedding is not None]
    return TextConditions(contexts, torch.cat(embeddings) if embeddings else None)


def _stack_context(contexts: Sequence[KeysValues]) -> KeysValues:
    return KeysValues(*(torch.cat(part) for part in zip(*contexts, strict=True)))
