"""The anchor path: how the anchor frame enters a network by cross attention (Sec. 3.4).

After each text transformer of the UNet stands a second spatial transformer whose context is the
anchor's latent: one shared 3x3 stem, average-pooled to the layer's resolution, then a biased
linear map to the layer's own width. That this is the form behind the paper's published sizes is
inferred: with it, and a table of noise levels, both parameter totals of Table 2 come out.

Legend: b batch, c channels, h w latent size, d the width of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from artv_cli.model.attention import KeysValues, attend, keys_values

STEM_WIDTH = 32


class AnchorLayer(NamedTuple):
    """Where an anchor transformer stands: its width, its heads and its downsampling (1, 2, 4…)."""

    width: int
    heads: int
    downsampling: int


class AnchorTransformer(nn.Module):
    """A spatial transformer that attends to the anchor only; silent until trained."""

    def __init__(self, width: int, heads: int, norm_groups: int = 32) -> None:
        super().__init__()
        self.context = nn.Linear(STEM_WIDTH, width)
        self.norm = nn.GroupNorm(norm_groups, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(
            width, cross_attention_dim=width, heads=heads, dim_head=width // heads
        )
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, activation_fn="geglu")
        self.proj_out = nn.Linear(width, width)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def prepare(self, stem: Tensor) -> KeysValues:
        """Return keys and values for a stem (b, 32, h, w) pooled to this layer's resolution."""
        return keys_values(self.attention, self.context(stem.flatten(2).transpose(1, 2)))

    def forward(self, x: Tensor, anchor: KeysValues) -> Tensor:
        """Add what the anchor contributes to x (b, d, h, w)."""
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))  # (b, h*w, d)
        tokens = tokens + attend(self.attention, self.norm1(tokens), anchor)
        tokens = tokens + self.feed_forward(self.norm2(tokens))
        return x + self.proj_out(tokens).transpose(1, 2).unflatten(2, x.shape[-2:])


class AnchorPath(nn.Module):
    """The stem and the anchor transformers of one network, in the order of its attention layers."""

    def __init__(
        self, latent_channels: int, layers: Sequence[AnchorLayer], norm_groups: int = 32
    ) -> None:
        super().__init__()
        self.downsamplings = [layer.downsampling for layer in layers]
        self.stem = nn.Conv2d(latent_channels, STEM_WIDTH, kernel_size=3, padding=1)
        self.transformers = nn.ModuleList(
            AnchorTransformer(layer.width, layer.heads, norm_groups) for layer in layers
        )

    def prepare(self, anchor: Tensor) -> list[KeysValues]:
        """Map an anchor latent (b, c, h, w) to the keys and values of every layer."""
        stem = self.stem(anchor)
        pooled = {
            factor: F.avg_pool2d(stem, factor, ceil_mode=True) for factor in set(self.downsamplings)
        }
        transformers = cast(Sequence[AnchorTransformer], self.transformers)
        return [
            transformer.prepare(pooled[factor])
            for transformer, factor in zip(transformers, self.downsamplings, strict=True)
        ]
