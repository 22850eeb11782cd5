"""Pixels to latents and back, prompts to states: the pretrained parts around the networks.

The autoencoder and the text encoder are diffusers' and transformers' own classes; this module
only fixes scalings and shapes.

Legend: b batch, c latent channels, h w latent size, H W picture size, n text tokens, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn
from transformers import CLIPTextModel, PreTrainedTokenizerBase

from artv_cli.tiles import tile_side

Autoencoder: TypeAlias = AutoencoderKL | AutoencoderTiny


def encode_images(vae: Autoencoder, images: Tensor) -> Tensor:
    """Map images (b, 3, H, W) in [-1, 1] to latents (b, c, h, w) of unit deviation.

    The mean of the code is taken, not a sample: the same picture has the same latents.
    """
    _tile(vae, *images.shape[-2:])
    encoded = vae.encode(images)
    codes = encoded.latents if isinstance(vae, AutoencoderTiny) else encoded.latent_dist.mode()
    return (codes - _shift(vae)) * vae.config.scaling_factor


def decode_latents(vae: Autoencoder, latents: Tensor) -> Tensor:
    """Map latents (b, c, h, w) to images (b, 3, H, W), clamped to [-1, 1]."""
    _tile(vae, *(side * downsampling(vae) for side in latents.shape[-2:]))
    codes = latents / vae.config.scaling_factor + _shift(vae)
    return vae.decode(codes).sample.clamp(-1, 1)


def downsampling(vae: Autoencoder) -> int:
    """Return how many pixels one latent value spans in each direction."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


class TextEncoder(nn.Module):
    """A tokenizer and a CLIP text model: prompts in, one state per token out."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: CLIPTextModel) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model = model

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Return the last states (b, n, d), padded or cut to the model's own length n.

        Stable Diffusion 2.1's folder holds its text model without the last layer, so its last
        state is OpenCLIP's last but one.
        """
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.model.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        device = self.model.device
        # Weights that come layer by layer are nowhere yet; their hooks take the tokens along.
        ids = tokens.input_ids if device.type == "meta" else tokens.input_ids.to(device)
        return self.model(ids).last_hidden_state


def _tile(vae: Autoencoder, height: int, width: int) -> None:
    """Let large pictures pass in tiles.

    Left alone, diffusers takes the size that the autoencoder was trained at for a tile's: Stable
    Diffusion 2.1's says 768 and would pass such pictures whole.
    """
    side = tile_side((width, height))
    if side is None:
        vae.disable_tiling()
        return
    vae.enable_tiling()
    vae.tile_sample_min_size = side
    vae.tile_latent_min_size = side // downsampling(vae)
    if isinstance(vae, AutoencoderTiny):
        vae.spatial_scale_factor = downsampling(vae)  # diffusers takes it to be 8


def _shift(vae: Autoencoder) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0
