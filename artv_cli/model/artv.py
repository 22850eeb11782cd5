"""The masked diffusion model: Φ_dynamic and Φ_mask side by side (Sec. 3.2, Table 2, Table 4).

Φ_dynamic predicts the noise of what moves, Φ_mask how much of each pixel is copied from the
frame before. How the two become one prediction is `diffusion.denoiser`'s business (Eq. 7).

Legend: b batch, c latent channels, h w latent size, n text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from artv_cli.model.attention import KeysValues
from artv_cli.model.unet import ConditionedUNet, NetworkConditions

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


@dataclass(frozen=True)
class Conditions:
    """A batch of prepared conditions for both networks.

    `has_reference` (b, 1, 1, 1) is 0 where the references are blank: there is nothing to copy.
    """

    dynamic: NetworkConditions
    mask: NetworkConditions
    has_reference: Tensor


class ArtV(nn.Module):
    """Predicts the dynamic noise and the copy mask of one frame."""

    def __init__(self, dynamic: ConditionedUNet, mask: ConditionedUNet) -> None:
        super().__init__()
        self.dynamic = dynamic
        self.mask = mask

    @property
    def networks(self) -> tuple[ConditionedUNet, ConditionedUNet]:
        """Both networks, in the order in which prepared parts list them."""
        return self.dynamic, self.mask

    def prepare(
        self, references: Tensor, anchor: Tensor, text: Tensor, noise_level: Tensor
    ) -> Conditions:
        """Prepare what does not change between denoising steps.

        references: (b, 2c, h, w) y_{i-1} and y_{i-2}, noise-augmented; zeros where blank.
        anchor: (b, c, h, w), noise-augmented; zeros where blank.
        text: (b, n, context width) states of the text encoder.
        noise_level: (b,) integers in [0, 999], the level of the augmentation.
        """
        has_reference = references.flatten(1).ne(0).any(dim=1).to(references.dtype)
        dynamic, mask = (
            NetworkConditions(
                network.prepare_references(references),
                network.prepare_anchor(anchor),
                network.prepare_text(text),
                network.prepare_level(noise_level),
            )
            for network in self.networks
        )
        return Conditions(dynamic, mask, has_reference[:, None, None, None])

    def forward(
        self, y_t: Tensor, timestep: Tensor, conditions: Conditions
    ) -> tuple[Tensor, Tensor]:
        """Return the mask (b, 1, h, w) in [0, 1] and the dynamic noise (b, c, h, w).

        y_t: (b, c, h, w) noised latents of Eq. 5; timestep: (b,) integers in [0, 999].
        """
        dynamic_noise = self.dynamic(y_t, timestep, conditions.dynamic)
        mask = self.mask(y_t, timestep, conditions.mask).sigmoid()
        return mask * conditions.has_reference, dynamic_noise


def stack(rows: Sequence[Conditions]) -> Conditions:
    """Concatenate conditions along the batch."""
    return Conditions(
        _stack_network([row.dynamic for row in rows]),
        _stack_network([row.mask for row in rows]),
        torch.cat([row.has_reference for row in rows]),
    )


def branch(full: Conditions, blank: Conditions, *, reference: bool, anchor: bool, text: bool) -> Conditions:
    """Pick each condition from `full` where asked for, from `blank` elsewhere."""

    def pick(given: NetworkConditions, empty: NetworkConditions) -> NetworkConditions:
        return NetworkConditions(
            given.references if reference else empty.references,
            given.anchor if anchor else empty.anchor,
            given.text if text else empty.text,
            given.level,
        )

    return Conditions(
        pick(full.dynamic, blank.dynamic),
        pick(full.mask, blank.mask),
        full.has_reference if reference else blank.has_reference,
    )


def _stack_network(rows: Sequence[NetworkConditions]) -> NetworkConditions:
    return NetworkConditions(
        [torch.cat(level) for level in zip(*(row.references for row in rows), strict=True)],
        [_stack_context(layer) for layer in zip(*(row.anchor for row in rows), strict=True)],
        [
            [_stack_context(block) for block in zip(*layer, strict=True)]
            for layer in zip(*(row.text for row in rows), strict=True)
        ],
        torch.cat([row.level for row in rows]),
    )


def _stack_context(contexts: Sequence[KeysValues]) -> KeysValues:
    return KeysValues(*(torch.cat(part) for part in zip(*contexts, strict=True)))
