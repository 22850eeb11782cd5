"""One conditioned UNet: diffusers' Stable Diffusion UNet, a reference adapter, an anchor path.

Both networks of the masked diffusion model are of this kind (Table 2): Φ_dynamic with four
output channels, Φ_mask with one. The inner `UNet2DConditionModel` keeps diffusers' own names,
so Stable Diffusion's weights load into it as they are; the walk over its blocks is written out
here because the paper adds to it in two places:

- the adapter's feature joins the *last* layer of each encoder level, before it is stored as a
  skip connection (input blocks 2, 5, 8, 11 of the LDM layout);
- an anchor transformer follows each text transformer.

Work is split in two: the four `prepare_*` methods run once per frame at most, and `forward` once
per denoising step.

Legend: b batch, c latent channels, h w latent size, n text tokens, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from artv_cli.model.adapter import ReferenceAdapter
from artv_cli.model.anchor import AnchorLayer, AnchorPath
from artv_cli.model.attention import KeysValues, keys_values, text_transformer

NOISE_LEVELS = 1000

Block: TypeAlias = Any  # of diffusers' UNet: resnets, attentions, down- or upsamplers


class TextConditions(NamedTuple):
    """What one network needs of a prompt: prepared once, for all frames that share it.

    `contexts`: per attention layer a list over its transformer blocks; `embedding` (b, d): the
    whole prompt, added to the time embedding by networks whose UNet says
    `addition_embed_type: text`, else None. Stable Diffusion's UNets and the paper's have none; a
    small network trained from nothing hears its prompts much sooner with one.
    """

    contexts: list[list[KeysValues]]
    embedding: Tensor | None


@dataclass(frozen=True)
class NetworkConditions:
    """What one network needs of a frame's conditions, prepared before the first step.

    `references`: one feature map per encoder level; `anchor`: keys and values per attention
    layer; `level`: the embedded noise level (b, d).
    """

    references: list[Tensor]
    anchor: list[KeysValues]
    text: TextConditions
    level: Tensor


class ConditionedUNet(ModelMixin, ConfigMixin):
    """A UNet conditioned on two references, an anchor, text and the references' noise level.

    `unet_config`: the configuration of diffusers' `UNet2DConditionModel`.
    """

    @register_to_config
    def __init__(self, unet_config: dict[str, Any]) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(**{**unet_config, "num_class_embeds": NOISE_LEVELS})
        self._add_conditions()

    @classmethod
    def from_base(cls, base: UNet2DConditionModel, unet_config: dict[str, Any]) -> Self:
        """Return a network that predicts exactly what `base` does, until it is trained.

        It takes over the weights of `base`, whose configuration is `unet_config`, without a copy.
        """
        with torch.device("meta"):
            network = cls(unet_config)
        network.unet.load_state_dict(base.state_dict(), strict=False, assign=True)
        network._add_conditions()
        return network

    def _add_conditions(self) -> None:
        """Build what the paper adds to a UNet; all of it is silent at first."""
        config = self.unet.config
        self.adapter = ReferenceAdapter(config.in_channels, config.block_out_channels)
        self.anchor = AnchorPath(config.in_channels, self._anchor_layers(), config.norm_num_groups)
        silence = torch.zeros(NOISE_LEVELS, self.unet.class_embedding.embedding_dim)
        self.unet.class_embedding = nn.Embedding.from_pretrained(silence, freeze=False)

    @property
    def transformers(self) -> list[Transformer2DModel]:
        """The text transformers in the order in which a forward pass meets them."""
        return [m for m in self._blocks_in_order() for m in getattr(m, "attentions", [])]

    def prepare_references(self, references: Tensor) -> list[Tensor]:
        """Map references (b, 2c, h, w), noise-augmented or zeros if blank, to features."""
        return self.adapter(references)

    def prepare_anchor(self, anchor: Tensor) -> list[KeysValues]:
        """Map the anchor's latents (b, c, h, w), noise-augmented or zeros if blank."""
        return self.anchor.prepare(anchor)

    def prepare_text(self, text: Tensor) -> TextConditions:
        """Map the text encoder's states (b, n, context width)."""
        contexts = [
            [keys_values(block.attn2, text) for block in transformer.transformer_blocks]
            for transformer in self.transformers
        ]
        has_embedding = self.unet.config.addition_embed_type == "text"
        return TextConditions(contexts, self.unet.add_embedding(text) if has_embedding else None)

    def prepare_level(self, noise_level: Tensor) -> Tensor:
        """Embed the noise levels (b,), integers in [0, 999] (Sec. 3.3)."""
        return self.unet.class_embedding(noise_level)

    def forward(self, x: Tensor, timestep: Tensor, conditions: NetworkConditions) -> Tensor:
        """Predict from noised latents x (b, c, h, w) at integer timesteps (b,)."""
        embedding = self._embed_time(timestep, x.dtype) + conditions.level
        if conditions.text.embedding is not None:
            embedding = embedding + conditions.text.embedding
        walk = _Walk(embedding, conditions, list(self.anchor.transformers))
        x = self.unet.conv_in(x)
        skips = [x]
        for block, feature in zip(self.unet.down_blocks, conditions.references, strict=True):
            x = walk.down(block, x, feature, skips)
        x = walk.middle(self.unet.mid_block, x)
        for block in self.unet.up_blocks:
            x = walk.up(block, x, skips)
        return self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(x)))

    def _embed_time(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        return self.unet.time_embedding(self.unet.time_proj(timestep).to(dtype))

    def _blocks_in_order(self) -> list[Block]:
        return [*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks]

    def _anchor_layers(self) -> list[AnchorLayer]:
        levels = len(self.unet.down_blocks)
        depths = [*range(levels), levels - 1, *reversed(range(levels))]
        return [
            AnchorLayer(transformer.inner_dim, transformer.num_attention_heads, 2**depth)
            for block, depth in zip(self._blocks_in_order(), depths, strict=True)
            for transformer in getattr(block, "attentions", [])
        ]


class _Walk:
    """One pass through the blocks, handing each attention layer its share of the conditions."""

    def __init__(
        self, embedding: Tensor, conditions: NetworkConditions, anchors: list[nn.Module]
    ) -> None:
        self.embedding = embedding
        self.layers = iter(zip(conditions.text.contexts, anchors, conditions.anchor, strict=True))

    def down(self, block: Block, x: Tensor, feature: Tensor, skips: list[Tensor]) -> Tensor:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for i, (resnet, attention) in enumerate(zip(block.resnets, attentions, strict=True)):
            x = self._attend(attention, resnet(x, self.embedding))
            if i == len(block.resnets) - 1:
                x = x + feature
            skips.append(x)
        if block.downsamplers is not None:
            x = block.downsamplers[0](x)
            skips.append(x)
        return x

    def middle(self, block: Block, x: Tensor) -> Tensor:
        x = block.resnets[0](x, self.embedding)
        for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
            x = resnet(self._attend(attention, x), self.embedding)
        return x

    def up(self, block: Block, x: Tensor, skips: list[Tensor]) -> Tensor:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for resnet, attention in zip(block.resnets, attentions, strict=True):
            x = resnet(torch.cat([x, skips.pop()], dim=1), self.embedding)
            x = self._attend(attention, x)
        if block.upsamplers is not None:
            x = block.upsamplers[0](x, skips[-1].shape[-2:])
        return x

    def _attend(self, transformer: nn.Module | None, x: Tensor) -> Tensor:
        if transformer is None:
            return x
        text, anchor_transformer, anchor = next(self.layers)
        return anchor_transformer(text_transformer(transformer, x, text), anchor)
