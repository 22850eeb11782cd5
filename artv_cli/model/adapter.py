"""The reference adapter: how the two frames before enter a network (Sec. 3.1, Table 2).

It is diffusers' T2I-Adapter at latent resolution: the two reference latents, concatenated, pass
a 3x3 stem and two residual blocks per level; the features of level l are added to the UNet
encoder's features at the same resolution.

Legend: b batch, c channels, h w latent size.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffusers.models.adapter import FullAdapter
from torch import Tensor, nn

REFERENCE_COUNT = 2  # y_{i-1} and y_{i-2}


class ReferenceAdapter(FullAdapter):
    """Turns two reference latents into one feature map per UNet level.

    A fresh adapter returns zeros, so that a pretrained UNet starts out unchanged: the stem and
    the last layer of every residual block are zero, and the identity skips carry the gradient
    to all of them.
    """

    def __init__(self, latent_channels: int, channels: Sequence[int], num_res_blocks: int = 2):
        super().__init__(
            in_channels=REFERENCE_COUNT * latent_channels,
            channels=list(channels),
            num_res_blocks=num_res_blocks,
            downscale_factor=1,
        )
        self._start_silent()

    def forward(self, references: Tensor) -> list[Tensor]:
        """Map `references` (b, 2c, h, w) to one feature map per level, each half the last."""
        return super().forward(references)

    def _start_silent(self) -> None:
        silent: list[nn.Conv2d] = [self.conv_in]
        for level in self.body:
            silent += [block.block2 for block in level.resnets]
        for conv in silent:
            for parameter in conv.parameters():
                nn.init.zeros_(parameter)
        for level in self.body:
            if level.in_conv is not None:
                nn.init.zeros_(level.in_conv.bias)
