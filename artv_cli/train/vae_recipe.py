"""What a training of the storybook's VAE is told, and the VAE that it begins with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL


@dataclass(frozen=True)
class VaeRecipe:
    """Everything that decides a training run, apart from its length.

    A batch is composed from `clips` clips of `frames` frames each; crops have `crop` pixels a
    side, until the part `cropped` of the budget is spent; `character` is the extra weight of the
    character's region; `noise` how much noise, at most, is added to the latents, in units of their
    deviation; `ema` the decay of the averaged weights.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128)
    channels: int = 8
    groups: int = 2
    clips: int = 4
    frames: int = 1
    crop: int = 64
    cropped: float = 0.75
    rate: float = 1.2e-3
    warmup: int = 100
    kl: float = 1e-6
    gradient: float = 1.0
    character: float = 5.0
    noise: float = 0.3
    ema: float = 0.998
    seed: int = 0


def build_vae(recipe: VaeRecipe) -> AutoencoderKL:
    """Return a freshly initialised AutoencoderKL, without attention, for 128×128 pictures."""
    blocks = len(recipe.widths)
    torch.manual_seed(recipe.seed)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=recipe.widths,
        layers_per_block=1,
        latent_channels=recipe.channels,
        norm_num_groups=recipe.groups,
        sample_size=128,
        mid_block_add_attention=False,
    )
    return vae.to(memory_format=torch.channels_last)
